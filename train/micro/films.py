"""Drawn films of cells, as ``*.npz`` files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from stream.synth import LOOKS, CellFilm, CellFilmSpec
from train.micro.pool import SIZE
from train.micro.recipe import Films

#: Seeds from here on belong to validation films; the demo's seeds are small numbers below the
#: training ones.
VALIDATION_SEEDS = 900_000
TRAINING_SEEDS = 100_000


def spec_of(seed: int, fps: float = 30.0) -> CellFilmSpec:
    """A film specification drawn from a seed.

    Look, number of cells, size, speed and noise all vary.
    """
    rng = np.random.default_rng(seed)
    width, height = [(640, 480), (640, 480), (512, 512), (800, 600)][int(rng.integers(4))]
    return CellFilmSpec(
        objects=int(rng.integers(4, 41)),
        width=width,
        height=height,
        fps=fps,
        seed=seed,
        look=LOOKS[seed % len(LOOKS)],
        diameter_px=None if rng.random() < 0.6 else float(rng.uniform(24.0, 90.0)),
        speed_px_s=float(rng.uniform(5.0, 60.0)),
        divide_per_min=float(rng.uniform(0.5, 4.0)),
        noise=float(rng.uniform(0.5, 1.8)),
    )


def draw(spec: CellFilmSpec, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a film's first frames, squeezed to the model's square input: images and ids."""
    film = CellFilm(spec)
    shown = [film.frame() for _ in range(frames)]
    images = [squeeze(frame.image, SIZE) for frame in shown]
    return np.stack(images), np.stack([squeeze_ids(frame.ids, SIZE) for frame in shown])


def squeeze(image: np.ndarray, side: int) -> np.ndarray:
    """Resize an image to a square, (H, W, 3) uint8 to (side, side, 3)."""
    return np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def squeeze_ids(ids: np.ndarray, side: int) -> np.ndarray:
    """Resize ids to a square without mixing them, (H, W) to (side, side) uint16."""
    wide = Image.fromarray(ids.astype(np.int32))
    return np.array(wide.resize((side, side), Image.Resampling.NEAREST)).astype(np.uint16)


def draw_films(folder: Path, recipe: Films, say: Callable[[str], None]) -> None:
    """Draw training films and held-out films; those that are there are kept.

    Args:
        folder: where they go, one `*.npz` a film.
        recipe: how many, how long.
        say: takes a line for the user before work that takes long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [("val", VALIDATION_SEEDS + i, recipe.held_out_frames) for i in range(recipe.held_out)]
    jobs += [("train", TRAINING_SEEDS + i, recipe.frames) for i in range(recipe.train)]
    jobs = [job for job in jobs if not (folder / f"{job[0]}_{job[1]}.npz").is_file()]
    if jobs:
        say(f"draws {len(jobs)} films into {folder}")
    for part, seed, frames in track(jobs, "films", disable=not sys.stderr.isatty()):
        # Training films take every third frame: more happens in a short clip.
        images, ids = draw(spec_of(seed, 30.0 if part == "val" else 10.0), frames)
        path = folder / f"{part}_{seed}.npz"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, images=images, ids=ids)
        os.replace(partial, path)
