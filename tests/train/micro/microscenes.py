"""Small labelled pictures for the training tests."""

from __future__ import annotations

import numpy as np

from train.micro.data import Still


def discs(size: int = 96, seed: int = 0) -> Still:
    """Bright discs on dark, with ids."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((size, size), np.uint16)
    rows, columns = np.mgrid[:size, :size]
    for number, (y, x) in enumerate(((24, 24), (24, 70), (68, 30), (70, 72)), 1):
        ids[(rows - y) ** 2 + (columns - x) ** 2 < 13**2] = number
    image = np.where(ids > 0, 200, 30)[..., None] + rng.integers(0, 20, (size, size, 3))
    return Still(f"disc{seed}", image.astype(np.uint8), ids, "gray_dark")
