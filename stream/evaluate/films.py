"""All measures of one film, and of several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream.evaluate.average_precision import PrecisionTally
from stream.evaluate.celltracking import CellTrackingTally
from stream.evaluate.figures import Group, mean, rounded, spread
from stream.evaluate.hota import ALPHAS, Hota, HotaTally
from stream.evaluate.identity import Identity, IdentityTally
from stream.evaluate.layers import label_map
from stream.evaluate.pairs import THRESHOLDS, Paired, PairTally, frame_quality, partners
from stream.evaluate.regions import Ids, Overlaps, overlaps_of
from stream.evaluate.scores import MaskTally, ObjectScore
from stream.evaluate.trajectories import TrajectoryTally
from stream.frame import TrackedObject


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One frame's result."""

    quality: float
    """Mean J of the given objects, panoptic quality where none were given; in [0, 1]."""
    true: int
    found: int


class FilmTally:
    """Counts over the frames of one film.

    Args:
        name: Of the film.
        given: Track -> true id of the objects that were given in the first frame; None where a text
            said what to look for. With it J and F are those of the DAVIS benchmark, else those of
            `stream.evaluate.trajectories`.
    """

    def __init__(self, name: str, given: Mapping[int, int] | None = None) -> None:
        self.name = name
        self.frames = 0
        self.seconds = 0.0
        self.partial = False
        self._given = given
        self._masks = MaskTally(() if given is None else given.values())
        self._trajectories = TrajectoryTally()
        self._identity = IdentityTally()
        self._hota = HotaTally()
        self._pairs = PairTally()
        self._precision = PrecisionTally()
        self._cells = CellTrackingTally()
        self._ious: list[float] = []

    def add(self, truth: Ids, objects: Sequence[TrackedObject], *, in_j: bool = True) -> FrameScore:
        """Take in the next frame.

        Args:
            truth: (H, W) ids, 0 background.
            objects: What was published.
            in_j: Whether the frame counts in J and F of given objects.
        """
        objects = [item for item in objects if item.area]
        seen = overlaps_of(truth, objects)
        by_id = {item.id: item for item in objects}
        self.frames += 1
        self._identity.take(seen)
        self._hota.take(seen)
        self._pairs.take(seen)
        self._precision.take(seen, {item.id: item.score for item in objects})
        self._cells.add(truth, label_map(objects, truth.shape[:2]))
        if self._given is None:
            self._trajectories.take(truth, seen, by_id)
            best = dict(partners(seen.iou))
            self._ious += [
                float(seen.iou[row, best[row]]) if row in best else 0.0
                for row in range(len(seen.true_ids))
            ]
            quality = frame_quality(seen)
        else:
            quality = self._add_given(truth, seen, by_id, in_j)
        return FrameScore(quality, len(seen.true_ids), len(seen.found_ids))

    def scores(self) -> dict[int, ObjectScore]:
        """Return J and F of each true object that counts."""
        return (self._trajectories if self._given is None else self._masks).per_object()

    @property
    def ious(self) -> list[float]:
        """IoU of each true object with its partner, frame by frame; 0 without one."""
        return self._ious

    def group(self) -> Group:
        """Return the figures over all frames so far."""
        return join([self], self.name)

    def _add_given(
        self, truth: Ids, seen: Overlaps, objects: Mapping[int, TrackedObject], in_j: bool
    ) -> float:
        assert self._given is not None
        size = truth.shape[:2]
        results = {
            true_id: objects[track].full(size)
            for track, true_id in self._given.items()
            if track in objects
        }
        if in_j:
            self._masks.add(truth, results)
        ious = []
        for track, true_id in self._given.items():
            row, column = seen.row(true_id), seen.column(track)
            if row is not None and column is not None:
                ious.append(float(seen.iou[row, column]))
            else:
                ious.append(1.0 if row is None and column is None else 0.0)
            if row is not None:
                self._ious.append(ious[-1])
        return float(np.mean(ious)) if ious else frame_quality(seen)

    def _parts(self) -> tuple[Identity, Hota, Paired]:
        return self._identity.result(), self._hota.result(), self._pairs.result()


def join(films: Sequence[FilmTally], name: str) -> Group:
    """Return the figures of films together.

    J and F are means over objects, whatever film they are in; IDF1, HOTA, F1 and count errors come
    from the summed counts; SEG, DET, TRA and LNK are means over films, as the Cell Tracking
    Challenge has it; fps is all frames over all seconds.

    Args:
        films: At least one.
        name: Of the group.
    """
    identity, hota, pairs = films[0]._parts()
    precision = PrecisionTally()
    precision.extend(films[0]._precision)
    for film in films[1:]:
        more = film._parts()
        identity, hota, pairs = identity + more[0], hota + more[1], pairs + more[2]
        precision.extend(film._precision)
    cells = [film._cells.result() for film in films]
    scores = [score for film in films for score in film.scores().values()]
    seconds, frames = sum(film.seconds for film in films), sum(film.frames for film in films)
    group = Group(name, partial=any(film.partial for film in films))
    group.figures |= {
        "J": rounded(mean(score.j for score in scores)),
        "F": rounded(mean(score.f for score in scores)),
        "JF": rounded(mean(score.jf for score in scores)),
        "seg": rounded(mean(part.seg for part in cells)),
        "det": rounded(mean(part.det for part in cells)),
        "tra": rounded(mean(part.tra for part in cells)),
        "lnk": rounded(mean(part.lnk for part in cells)),
        "idf1": rounded(identity.idf1),
        "hota": rounded(hota.hota),
        "f1_50": rounded(pairs.f1()),
        "count_error": rounded(pairs.count_error),
        "fps": rounded(frames / seconds, 3) if seconds else None,
    }
    group.more = {
        "frames": frames,
        "objects": pairs.true,
        "found": pairs.found,
        "objects_in_j": len(scores),
        "precision": rounded(pairs.precision),
        "recall": rounded(pairs.recall),
        "count_error_abs": rounded(pairs.count_error_abs),
        "ap": rounded(precision.average_precision()),
        "ap_50": rounded(precision.at_half()),
        "f1_by_iou": [rounded(pairs.f1(threshold)) for threshold in THRESHOLDS],
        "iou": spread([iou for film in films for iou in film.ious]),
        "idp": rounded(identity.idp),
        "idr": rounded(identity.idr),
        "id_switches": identity.switches,
        "det_a": rounded(hota.det_a),
        "ass_a": rounded(hota.ass_a),
        "hota_by_alpha": dict(
            zip((f"{alpha:.2f}" for alpha in ALPHAS), map(rounded, hota.by_alpha), strict=True)
        ),
        "corrections": _summed([part.corrections for part in cells]),
    }
    return group


def joined_precision(films: Sequence[FilmTally]) -> PrecisionTally:
    """Return the detections of films together."""
    out = PrecisionTally()
    for film in films:
        out.extend(film._precision)
    return out


def _summed(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(part.get(name, 0) for part in parts) for name in (parts[0] if parts else ())}
