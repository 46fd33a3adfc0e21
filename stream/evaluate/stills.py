"""All measures of images that stand alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream.evaluate.average_precision import Curve, PrecisionTally
from stream.evaluate.celltracking import CellTrackingTally
from stream.evaluate.contours import contour_accuracy
from stream.evaluate.figures import Group, mean, rounded, spread
from stream.evaluate.layers import label_map
from stream.evaluate.pairs import THRESHOLDS, PairTally, frame_quality, partners
from stream.evaluate.regions import Ids, Overlaps, overlaps_of
from stream.frame import TrackedObject


@dataclass(frozen=True, slots=True)
class ObjectFit:
    """How well one true object was found."""

    j: float
    f: float
    area_px: int
    """Of the true object."""


@dataclass(frozen=True, slots=True)
class StillScore:
    """One image's result."""

    quality: float
    """Mean J where objects were prompted, panoptic quality else; in [0, 1]."""
    true: int
    found: int
    objects: tuple[ObjectFit, ...]


class StillTally:
    """Counts over images.

    Args:
        name: Of the group.
        prompted: Whether each found object has the id of the true object that it was asked for.
            J and F are then of these, else of the pairs that make the sum of IoUs the largest, 0
            for a true object without one.
    """

    def __init__(self, name: str, prompted: bool) -> None:
        self.name = name
        self.prompted = prompted
        self.images = 0
        self.seconds = 0.0
        self._fits: list[ObjectFit] = []
        self._pairs = PairTally()
        self._precision = PrecisionTally()
        self._cells = CellTrackingTally(linked=False)

    def add(
        self,
        truth: Ids,
        objects: Sequence[TrackedObject],
        seconds: float,
        asked: Sequence[int] | None = None,
    ) -> StillScore:
        """Take in one image.

        Args:
            truth: (H, W) ids, 0 background.
            objects: What was found.
            seconds: What it took.
            asked: Ids of the true objects that were prompted; None for all.
        """
        seen = overlaps_of(truth, objects)
        return self.take(truth, seen, objects, seconds, asked)

    def take(
        self,
        truth: Ids,
        seen: Overlaps,
        objects: Sequence[TrackedObject],
        seconds: float,
        asked: Sequence[int] | None = None,
    ) -> StillScore:
        """Take in one image whose overlaps are known already; see `add`."""
        self.images += 1
        self.seconds += seconds
        by_id = {item.id: item for item in objects}
        pairs = self._partners(seen)
        judged = seen.true_ids if asked is None else [i for i in seen.true_ids if i in set(asked)]
        fits = tuple(_fit(truth, seen, true_id, pairs.get(true_id), by_id) for true_id in judged)
        self._fits += fits
        self._pairs.take(seen)
        self._precision.take(seen, {item.id: item.score for item in objects})
        self._cells.add(truth, label_map(objects, truth.shape[:2]))
        quality = (mean(fit.j for fit in fits) if self.prompted else None) or 0.0
        if not self.prompted or not fits:
            quality = frame_quality(seen)
        return StillScore(quality, len(seen.true_ids), len(seen.found_ids), fits)

    @property
    def ious(self) -> list[float]:
        """J of each true object."""
        return [fit.j for fit in self._fits]

    def curve(self) -> Curve:
        """Return precision over recall at IoU 0.5."""
        return self._precision.curve()

    def f1_by_iou(self) -> list[float]:
        """Return F1 at each of `THRESHOLDS`."""
        counts = self._pairs.result()
        return [counts.f1(threshold) for threshold in THRESHOLDS]

    def group(self) -> Group:
        """Return the figures over all images so far."""
        counts, cells = self._pairs.result(), self._cells.result()
        group = Group(self.name)
        j = mean(fit.j for fit in self._fits)
        f = mean(fit.f for fit in self._fits)
        group.figures |= {
            "J": rounded(j),
            "F": rounded(f),
            "JF": rounded((j + f) / 2) if j is not None and f is not None else None,
            "seg": rounded(cells.seg),
            "det": rounded(cells.det),
            "f1_50": rounded(counts.f1()),
            "count_error": rounded(counts.count_error),
            "fps": rounded(self.images / self.seconds, 3) if self.seconds else None,
        }
        group.more = {
            "images": self.images,
            "objects": counts.true,
            "found": counts.found,
            "precision": rounded(counts.precision),
            "recall": rounded(counts.recall),
            "count_error_abs": rounded(counts.count_error_abs),
            "ap": rounded(self._precision.average_precision()),
            "ap_50": rounded(self._precision.at_half()),
            "f1_by_iou": [rounded(value) for value in self.f1_by_iou()],
            "iou": spread(self.ious),
            "corrections": {k: n for k, n in cells.corrections.items() if k in ("NS", "FN", "FP")},
        }
        return group

    def _partners(self, seen: Overlaps) -> Mapping[int, int]:
        if self.prompted:
            return {true_id: true_id for true_id in seen.true_ids if true_id in seen.found_ids}
        return {seen.true_ids[r]: seen.found_ids[c] for r, c in partners(seen.iou)}


def _fit(
    truth: Ids,
    seen: Overlaps,
    true_id: int,
    found_id: int | None,
    objects: Mapping[int, TrackedObject],
) -> ObjectFit:
    true = truth == true_id
    area = int(np.count_nonzero(true))
    row = seen.true_ids.index(true_id)
    if found_id is None:
        return ObjectFit(0.0, 0.0, area)
    j = float(seen.iou[row, seen.found_ids.index(found_id)])
    return ObjectFit(j, contour_accuracy(true, objects[found_id].full(true.shape)), area)
