"""Temporal smoothing of shown masks, against borders that flicker where nothing moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.objects import ObjectMask
from engines.pieces import OUTSIDE_LOGIT

# An object counts as still while its mask overlaps the last shown one this much, and its centre
# is this near to it. The second bound is what keeps a slow object from trailing behind.
STILL_IOU = 0.7
STILL_SHIFT_PX = 0.5


class Smoother:
    """Blends the masks of still objects with the ones shown before.

    An exponential mean of the logits, per object and without regard to the others. A mask that is
    shown trails behind the true one by at most `weight * STILL_SHIFT_PX` pixels of the logits. What
    was pushed out of a mask (`OUTSIDE_LOGIT`) is not blended in again, so masks that exclude each
    other still do. Only what is shown is smoothed; memories are made from the model's own masks.

    Args:
        weight: Weight of the mask shown last, from 0 up to, but not, 1.

    Raises:
        ValueError: The weight is not in this range.
    """

    def __init__(self, weight: float) -> None:
        if not 0.0 <= weight < 1.0:
            raise ValueError(f"smoothing weight is {weight}; accepted is 0 up to, but not, 1")
        self._weight = np.float32(weight)
        self._shown: dict[int, npt.NDArray[np.float32]] = {}

    def __call__(self, obj_id: int, result: ObjectMask) -> ObjectMask:
        """Return an object's result with the mask to show.

        Args:
            obj_id: The object's id.
            result: What the model found in this frame.
        """
        logits, last = result.logits, self._shown.get(obj_id)
        if last is not None and _is_still(last, logits):
            blended = logits + self._weight * (last - logits)
            logits = np.where(logits > OUTSIDE_LOGIT, blended, logits)
            result = result.with_logits(logits)
        self._shown[obj_id] = logits
        return result

    def forget(self, obj_id: int) -> None:
        """Forget an object; an unknown id is not an error."""
        self._shown.pop(obj_id, None)

    def reset(self) -> None:
        """Forget all objects."""
        self._shown.clear()


def _is_still(last: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> bool:
    if last.shape != logits.shape:
        return False
    before, now = last > 0, logits > 0
    union = np.count_nonzero(before | now)
    if not union or np.count_nonzero(before & now) < STILL_IOU * union:
        return False
    return bool(np.hypot(*(_centre(now) - _centre(before))) <= STILL_SHIFT_PX)


def _centre(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return x, y of the centroid of a mask that has pixels."""
    columns, rows = mask.sum(0), mask.sum(1)
    area = columns.sum()
    return np.array([columns @ np.arange(len(columns)) / area, rows @ np.arange(len(rows)) / area])
