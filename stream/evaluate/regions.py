"""Region similarity J of two masks, and the overlaps of a frame's true and found objects.

J is the intersection over union of Perazzi et al. 2016, "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation". Two empty masks agree: J = 1. One empty mask: J = 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.frame import BoolMask, TrackedObject

Ids = npt.NDArray[np.uint16]


def region_similarity(truth: BoolMask, result: BoolMask) -> float:
    """Return J of one object in one frame, in [0, 1].

    Args:
        truth: (H, W) bool.
        result: (H, W) bool.

    Raises:
        ValueError: The masks differ in shape.
    """
    check_alike(truth, result)
    union = int(np.count_nonzero(truth | result))
    if union == 0:
        return 1.0
    return int(np.count_nonzero(truth & result)) / union


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Who covers whom in one frame. Objects without a pixel are left out on both sides."""

    true_ids: tuple[int, ...]
    found_ids: tuple[int, ...]
    iou: npt.NDArray[np.float64]
    """(T, P) intersection over union of each true with each found object."""

    def row(self, true_id: int) -> int | None:
        """Return the row of a true object; None where it has no pixel in this frame."""
        return self.true_ids.index(true_id) if true_id in self.true_ids else None

    def column(self, found_id: int) -> int | None:
        """Return the column of a found object; None where it has no pixel in this frame."""
        return self.found_ids.index(found_id) if found_id in self.found_ids else None


def overlaps(truth: Ids, found: Mapping[int, BoolMask]) -> Overlaps:
    """Return the IoU of all true objects of a frame with all that were found.

    Args:
        truth: (H, W) uint16 ids, 0 background.
        found: Id -> (H, W) bool; found objects may overlap each other.

    Raises:
        ValueError: A mask differs from the truth in shape.
    """
    for mask in found.values():
        check_alike(truth, mask)
    return _overlaps(truth, ((found_id, truth[mask]) for found_id, mask in found.items()))


def overlaps_of(truth: Ids, objects: Sequence[TrackedObject]) -> Overlaps:
    """Return the same as `overlaps` for objects whose masks are cut to their boxes."""
    return _overlaps(truth, ((item.id, _covered(truth, item)) for item in objects))


def _covered(truth: Ids, item: TrackedObject) -> Ids:
    x0, y0, x1, y1 = item.box
    covered: Ids = truth[y0:y1, x0:x1][item.mask]
    return covered


def _overlaps(truth: Ids, covered: Iterable[tuple[int, Ids]]) -> Overlaps:
    """Count from the true ids under each found object's pixels."""
    areas = np.bincount(truth.ravel(), minlength=1)
    areas[0] = 0
    true_ids = np.flatnonzero(areas)
    found_ids, rows = [], []
    for found_id, under in covered:
        if under.size:
            found_ids.append(found_id)
            shared = np.bincount(under, minlength=len(areas))[true_ids]
            rows.append(shared / (areas[true_ids] + under.size - shared))
    iou = np.array(rows, dtype=np.float64).reshape(len(found_ids), len(true_ids)).T
    return Overlaps(tuple(true_ids.tolist()), tuple(found_ids), iou)


def check_alike(truth: npt.NDArray[Any], result: npt.NDArray[Any]) -> None:
    """Check that two masks cover the same frame.

    Raises:
        ValueError: They differ in shape.
    """
    if truth.shape != result.shape:
        raise ValueError(
            f"the true mask is {truth.shape}, the result {result.shape}; "
            "bring the result to frame size first"
        )
