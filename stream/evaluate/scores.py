"""J and F of the objects of a sequence, frame by frame, and their means."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from stream.evaluate.contours import contour_accuracy
from stream.evaluate.regions import Ids, region_similarity
from stream.frame import BoolMask


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """One object's means over the frames that were added."""

    j: float
    """Region similarity, in [0, 1]."""
    f: float
    """Contour accuracy, in [0, 1]."""
    frames: int

    @property
    def jf(self) -> float:
        """J&F, the mean of both."""
        return (self.j + self.f) / 2.0


class MaskTally:
    """J and F of given objects: each object's mean over frames, then the mean over objects.

    Every frame that is added counts, also one in which an object is gone: no mask is then right.
    The DAVIS benchmarks leave out the first frame, whose mask is given, and the last; whoever wants
    their figures does not add these two.

    Args:
        object_ids: Ids of the truth; each result has the id of the object that it follows.
    """

    def __init__(self, object_ids: Iterable[int]) -> None:
        self._ids = tuple(object_ids)
        self._j: dict[int, list[float]] = defaultdict(list)
        self._f: dict[int, list[float]] = defaultdict(list)

    def add(self, truth: Ids, results: Mapping[int, BoolMask]) -> None:
        """Take in one frame.

        Args:
            truth: (H, W) uint16 ids, 0 background.
            results: Id -> (H, W) bool; a missing id is an empty mask.

        Raises:
            ValueError: A mask differs from the truth in shape.
        """
        nothing = np.zeros(truth.shape, dtype=np.bool_)
        for object_id in self._ids:
            true, result = truth == object_id, results.get(object_id, nothing)
            self._j[object_id].append(region_similarity(true, result))
            self._f[object_id].append(contour_accuracy(true, result))

    def per_object(self) -> dict[int, ObjectScore]:
        """Return the means of each object over frames; empty before the first frame."""
        return {
            object_id: ObjectScore(float(np.mean(j)), float(np.mean(self._f[object_id])), len(j))
            for object_id, j in self._j.items()
        }

    def mean(self) -> ObjectScore:
        """Return the means over objects; NaN where nothing was added."""
        scores = list(self.per_object().values())
        if not scores:
            return ObjectScore(math.nan, math.nan, 0)
        j = float(np.mean([score.j for score in scores]))
        f = float(np.mean([score.f for score in scores]))
        return ObjectScore(j, f, scores[0].frames)
