"""J and F of a film in which nobody said what to follow.

After the unsupervised track of DAVIS (Caelles et al. 2019, arXiv 1905.00737): true and found
trajectories are paired one to one so that the sum of their mean J is the largest, and a true object
without a partner has J = F = 0. Unlike there, a frame counts for an object only if the object or
its partner is seen in it: else cells that stay for a few frames of a long film would be right in
all others for being missed. Masks that share no pixel have F = 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from stream.evaluate.contours import contour_accuracy
from stream.evaluate.pairs import partners
from stream.evaluate.regions import Ids, Overlaps
from stream.evaluate.scores import ObjectScore
from stream.frame import TrackedObject

Pair = tuple[int, int]


class TrajectoryTally:
    """Sums over the frames of one film; memory grows with the pairs that ever touch."""

    def __init__(self) -> None:
        self._true: Counter[int] = Counter()
        self._found: Counter[int] = Counter()
        self._both: Counter[Pair] = Counter()
        self._j: dict[Pair, float] = {}
        self._f: dict[Pair, float] = {}

    def take(self, truth: Ids, seen: Overlaps, objects: Mapping[int, TrackedObject]) -> None:
        """Take in the next frame.

        Args:
            truth: (H, W) ids, 0 background.
            seen: The frame's overlaps.
            objects: By id, at least those in `seen`.
        """
        self._true.update(seen.true_ids)
        self._found.update(seen.found_ids)
        self._both.update((t, f) for t in seen.true_ids for f in seen.found_ids)
        for row, column in np.argwhere(seen.iou > 0.0).tolist():
            pair = seen.true_ids[row], seen.found_ids[column]
            mask = objects[pair[1]].full(truth.shape[:2])
            self._j[pair] = self._j.get(pair, 0.0) + float(seen.iou[row, column])
            self._f[pair] = self._f.get(pair, 0.0) + contour_accuracy(truth == pair[0], mask)

    def per_object(self) -> dict[int, ObjectScore]:
        """Return the means of each true object over its frames."""
        true_ids, found_ids = list(self._true), list(self._found)
        mean_j = np.zeros((len(true_ids), len(found_ids)))
        for (t, f), j in self._j.items():
            mean_j[true_ids.index(t), found_ids.index(f)] = j / self._frames((t, f))
        scores = {t: ObjectScore(0.0, 0.0, self._true[t]) for t in true_ids}
        for row, column in partners(mean_j):
            pair = true_ids[row], found_ids[column]
            frames = self._frames(pair)
            scores[pair[0]] = ObjectScore(self._j[pair] / frames, self._f[pair] / frames, frames)
        return scores

    def _frames(self, pair: Pair) -> int:
        """Frames in which one of the two is seen."""
        return self._true[pair[0]] + self._found[pair[1]] - self._both[pair]
