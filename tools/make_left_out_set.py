"""Draw a data set of a kind of object that the micro models have never seen, or of one they have.

    python tools/make_left_out_set.py worms worms/          # 50 images to train on, 50 to test on
    python tools/make_left_out_set.py cells cells/ --train 0  # what micro knows

Worms are bent, striped and tapered and lie across each other on mottled ground; gears are toothed,
with a hole and spokes, the same mottled ground around and behind them. Each side gets a folder of
the layout `instances`: `OUT/train` and `OUT/test`, each with `images/` and `masks/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from stream.synth import CellFilmSpec, draw_frames

Floats = NDArray[np.float64]
Picture = tuple[NDArray[np.uint8], NDArray[np.uint16]]
KINDS = ("worms", "gears", "cells")


def texture(rng: np.random.Generator, side: int, scales_px: tuple[float, ...]) -> Floats:
    """Smooth noise of several scales, (side, side), mean 0 and spread 1."""
    out = np.zeros((side, side))
    for scale in scales_px:
        layer = gaussian_filter(rng.standard_normal((side, side)), scale, mode="wrap")
        out += layer / layer.std()
    return out / out.std()


def colours(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Colours of ground and object, a moderate step apart in a random direction."""
    ground = rng.uniform(0.3, 0.7, 3)
    away = rng.standard_normal(3)
    return ground, np.clip(ground + 0.3 * away / np.linalg.norm(away), 0.05, 0.95)


def worm(rng: np.random.Generator, side: int) -> tuple[NDArray[np.bool_], Floats]:
    """A bent body that tapers, and its stripes across, both (side, side)."""
    length, width = rng.uniform(0.35, 0.75) * side, rng.uniform(0.022, 0.045) * side
    count = 600
    along = np.linspace(0.0, 1.0, count)
    bends = sum(
        rng.normal(0.0, 1.1 / k) * np.sin(2 * np.pi * k * along / 2 + rng.uniform(0, 6.28))
        for k in (1, 2, 3)
    )
    angle = rng.uniform(0, 2 * np.pi) + bends
    step = length / count
    xs, ys = np.cumsum(np.cos(angle)) * step, np.cumsum(np.sin(angle)) * step
    middle = rng.uniform(0.2, 0.8, 2) * side
    xs, ys = xs - xs.mean() + middle[0], ys - ys.mean() + middle[1]
    inside = (xs >= 0) & (xs < side) & (ys >= 0) & (ys < side)
    # The middle line is painted, and every pixel asks the nearest part of it.
    place = np.full((side, side), -1)
    place[ys[inside].astype(int), xs[inside].astype(int)] = np.flatnonzero(inside)
    far, nearest = distance_transform_edt(place < 0, return_indices=True)
    part = place[nearest[0], nearest[1]]
    radius = width * np.clip(np.minimum(along, 1 - along) * 6, 0.25, 1.0) ** 0.6
    stripes = np.sin(along * rng.uniform(50, 110))[part]
    return far <= radius[part], stripes


def gear(rng: np.random.Generator, side: int) -> tuple[NDArray[np.bool_], Floats]:
    """A toothed ring with spokes, and its brushed shine, both (side, side)."""
    radius = rng.uniform(0.1, 0.2) * side
    x, y = rng.uniform(0.15, 0.85, 2) * side
    rows, columns = np.mgrid[:side, :side]
    far, angle = np.hypot(columns - x, rows - y), np.arctan2(rows - y, columns - x)
    teeth, turn = int(rng.integers(8, 15)), rng.uniform(0, 6.28)
    rim = radius * (1.0 + 0.16 * np.sign(np.sin(teeth * angle + turn)))
    spokes = np.abs(np.sin(int(rng.integers(2, 4)) * angle + turn)) < 0.3
    body = (far <= rim) & ((far >= 0.62 * radius) | (far <= 0.22 * radius) | spokes)
    return body, np.sin(2 * angle + 3 * turn)


def drawn(kind: str, rng: np.random.Generator, side: int) -> Picture:
    """One picture of worms or gears with its ids."""
    ground, thing = colours(rng)
    mottle = texture(rng, side, (1.2, 3.0, 12.0))
    image = ground + 0.05 * mottle[..., None]
    ids = np.zeros((side, side), np.uint16)
    for number in range(1, int(rng.integers(3, 6)) + 1):
        mask, pattern = worm(rng, side) if kind == "worms" else gear(rng, side)
        own = np.clip(thing + rng.normal(0.0, 0.04, 3), 0.0, 1.0)
        coat = own + (0.09 * pattern + 0.04 * texture(rng, side, (1.0, 2.0)))[..., None]
        image = np.where(mask[..., None], coat, image)
        ids[mask] = number
    image = gaussian_filter(image, (0.6, 0.6, 0)) + rng.normal(0.0, 0.015, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8), ids


def cells(seed: int, side: int) -> Picture:
    """One frame of a drawn microscope film, which micro was trained on."""
    look = ("fluo", "phase", "bright", "mixed")[seed % 4]
    spec = CellFilmSpec(objects=10, width=side, height=side, seed=90_000 + seed, look=look)
    frame = draw_frames(spec, 1)[0]
    return frame.image, frame.ids


def write(kind: str, folder: Path, count: int, seed: int, side: int) -> None:
    """Write `count` pictures and their masks."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        image, ids = cells(seed + number, side) if kind == "cells" else drawn(kind, rng, side)
        Image.fromarray(image).save(folder / "images" / f"{kind}_{number:03d}.png")
        Image.fromarray(ids).save(folder / "masks" / f"{kind}_{number:03d}.png")


def main(arguments: list[str] | None = None) -> int:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("out", type=Path, help="folder that is made")
    parser.add_argument("--train", type=int, default=50, help="pictures to train on (default 50)")
    parser.add_argument("--test", type=int, default=50, help="pictures to test on (default 50)")
    parser.add_argument("--side", type=int, default=256, help="of a picture in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.out.exists() and any(options.out.iterdir()):
        print(f"{options.out}: is not empty; name a new folder", file=sys.stderr)
        return 2
    for part, count, offset in (("train", options.train, 0), ("test", options.test, 10_000)):
        if count:
            write(options.kind, options.out / part, count, options.seed + offset, options.side)
    return 0


if __name__ == "__main__":
    sys.exit(main())
