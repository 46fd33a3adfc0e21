"""One-to-one pairs of true and found objects: F1 by IoU threshold, panoptic quality, counts.

At each threshold as many pairs as possible are made, of these the ones with the largest sum of IoUs
(Hungarian matching), so that a figure does not depend on the order of the objects. Nothing true and
nothing found: F1 = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from stream.evaluate.regions import Overlaps

Numbers = npt.NDArray[np.float64]

THRESHOLDS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU from 0.50 to 0.95."""


def best_pairs(iou: Numbers, least: float = 0.0) -> list[tuple[int, int]]:
    """Pair rows with columns one to one: as many as possible, then with the largest sum of IoUs.

    Args:
        iou: (T, P) intersections over unions.
        least: Pairs below it are not made, nor are pairs that share nothing.
    """
    may = (iou >= least) & (iou > 0.0)
    # All IoUs together weigh less than one pair more.
    value = np.where(may, 1.0 + iou / (1.0 + min(iou.shape)), 0.0)
    rows, columns = linear_sum_assignment(value, maximize=True)
    return [(r, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if may[r, c]]


def partners(iou: Numbers) -> list[tuple[int, int]]:
    """Pair rows with columns one to one so that the sum of IoUs is the largest."""
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return [(r, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True) if iou[r, c] > 0.0]


def frame_quality(seen: Overlaps) -> float:
    """Return the panoptic quality of one frame (Kirillov et al. 2019), in [0, 1].

    The sum of the IoUs of pairs from 0.5 on, over the mean number of true and found objects.
    """
    total = len(seen.true_ids) + len(seen.found_ids)
    if not total:
        return 1.0
    return 2.0 * sum(float(seen.iou[pair]) for pair in best_pairs(seen.iou, 0.5)) / total


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs over all frames; the sum of two is that of both together."""

    pairs: npt.NDArray[np.int64]
    """(10,) pairs at each of `THRESHOLDS`."""
    true: int
    found: int
    frames: int
    excess: int
    """Found minus true, summed over frames."""
    excess_abs: int
    """The same without sign, summed over frames."""

    def f1(self, threshold: float = 0.5) -> float:
        """Return F1 at one of `THRESHOLDS`."""
        total = self.true + self.found
        return 2.0 * float(self.pairs[THRESHOLDS.index(threshold)]) / total if total else 1.0

    @property
    def precision(self) -> float | None:
        """Share of the found objects that are right at IoU 0.5; None where none was found."""
        return float(self.pairs[0]) / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of the true objects that were found at IoU 0.5; None where none was there."""
        return float(self.pairs[0]) / self.true if self.true else None

    @property
    def count_error(self) -> float | None:
        """Mean of found minus true, in objects a frame; None before the first frame."""
        return self.excess / self.frames if self.frames else None

    @property
    def count_error_abs(self) -> float | None:
        """Mean of the same without sign."""
        return self.excess_abs / self.frames if self.frames else None

    def __add__(self, other: Paired) -> Paired:
        return Paired(
            self.pairs + other.pairs,
            self.true + other.true,
            self.found + other.found,
            self.frames + other.frames,
            self.excess + other.excess,
            self.excess_abs + other.excess_abs,
        )


@dataclass(slots=True)
class PairTally:
    """Counts over frames."""

    _sum: Paired = field(
        default_factory=lambda: Paired(np.zeros(len(THRESHOLDS), np.int64), 0, 0, 0, 0, 0)
    )

    def take(self, seen: Overlaps) -> None:
        """Take in one frame."""
        pairs = np.array([len(best_pairs(seen.iou, t)) for t in THRESHOLDS], dtype=np.int64)
        true, found = len(seen.true_ids), len(seen.found_ids)
        self._sum += Paired(pairs, true, found, 1, found - true, abs(found - true))

    def result(self) -> Paired:
        """Return the counts over all frames so far."""
        return self._sum
