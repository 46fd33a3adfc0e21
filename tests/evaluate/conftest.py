"""Annotated sequences written by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def ids_at(left: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Object 7 as a 6x6 square whose left edge is given, object 300 in a corner."""
    ids = np.zeros(size, np.uint16)
    ids[4:10, left : left + 6] = 7
    ids[-5:, -5:] = 300
    return ids


@pytest.fixture
def write_sequence() -> Callable[..., Path]:
    """Write `folder/images` and `folder/masks`: a square that moves a pixel a frame."""

    def write(folder: Path, frames: int = 3, bits: int = 8, inner: str = "") -> Path:
        images, masks = folder / "images" / inner, folder / "masks" / inner
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index in range(frames):
            ids = ids_at(index)
            gray = 20 + 100 * (ids > 0)
            if bits == 16:
                pixels = (gray * 30).astype(np.uint16)
            else:
                pixels = np.repeat(gray[:, :, None], 3, axis=2).astype(np.uint8)
            Image.fromarray(pixels).save(images / f"t{index}.png")
            Image.fromarray(ids).save(masks / f"t{index}.png")
        return folder

    return write
