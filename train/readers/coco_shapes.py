"""Outlines of COCO annotations: polygons and run lengths, checked once and drawn when needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from stream.rle import decode_foreign
from train.readers.faults import SampleError
from train.readers.pixels import Size, object_ids, read_image, size_text
from train.readers.samples import IGNORE, Box, Ids, LabelledImage

Polygons = tuple[npt.NDArray[np.float32], ...]
"""Each (N, 2): x and y of the corners in pixels."""
Outline = Polygons | bytes
"""Polygons whose union is meant, or compressed run lengths of the frame."""

_BOX_MARGIN_PX: Final = 1.0
_MIN_CORNERS: Final = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """Where one object is.

    Attributes:
        number: its id in the image; crowds have none of their own.
        outline: its mask; None for an object with a box only.
        box: x0, y0, x1, y1 in pixels, for an object without mask.
        crowd: a region of objects that nobody told apart.
    """

    number: int
    outline: Outline | None
    box: Box | None
    crowd: bool


def read_outline(raw: Any, size: Size) -> Outline:
    """Check a `segmentation` and return it in the form in which it is kept.

    Args:
        raw: What the JSON has: a list of polygons, or an object with `size` and `counts`.
        size: (H, W) of the image.

    Raises:
        ValueError: It is no outline of anything in the image; the message says why.
    """
    if isinstance(raw, dict):
        return _read_runs(raw, size)
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise ValueError("segmentation is empty; expected polygons or run lengths")
    polygons = tuple(_read_polygon(item, at, size) for at, item in enumerate(raw, start=1))
    if not any(_area(polygon) > 0 for polygon in polygons):
        raise ValueError("the polygon has no area")
    return polygons


def read_box(raw: Any, size: Size) -> Box:
    """Check a `bbox` (x, y, width, height) and return it as x0, y0, x1, y1 inside the image.

    Raises:
        ValueError: It is no box, or reaches outside the image.
    """
    try:
        x, y, width, height = (float(value) for value in raw)
    except (TypeError, ValueError):
        raise ValueError(f"bbox is {raw}; expected four numbers x, y, width, height") from None
    return check_box((x, y, x + width, y + height), size)


def check_box(box: Box, size: Size) -> Box:
    """Return a box clipped to its image; a pixel of rounding is forgiven.

    Raises:
        ValueError: It has no area, is not finite, or reaches outside the image.
    """
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, box)) or x1 <= x0 or y1 <= y0:
        raise ValueError(f"box {_box_text(box)} has no area")
    height, width = size
    outside = max(-x0, -y0, x1 - width, y1 - height)
    if outside > _BOX_MARGIN_PX:
        raise ValueError(f"box {_box_text(box)} reaches outside the image of {size_text(size)}")
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def draw_shapes(shapes: Sequence[Shape], size: Size) -> Ids:
    """Draw all shapes of an image.

    Where objects overlap the smaller one is on top, so that nothing hides what lies on it; crowds,
    and boxes of objects without mask, are ignored pixels beneath all objects.

    Returns:
        (H, W) uint16 ids.
    """
    ids = np.zeros(size, np.uint16)
    drawn = [(shape, *draw_outline(shape, size)) for shape in shapes]
    drawn.sort(key=lambda item: (not _is_ignored(item[0]), -int(item[1].sum()), item[0].number))
    for shape, mask, (y0, x0) in drawn:
        view = ids[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        view[mask] = IGNORE if _is_ignored(shape) else shape.number
    return ids


def draw_outline(shape: Shape, size: Size) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """Draw one shape in the smallest frame that holds it.

    Returns:
        (h, w) bool and the y, x of its first pixel in the image.
    """
    if isinstance(shape.outline, bytes):
        return decode_foreign(shape.outline, size), (0, 0)
    if shape.outline is None:
        assert shape.box is not None, "an object has an outline or a box"
        x0, y0, x1, y1 = (round(value) for value in shape.box)
        return np.ones((max(y1 - y0, 0), max(x1 - x0, 0)), np.bool_), (y0, x0)
    corners = np.concatenate(shape.outline)
    # Whole pixels are cut off only: the rasteriser then gives the same pixels as in the full frame.
    x0, y0 = np.clip(np.floor(corners.min(0)) - 1, 0, (size[1], size[0])).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(corners.max(0)) + 1, 0, (size[1], size[0])).astype(int).tolist()
    if x1 <= x0 or y1 <= y0:
        return np.zeros((0, 0), np.bool_), (0, 0)
    flat = [(polygon.astype(np.float64) - (x0, y0)).ravel().tolist() for polygon in shape.outline]
    drawn: npt.NDArray[np.uint8] = coco.decode(coco.frPyObjects(flat, y1 - y0, x1 - x0))
    union: npt.NDArray[np.bool_] = drawn.max(axis=2).astype(np.bool_)
    return union, (y0, x0)


def load_shapes(
    path: Path,
    size: Size,
    shapes: tuple[Shape, ...],
    labels: Mapping[int, str],
    captions: tuple[str, ...],
    masks: bool,
) -> LabelledImage:
    """Decode an image and draw its objects.

    Args:
        path: The image.
        size: (H, W) that it had when it was checked.
        shapes: Its objects.
        labels: id -> class name.
        captions: Sentences about it.
        masks: Whether the set has masks at all, so that what is not drawn is background.

    Raises:
        SampleError: The image went bad since it was checked.
    """
    image = read_image(path)
    if image.shape[:2] != size:
        now = size_text((image.shape[0], image.shape[1]))
        raise SampleError(path, f"is {now}, was {size_text(size)}")
    ids: Ids | None = draw_shapes(shapes, size) if masks else None
    seen = set(object_ids(ids)) if ids is not None else set()
    boxes = {shape.number: shape.box for shape in shapes if shape.box and not shape.crowd}
    own = {number: label for number, label in labels.items() if number in seen or number in boxes}
    return LabelledImage(image, ids, boxes, own, captions)


def _box_text(box: Box) -> str:
    return ", ".join(f"{value:g}" for value in box) + " (x0, y0, x1, y1)"


def _is_ignored(shape: Shape) -> bool:
    return shape.crowd or shape.outline is None


def _read_polygon(raw: Any, at: int, size: Size) -> npt.NDArray[np.float32]:
    try:
        values = np.asarray(raw, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"polygon {at} is not a list of numbers") from None
    if values.ndim == 2 and values.shape[1] == 2:
        values = values.ravel()
    if values.ndim != 1 or values.size % 2:
        raise ValueError(f"polygon {at} has {values.size} numbers; expected x and y in turn")
    corners = values.reshape(-1, 2)
    if len(corners) < _MIN_CORNERS:
        raise ValueError(f"polygon {at} has {len(corners)} corners; accepted are 3 or more")
    # There may be a million polygons; comparing numbers is faster than comparing small arrays.
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    height, width = size
    if not (math.isfinite(x0 + x1) and math.isfinite(y0 + y1)):
        raise ValueError(f"polygon {at} has coordinates that are no numbers")
    # The rasteriser's memory grows with the length of the outline, in the frame or not.
    if x0 < -width or y0 < -height or x1 > 2 * width or y1 > 2 * height:
        raise ValueError(f"polygon {at} reaches far outside the image of {size_text(size)}")
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ValueError(f"polygon {at} lies outside the image of {size_text(size)}")
    return corners


def _read_runs(raw: dict[str, Any], size: Size) -> bytes:
    told, counts = raw.get("size"), raw.get("counts")
    if told != list(size):
        raise ValueError(f"run lengths are of size {told} (H, W), the image has {list(size)}")
    if isinstance(counts, str):
        packed = counts.encode("ascii", "replace")
        if not decode_foreign(packed, size).any():
            raise ValueError("the run lengths have no pixel")
        return packed
    try:
        runs = np.asarray(counts)
        whole = runs.ndim == 1 and runs.dtype.kind in "iu"
    except ValueError:
        whole = False
    if not whole:
        raise ValueError("counts are neither a string nor a list of whole numbers")
    if (runs < 0).any() or int(runs.sum(dtype=np.float64)) != size[0] * size[1]:
        raise ValueError(
            f"the run lengths add up to {int(runs.sum(dtype=np.float64))}; the image has "
            f"{size[0] * size[1]} pixels"
        )
    if not runs[1::2].any():
        raise ValueError("the run lengths have no pixel")
    plain: Any = {"size": list(size), "counts": runs.tolist()}
    packed_runs: bytes = coco.frPyObjects(plain, *size)["counts"]
    return packed_runs


def _area(polygon: npt.NDArray[np.float32]) -> float:
    # About its first corner, where single precision loses nothing that matters.
    x, y = (polygon - polygon[0]).T
    return abs(float(x[:-1] @ y[1:] - y[:-1] @ x[1:])) / 2
