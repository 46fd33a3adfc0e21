"""HOTA of Luiten et al. 2021, "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking".

At each of 19 IoU thresholds alpha, HOTA is the geometric mean of how well objects are detected
(DetA) and how well the detections of one object are kept together (AssA); the figure is the mean
over alpha. Matching is TrackEval's: one matching a frame for all alphas, by IoU weighted with how
well the two trajectories agree over the whole film.

A film with nothing true and nothing found: 1. TrackEval gives 0 there; here nothing was wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from stream.evaluate.regions import Overlaps

Numbers = npt.NDArray[np.float64]

ALPHAS: Final[Numbers] = np.array([0.05 * step for step in range(1, 20)])
_ROUNDING: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Hota:
    """What HOTA is made of, by alpha; the sum of two is that of two films together."""

    matched: Numbers
    """(19,) pairs whose IoU is alpha or more."""
    association: Numbers
    """(19,) sum over these pairs of how much of both trajectories they share."""
    true: int
    """True detections."""
    found: int
    """Found detections."""

    @property
    def by_alpha(self) -> Numbers:
        """(19,) HOTA at each alpha."""
        out: Numbers = np.sqrt(self._detection() * self._association())
        return out

    @property
    def hota(self) -> float:
        """The figure, in [0, 1]."""
        return float(self.by_alpha.mean())

    @property
    def det_a(self) -> float:
        """Detection accuracy, in [0, 1]."""
        return float(self._detection().mean())

    @property
    def ass_a(self) -> float:
        """Association accuracy, in [0, 1]."""
        return float(self._association().mean())

    def __add__(self, other: Hota) -> Hota:
        return Hota(
            self.matched + other.matched,
            self.association + other.association,
            self.true + other.true,
            self.found + other.found,
        )

    def _detection(self) -> Numbers:
        union = self.true + self.found - self.matched
        return np.ones_like(union) if self._nothing else self.matched / union

    def _association(self) -> Numbers:
        if self._nothing:
            return np.ones_like(self.matched)
        mean: Numbers = self.association / np.maximum(self.matched, 1)
        return mean

    @property
    def _nothing(self) -> bool:
        return self.true + self.found == 0


@dataclass(frozen=True, slots=True)
class _Touching:
    """The pairs of one frame that share a pixel."""

    true_ids: list[int]
    found_ids: list[int]
    iou: Numbers
    alike: Numbers
    """IoU against all that the two overlap with in this frame."""


class HotaTally:
    """Takes in the frames of one film; memory grows with the pairs that touch."""

    def __init__(self) -> None:
        self._true: Counter[int] = Counter()
        self._found: Counter[int] = Counter()
        self._frames: list[_Touching] = []

    def take(self, seen: Overlaps) -> None:
        """Take in the next frame."""
        self._true.update(seen.true_ids)
        self._found.update(seen.found_ids)
        rows, columns = np.nonzero(seen.iou)
        if not len(rows):
            return
        iou = seen.iou[rows, columns]
        around = seen.iou.sum(1)[rows] + seen.iou.sum(0)[columns] - iou
        self._frames.append(
            _Touching(
                [seen.true_ids[row] for row in rows],
                [seen.found_ids[column] for column in columns],
                iou,
                iou / around,
            )
        )

    def result(self) -> Hota:
        """Return the figures over all frames so far."""
        agreement = self._agreement()
        together: list[Counter[tuple[int, int]]] = [Counter() for _ in ALPHAS]
        for frame in self._frames:
            for pair, iou in _matches(frame, agreement):
                for place in np.flatnonzero(iou >= ALPHAS - _ROUNDING):
                    together[place][pair] += 1
        return Hota(
            np.array([float(counts.total()) for counts in together]),
            np.array([self._associated(counts) for counts in together]),
            self._true.total(),
            self._found.total(),
        )

    def _agreement(self) -> dict[tuple[int, int], float]:
        """How alike two trajectories are over the whole film, before any matching."""
        alike: dict[tuple[int, int], float] = {}
        for frame in self._frames:
            pairs = zip(frame.true_ids, frame.found_ids, strict=True)
            for pair, share in zip(pairs, frame.alike.tolist(), strict=True):
                alike[pair] = alike.get(pair, 0.0) + share
        return {
            (t, f): shared / (self._true[t] + self._found[f] - shared)
            for (t, f), shared in alike.items()
        }

    def _associated(self, together: Counter[tuple[int, int]]) -> float:
        return float(
            sum(n * n / (self._true[t] + self._found[f] - n) for (t, f), n in together.items())
        )


def _matches(
    frame: _Touching, agreement: dict[tuple[int, int], float]
) -> list[tuple[tuple[int, int], float]]:
    """Pair the objects of one frame, the trajectories that agree first."""
    rows = {true_id: row for row, true_id in enumerate(dict.fromkeys(frame.true_ids))}
    columns = {found_id: column for column, found_id in enumerate(dict.fromkeys(frame.found_ids))}
    iou = np.zeros((len(rows), len(columns)))
    value = np.zeros_like(iou)
    for t, f, share in zip(frame.true_ids, frame.found_ids, frame.iou.tolist(), strict=True):
        iou[rows[t], columns[f]] = share
        value[rows[t], columns[f]] = share * agreement[t, f]
    true_ids, found_ids = list(rows), list(columns)
    pairs = zip(*linear_sum_assignment(value, maximize=True), strict=True)
    return [((true_ids[r], found_ids[c]), float(iou[r, c])) for r, c in pairs]
