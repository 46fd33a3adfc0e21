"""How well ids are kept: IDF1 and the number of id switches.

IDF1 is of Ristani et al. 2016, "Performance Measures and a Data Set for Multi-Target, Multi-Camera
Tracking": true and found trajectories are matched one to one over the whole film so that as few
detections as possible are wrong, and F1 is taken over detections under that matching. Switches are
those of Bernardin and Stiefelhagen 2008 (CLEAR MOT): a pair of the frame before stays while it
overlaps enough, the rest is matched anew, and a true object whose partner is another than its last
one has switched.

Two objects overlap enough from IoU 0.5 on. A film with nothing true and nothing found: IDF1 = 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from stream.evaluate.regions import Ids, Overlaps, overlaps
from stream.frame import BoolMask

MATCH_IOU: Final = 0.5


@dataclass(frozen=True, slots=True)
class Identity:
    """How ids were kept; the sum of two is that of two films together."""

    right: int
    """Detections that bear the right id."""
    true: int
    """True detections, objects times the frames in which they are seen."""
    found: int
    """Detections that were found."""
    switches: int
    """How often a true object's partner changed."""

    @property
    def idf1(self) -> float:
        """F1 of the detections under their ids, in [0, 1]."""
        total = self.true + self.found
        return 2 * self.right / total if total else 1.0

    @property
    def idp(self) -> float:
        """Share of the found detections that bear the right id; 1 where none was found."""
        return self.right / self.found if self.found else 1.0

    @property
    def idr(self) -> float:
        """Share of the true detections found under the right id; 1 where none was there."""
        return self.right / self.true if self.true else 1.0

    def __add__(self, other: Identity) -> Identity:
        return Identity(
            self.right + other.right,
            self.true + other.true,
            self.found + other.found,
            self.switches + other.switches,
        )


class IdentityTally:
    """Counts over the frames of one film; memory grows with the number of ids only.

    Args:
        match_iou: IoU from which two objects overlap enough.
    """

    def __init__(self, match_iou: float = MATCH_IOU) -> None:
        self._match_iou = match_iou
        self._together: Counter[tuple[int, int]] = Counter()
        self._true: Counter[int] = Counter()
        self._found: Counter[int] = Counter()
        self._partners: dict[int, int] = {}
        self._pairs_before: dict[int, int] = {}
        self._switches = 0

    def add(self, truth: Ids, found: Mapping[int, BoolMask]) -> None:
        """Take in the next frame.

        Args:
            truth: (H, W) uint16 ids, 0 background.
            found: Id -> (H, W) bool.

        Raises:
            ValueError: A mask differs from the truth in shape.
        """
        self.take(overlaps(truth, found))

    def take(self, seen: Overlaps) -> None:
        """Take in the next frame, whose overlaps are known already."""
        self._true.update(seen.true_ids)
        self._found.update(seen.found_ids)
        for row, column in np.argwhere(seen.iou >= self._match_iou).tolist():
            self._together[seen.true_ids[row], seen.found_ids[column]] += 1
        self._note_switches(seen)

    def result(self) -> Identity:
        """Return the figures over all frames so far."""
        return Identity(
            self._rightly_named(), self._true.total(), self._found.total(), self._switches
        )

    def _rightly_named(self) -> int:
        """Detections that agree under the best matching of trajectories."""
        true_ids, found_ids = list(self._true), list(self._found)
        # Fewest wrong detections is most right ones: each right one saves one wrong on both sides.
        right = np.zeros((len(true_ids), len(found_ids)))
        for row, true_id in enumerate(true_ids):
            for column, found_id in enumerate(found_ids):
                right[row, column] = self._together[true_id, found_id]
        return int(right[linear_sum_assignment(right, maximize=True)].sum())

    def _note_switches(self, seen: Overlaps) -> None:
        pairs = self._match(seen)
        for true_id, found_id in pairs.items():
            self._switches += self._partners.get(true_id, found_id) != found_id
        self._partners |= pairs
        self._pairs_before = pairs

    def _match(self, seen: Overlaps) -> dict[int, int]:
        """Pair true and found ids of one frame; pairs of the frame before come first."""
        iou = np.where(seen.iou >= self._match_iou, seen.iou, 0.0)
        rows = {true_id: row for row, true_id in enumerate(seen.true_ids)}
        columns = {found_id: column for column, found_id in enumerate(seen.found_ids)}
        pairs: dict[int, int] = {}
        for true_id, found_id in self._pairs_before.items():
            if true_id in rows and found_id in columns and iou[rows[true_id], columns[found_id]]:
                pairs[true_id] = found_id
                iou[rows[true_id], :] = 0.0
                iou[:, columns[found_id]] = 0.0
        for row, column in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
            if iou[row, column]:
                pairs[seen.true_ids[row]] = seen.found_ids[column]
        return pairs
