"""Region similarity J of two masks, and the overlaps of a frame's true and found objects.

J is the intersection over union of Perazzi et al. 2016, "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation". Two empty masks agree: J = 1. One empty mask: J = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.frame import BoolMask

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


def overlaps(truth: Ids, found: Mapping[int, BoolMask]) -> Overlaps:
    """Return the IoU of all true objects of a frame with all that were found.

    Args:
        truth: (H, W) uint16 ids, 0 background.
        found: Id -> (H, W) bool; found objects may overlap each other.

    Raises:
        ValueError: A mask differs from the truth in shape.
    """
    areas = np.bincount(truth.ravel(), minlength=1)
    areas[0] = 0
    true_ids = np.flatnonzero(areas)
    found_ids, rows = [], []
    for found_id, mask in found.items():
        check_alike(truth, mask)
        inside = np.bincount(truth[mask], minlength=len(areas))
        area = int(inside.sum())
        if area:
            found_ids.append(found_id)
            shared = inside[true_ids]
            rows.append(shared / (areas[true_ids] + area - shared))
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
