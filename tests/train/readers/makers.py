"""Small files in the layouts of data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from train.readers import Dataset

SIZE = (12, 16)


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    """Noise, (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def mask(
    *numbers: int, size: tuple[int, int] = SIZE, dtype: type[np.generic] = np.uint16
) -> npt.NDArray[Any]:
    """An upright bar of two pixels for each id, (H, W)."""
    ids = np.zeros(size, dtype)
    for at, number in enumerate(numbers):
        ids[2:-2, 3 * at + 1 : 3 * at + 3] = number
    return ids


def save(path: Path, pixels: npt.NDArray[Any], *, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(pixels)
    if palette:
        made = Image.fromarray(pixels.astype(np.uint8), "L").convert("P")
        made.putdata(pixels.astype(np.uint8).ravel().tolist())
    made.save(path)
    return path


def write(path: Path, content: object) -> Path:
    """Write text, bytes or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return path


def cut(path: Path) -> Path:
    """Keep the first half of a file, as a download that was cut short."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def told(dataset: Dataset) -> list[str]:
    return [str(fault) for fault in dataset.faults]


def names(samples: Sequence[Any]) -> list[str]:
    return [sample.name for sample in samples]
