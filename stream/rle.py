"""COCO compressed run lengths of masks that fill a small part of a big frame.

The format is pycocotools': runs down the columns, beginning with zeros, packed into ASCII.
Encoding reads the mask's own box only, so its cost follows the object and not the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from stream.frame import BoolMask, Box

MAX_PIXELS = 1 << 27


def encode(mask: BoolMask, box: Box, size: tuple[int, int]) -> bytes:
    """Encode the part of a frame inside a box.

    Args:
        mask: (h, w) bool inside `box`.
        box: x0, y0, x1, y1 in pixels, x1 and y1 exclusive.
        size: (H, W) of the frame.

    Returns:
        The `counts` of the COCO compressed RLE of the frame-sized mask.
    """
    height, width = size
    runs = run_lengths(mask, box, size)
    packed: Any = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)  # type: ignore[call-overload]
    counts: bytes = packed["counts"]
    return counts


def run_lengths(mask: BoolMask, box: Box, size: tuple[int, int]) -> list[int]:
    """Return uncompressed COCO counts (zeros first) of a mask given by its box.

    Args:
        mask: (h, w) bool inside `box`.
        box: x0, y0, x1, y1 in pixels.
        size: (H, W) of the frame.
    """
    height, width = size
    x0, y0, _, _ = box
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), dtype=np.int8)
    columns[:, 1:-1] = mask.T
    change = np.diff(columns, axis=1)
    first_col, first_row = np.nonzero(change == 1)
    last_col, last_row = np.nonzero(change == -1)
    starts = (first_col + x0) * height + first_row + y0
    ends = (last_col + x0) * height + last_row + y0
    # A run that reaches the frame's bottom goes on at the top of the next column.
    joined = starts[1:] == ends[:-1]
    starts = starts[np.concatenate(([True], ~joined))] if starts.size else starts
    ends = ends[np.concatenate((~joined, [True]))] if ends.size else ends
    edges = np.empty(2 * starts.size + 2, dtype=np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    counts: list[int] = np.diff(edges).tolist()
    return counts if counts[-1] or len(counts) == 1 else counts[:-1]


def decode(counts: bytes, size: tuple[int, int]) -> BoolMask:
    """Decode to a frame-sized mask.

    Args:
        counts: COCO compressed counts.
        size: (H, W) of the frame.

    Returns:
        (H, W) bool.
    """
    full: npt.NDArray[np.uint8] = coco.decode({"size": list(size), "counts": counts})
    return full.view(np.bool_)


def decode_crop(counts: bytes, box: Box, size: tuple[int, int]) -> BoolMask:
    """Decode the part of the mask inside a box.

    Args:
        counts: COCO compressed counts.
        box: x0, y0, x1, y1 in pixels.
        size: (H, W) of the frame.

    Returns:
        (h, w) bool.
    """
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(decode(counts, size)[y0:y1, x0:x1])


def decode_foreign(counts: bytes, size: tuple[int, int]) -> BoolMask:
    """Decode a frame-sized mask that somebody else encoded, believing nothing.

    Args:
        counts: COCO compressed counts.
        size: (H, W) in pixels.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: The size is none, or the runs do not fill it exactly.
    """
    height, width = size
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise ValueError(f"a mask of {height} x {width} is not accepted")
    runs = np.array(_unpacked(counts), dtype=np.int64)
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(f"the runs of the mask do not fill {height} x {width} pixels")
    inside = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(inside, runs).reshape(width, height).T)


def _unpacked(counts: bytes) -> list[int]:
    """Return the runs: groups of five bits, the lowest first, from the third as differences."""
    runs: list[int] = []
    value = shift = 0
    for byte in counts:
        group = byte - 48
        if not 0 <= group < 64 or shift > 30:
            raise ValueError("the counts of the mask are not COCO compressed run lengths")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the counts of the mask end in the middle of a run")
    return runs
