"""Labelled images that detectors are measured on: held out, sampled, drawn, cut into parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from stream.errors import UsageError
from stream.synth import LOOKS, CellFilm, CellFilmSpec
from train.micro.data import DataError, Still, is_held_out, read_dsb2018, read_pairs

FIRST_SEED = 8_000  # far from the seeds that training, the calibration and the demo draw
SKIPPED_FRAMES = 20


def read_stills(folder: Path, all_images: bool = False) -> list[Still]:
    """Read images/ and masks/ with equal stems, and kinds from index.csv where there is one.

    Args:
        folder: Holds both folders.
        all_images: Take those too that are not set aside by `train.micro.data.is_held_out`.

    Raises:
        UsageError: The folder or a file of it is not good, or no image is set aside.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: is no folder; give one with images/ and masks/")
    try:
        if (folder / "index.csv").is_file():
            stills = read_dsb2018(folder)
        else:
            stills = list(read_pairs(folder, folder.resolve().name, folder.resolve().name))
    except DataError as error:
        raise UsageError(str(error)) from error
    if not all_images:
        stills = [still for still in stills if is_held_out(still.name)]
    if not stills:
        raise UsageError(f"{folder}: no image of it is held out; --all-images takes them all")
    return stills


def sample(stills: Sequence[Still], count: int | None, seed: int) -> list[Still]:
    """Return so many of the images, in their order; all for None."""
    if count is None or count >= len(stills):
        return list(stills)
    rows = np.random.default_rng(seed).permutation(len(stills))[:count]
    return [stills[row] for row in sorted(rows.tolist())]


def drawn_stills(count: int) -> list[Still]:
    """Return single frames of drawn films, the looks in turn."""
    stills = []
    for number in range(count):
        look = LOOKS[number % len(LOOKS)]
        spec = CellFilmSpec(seed=FIRST_SEED + number, look=look, objects=8 + 4 * (number % 5))
        film = CellFilm(spec)
        film.skip(SKIPPED_FRAMES)
        frame = film.frame()
        image = frame.image.astype(np.uint8, copy=False)
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        stills.append(Still(f"drawn/{number:04}", image, frame.ids, look))
    return stills


def parts(still: Still, zoom: int) -> Iterator[Still]:
    """Cut an image into `zoom` x `zoom` parts, each an image of its own; 1 leaves it whole."""
    if zoom == 1:
        yield still
        return
    rows = np.linspace(0, still.ids.shape[0], zoom + 1).astype(int)
    cols = np.linspace(0, still.ids.shape[1], zoom + 1).astype(int)
    for down in range(zoom):
        for right in range(zoom):
            cut = slice(rows[down], rows[down + 1]), slice(cols[right], cols[right + 1])
            name = f"{still.name}:{down}:{right}"
            yield Still(
                name, np.ascontiguousarray(still.image[cut]), still.ids[cut].copy(), still.kind
            )
