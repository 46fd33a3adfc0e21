"""Average precision of masks with scores, as COCO defines it (Lin et al. 2014, arXiv 1405.0312).

In each frame detections are taken from the surest to the least sure, each with the free true object
that it overlaps most, if by the IoU threshold. AP is the mean over ten thresholds (0.50 to 0.95) of
the precision at 101 recalls, precision made not to rise with recall. Unlike pycocotools' default,
no detection of a crowded frame is left out. Nothing true: undefined (None).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream.evaluate.pairs import THRESHOLDS
from stream.evaluate.regions import Overlaps

Numbers = npt.NDArray[np.float64]
RECALLS: Numbers = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision over recall at one threshold, from the surest detection on."""

    recall: Numbers
    precision: Numbers


class PrecisionTally:
    """Counts over frames; memory grows with the number of detections."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._right: list[npt.NDArray[np.bool_]] = []
        self._true = 0

    def take(self, seen: Overlaps, scores: Mapping[int, float]) -> None:
        """Take in one frame.

        Args:
            seen: Its overlaps.
            scores: Of each found id.
        """
        self._true += len(seen.true_ids)
        order = sorted(
            range(len(seen.found_ids)), key=lambda column: -scores[seen.found_ids[column]]
        )
        self._scores += [scores[seen.found_ids[column]] for column in order]
        self._right += list(_right(seen.iou[:, order]))

    def extend(self, other: PrecisionTally) -> None:
        """Take in all frames of another tally."""
        self._scores += other._scores
        self._right += other._right
        self._true += other._true

    def average_precision(self) -> float | None:
        """Return AP over all thresholds, in [0, 1]."""
        return self._mean(range(len(THRESHOLDS)))

    def at_half(self) -> float | None:
        """Return AP at IoU 0.5."""
        return self._mean([0])

    def curve(self, threshold: float = 0.5) -> Curve:
        """Return precision over recall; empty where nothing is true or nothing was found."""
        if not self._true or not self._scores:
            return Curve(np.zeros(0), np.zeros(0))
        order = np.argsort(-np.array(self._scores), kind="stable")
        hits = np.cumsum(np.array(self._right)[order, THRESHOLDS.index(threshold)])
        return Curve(hits / self._true, hits / np.arange(1, len(hits) + 1))

    def _mean(self, places: list[int] | range) -> float | None:
        if not self._true:
            return None
        return float(np.mean([_area(self.curve(THRESHOLDS[place])) for place in places]))


def _right(iou: Numbers) -> npt.NDArray[np.bool_]:
    """Return (P, 10): whether each detection, best first, is right at each threshold."""
    right = np.zeros((iou.shape[1], len(THRESHOLDS)), dtype=np.bool_)
    for place, least in enumerate(THRESHOLDS):
        free = np.ones(iou.shape[0], dtype=np.bool_)
        for column in range(iou.shape[1]):
            mine = np.where(free, iou[:, column], -1.0)
            row = int(mine.argmax()) if mine.size else -1
            if row >= 0 and mine[row] >= least:
                right[column, place], free[row] = True, False
    return right


def _area(curve: Curve) -> float:
    if not len(curve.recall):
        return 0.0
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    at = np.searchsorted(curve.recall, RECALLS, side="left")
    inside = at < len(envelope)
    return float(np.where(inside, envelope[np.minimum(at, len(envelope) - 1)], 0.0).mean())
