"""Draw synthetic cell films into ``*.npz`` files: ``python -m train.micro.films --out DIR``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from PIL import Image

from stream.synth import LOOKS, CellFilm, CellFilmSpec
from train.micro.pool import SIZE

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


def main() -> None:
    """Write training films and validation films; files that exist are kept."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--train", type=int, default=300)
    p.add_argument("--val", type=int, default=8)
    p.add_argument("--frames", type=int, default=12, help="frames of a training film")
    p.add_argument("--val-frames", type=int, default=64)
    options = p.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [("val", VALIDATION_SEEDS + i, options.val_frames, 1) for i in range(options.val)]
    jobs += [("train", TRAINING_SEEDS + i, options.frames, 3) for i in range(options.train)]
    for part, seed, frames, every in jobs:
        path = options.out / f"{part}_{seed}.npz"
        if path.exists():
            continue
        fps = 30.0 if part == "val" else 30.0 / every
        images, ids = draw(spec_of(seed, fps), frames)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, images=images, ids=ids)
        os.replace(partial, path)


if __name__ == "__main__":
    main()
