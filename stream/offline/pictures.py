"""Pictures for a page: a frame with the outlines of its truth and of its result."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as Pil

from stream.offline.shots import Shot

SIDE_PX: Final = 720
"""Longest side of a picture; smaller frames are enlarged, so that outlines are thin on them."""
MOST_ENLARGED: Final = 4
TRUTH_RGB: Final = (40, 160, 255)
RESULT_RGB: Final = (255, 138, 20)
QUALITY: Final = 88

Pixels = npt.NDArray[np.uint8]


def draw(shot: Shot) -> Pixels:
    """Draw both outlines, the result's over the truth's.

    Returns:
        (h, w, 3) uint8, of another size than the frame.
    """
    height, width = shot.image.shape[:2]
    scale = min(SIDE_PX / max(height, width), float(MOST_ENLARGED))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    filter_ = Pil.Resampling.BICUBIC if scale > 1 else Pil.Resampling.BOX
    out = np.array(Pil.fromarray(shot.image).resize(size, filter_))
    for labels, colour in ((shot.truth, TRUTH_RGB), (shot.result, RESULT_RGB)):
        line = _outlines(_resized(labels, size))
        out[_grown(line) & ~line] = (out[_grown(line) & ~line] * 0.45).astype(np.uint8)
        out[line] = colour
    return out


def data_uri(pixels: Pixels) -> str:
    """Return a picture as the address of itself: WebP inside of a `data:` URI."""
    file = io.BytesIO()
    Pil.fromarray(pixels).save(file, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _resized(labels: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    rows = (np.arange(size[1]) + 0.5) * labels.shape[0] / size[1]
    columns = (np.arange(size[0]) + 0.5) * labels.shape[1] / size[0]
    return labels[np.ix_(rows.astype(int), columns.astype(int))]


def _outlines(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return the pixels of objects that touch another one or the background: two pixels wide."""
    line = np.zeros(labels.shape, dtype=np.bool_)
    for axis in (0, 1):
        for step in (1, 2):
            differs = np.zeros_like(line)
            first, last = [slice(None)] * 2, [slice(None)] * 2
            first[axis], last[axis] = slice(None, -step), slice(step, None)
            unlike = labels[tuple(first)] != labels[tuple(last)]
            differs[tuple(first)] |= unlike
            differs[tuple(last)] |= unlike
            line |= differs
    line &= labels != 0
    return line


def _grown(line: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    out = line.copy()
    out[1:] |= line[:-1]
    out[:-1] |= line[1:]
    out[:, 1:] |= line[:, :-1]
    out[:, :-1] |= line[:, 1:]
    return out
