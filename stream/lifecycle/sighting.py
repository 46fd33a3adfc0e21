"""The detections of one frame laid over the tracks as they were in it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream.config import LifecycleConfig
from stream.frame import BoolMask, Detection
from stream.lifecycle.labels import claims
from stream.lifecycle.matching import (
    Matrix,
    iou_matrix,
    match_labelled,
    misfits,
    overlap_matrices,
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Who was seen in a frame, by whom, and who was not."""

    detections: Sequence[Detection]
    masks: Mapping[int, BoolMask]
    """Of the tracks at that frame, by id."""
    ids: list[int]
    """Track id by column of `iou`."""
    iou: Matrix
    """(detections, tracks); of a misfit, with what it is to follow."""
    among: Matrix
    """(detections, detections) IoU."""
    objects: dict[int, list[int]]
    """Row of the surest detection of each object -> rows of all of its detections."""
    pairs: list[tuple[int, int]]
    """(row, column) of detections and the tracks they support."""
    mended: list[tuple[int, int]]
    """(row, column) of misfits and what they follow from now on."""
    parts: list[int]
    """Columns of tracks inside an object that another one follows."""

    @classmethod
    def of(
        cls,
        detections: Sequence[Detection],
        masks: Mapping[int, BoolMask],
        labels: Mapping[int, str],
        rules: LifecycleConfig,
    ) -> Sighting:
        """Lay detections over tracks.

        Args:
            detections: Of one frame, the surest first.
            masks: (h, w) bool by track id, at that frame, of the detections' size.
            labels: By track id.
            rules: Thresholds.
        """
        shapes, ids = [d.mask for d in detections], list(masks)
        among = iou_matrix(shapes, shapes)
        objects = claims(among, [d.score for d in detections], rules)
        iou, contained = overlap_matrices(shapes, [masks[i] for i in ids])
        others = [row for row in range(len(detections)) if row not in objects]
        iou[others] = contained[others] = 0.0
        same = np.array(
            [[labels[i] == detection.label for i in ids] for detection in detections],
            dtype=np.bool_,
        ).reshape(iou.shape)
        pairs = match_labelled(iou, same, rules)
        mended, parts = misfits(iou, contained * same, pairs, rules)
        for row, col in mended:  # from here on the track is where its detection is
            iou[:, col] = among[:, row]
        pairs = [pair for pair in pairs if pair not in mended]
        return cls(detections, masks, ids, iou, among, objects, pairs, mended, parts)

    @property
    def supports(self) -> dict[int, int]:
        """Track id -> row of the detection that supports it."""
        return {self.ids[col]: row for row, col in [*self.pairs, *self.mended]}

    @property
    def free(self) -> list[int]:
        """Rows of the objects that support no track, the surest first."""
        taken = {row for row, _ in [*self.pairs, *self.mended]}
        return [row for row in self.objects if row not in taken]

    @property
    def all_supported(self) -> bool:
        """Whether every track that was visible was detected."""
        return all(i in self.supports for i, mask in self.masks.items() if mask.any())

    def overlap(self, row: int) -> float:
        """Return the largest IoU of a detection with any track."""
        return float(self.iou[row].max(initial=0.0))

    def claimed(self, row: int) -> dict[str, float]:
        """Return the best score of each label that is claimed for the object of a row."""
        best: dict[str, float] = {}
        for other in self.objects[row]:
            detection = self.detections[other]
            best[detection.label] = max(best.get(detection.label, 0.0), detection.score)
        return best
