"""The life of a track: born, confirmed, hidden, lost. Counted in detection events.

A detection of frame t is matched against the tracks' masks at t, however late it comes. Every rule
is a pure function with its threshold in `LifecycleConfig`; `Tracks` only keeps the books.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.config import LifecycleConfig
from stream.frame import BoolMask, Detection, State

Matrix = npt.NDArray[np.float32]


def overlap_matrices(a: Sequence[BoolMask], b: Sequence[BoolMask]) -> tuple[Matrix, Matrix]:
    """Return how masks of one size overlap, pair by pair.

    Args:
        a: N masks, (h, w) bool.
        b: M masks, (h, w) bool.

    Returns:
        IoU and intersection over the smaller mask, (N, M) float32 in [0, 1] each; empty masks
        overlap nothing.
    """
    if not a or not b:
        none = np.zeros((len(a), len(b)), dtype=np.float32)
        return none, none
    flat_a = np.stack(a).reshape(len(a), -1).astype(np.float32)
    flat_b = np.stack(b).reshape(len(b), -1).astype(np.float32)
    shared = flat_a @ flat_b.T
    area_a, area_b = flat_a.sum(1)[:, None], flat_b.sum(1)[None]
    iou: Matrix = shared / np.maximum(area_a + area_b - shared, 1.0)
    contained: Matrix = shared / np.maximum(np.minimum(area_a, area_b), 1.0)
    return iou, contained


def iou_matrix(a: Sequence[BoolMask], b: Sequence[BoolMask]) -> Matrix:
    """Return the pairwise IoU of masks of one size; see `overlap_matrices`."""
    return overlap_matrices(a, b)[0]


def match(iou: Matrix, threshold: float) -> list[tuple[int, int]]:
    """Pair detections with tracks, the largest overlap first, each at most once.

    Args:
        iou: (detections, tracks).
        threshold: Lowest IoU of a pair.

    Returns:
        (detection, track) pairs.
    """
    pairs: list[tuple[int, int]] = []
    left = iou.copy()
    while left.size:
        row, col = np.unravel_index(int(left.argmax()), left.shape)
        if left[row, col] < threshold or left[row, col] <= 0.0:
            break
        pairs.append((int(row), int(col)))
        left[row, :] = -1.0
        left[:, col] = -1.0
    return pairs


def misfits(
    iou: Matrix, contained: Matrix, pairs: Sequence[tuple[int, int]], rules: LifecycleConfig
) -> tuple[list[tuple[int, int]], list[int]]:
    """Find tracks that follow a part of an object, or more than one.

    Such a track overlaps a detection too little to be supported by it, but one lies in the other;
    or it is supported by one detection and holds another as well.

    Args:
        iou: (detections, tracks).
        contained: (detections, tracks), intersection over the smaller.
        pairs: Detections and tracks that support each other.
        rules: `misfit_contained`.

    Returns:
        (detection, track) pairs: what each misfit should follow instead; and tracks that lie in
        a detection which another track follows already.
    """
    inside = contained >= rules.misfit_contained
    crowded = [(row, col) for row, col in pairs if inside[:, col].sum() > 1]
    taken = {row for row, _ in pairs}
    supported = {col for _, col in pairs}
    fits = np.where(inside, iou, 0.0).astype(np.float32)
    fits[:, list(supported)] = 0.0
    free = fits.copy()
    free[list(taken), :] = 0.0
    again = [*crowded, *match(free, 1e-6)]
    mended = {col for _, col in again}
    parts = [
        col
        for col in range(iou.shape[1])
        if col not in supported | mended and any(fits[row, col] > 0 for row in taken)
    ]
    return again, parts


def is_new(overlap: float, score: float, rules: LifecycleConfig) -> bool:
    """Return whether a detection is an object that nobody tracks yet.

    Args:
        overlap: Its largest IoU with any track at its frame.
        score: Its score.
        rules: `new_iou` and `birth_score`.
    """
    return overlap < rules.new_iou and score >= rules.birth_score


def is_confirmed(supports: Sequence[bool], score: float, rules: LifecycleConfig) -> bool:
    """Return whether a tentative track has been seen often enough, or clearly enough once.

    Args:
        supports: Whether each of its detection events supported it, the newest last.
        score: Score of the newest support.
        rules: `confirm_supports` of `confirm_window`, or one of `confirm_score`.
    """
    recent = list(supports)[-rules.confirm_window :]
    return score >= rules.confirm_score or sum(recent) >= rules.confirm_supports


def has_failed(supports: Sequence[bool], rules: LifecycleConfig) -> bool:
    """Return whether a tentative track can no longer be confirmed."""
    recent = list(supports)[-rules.confirm_window :]
    return len(recent) >= rules.confirm_window and sum(recent) < rules.confirm_supports


def wants_reconditioning(
    score: float, overlap: float, object_probability: float, rules: LifecycleConfig
) -> bool:
    """Return whether a detection may correct a track: all three must exceed one threshold."""
    return min(score, overlap, object_probability) > rules.recondition_score


def younger_duplicates(
    ids: Sequence[int], masks: Sequence[BoolMask], rules: LifecycleConfig
) -> list[int]:
    """Return the ids that follow what an older track follows already.

    Args:
        ids: Track ids, the oldest first.
        masks: Their masks.
        rules: `duplicate_iou`.
    """
    iou = iou_matrix(masks, masks)
    gone: list[int] = []
    for young in range(len(ids)):
        older = [k for k in range(young) if ids[k] not in gone]
        if any(iou[young, k] >= rules.duplicate_iou for k in older):
            gone.append(ids[young])
    return gone


@dataclass(slots=True)
class Track:
    """The books of one track."""

    id: int
    label: str
    score: float
    confirmed: bool = False
    supports: deque[bool] = field(default_factory=lambda: deque(maxlen=16))
    unsupported: int = 0
    """Visible detection events in a row without support."""
    object_probability: float = 1.0
    empty_since_s: float | None = None
    """Stream time since which nothing of it is visible."""
    embedding: npt.NDArray[np.float32] | None = None

    def state(self, now_s: float, rules: LifecycleConfig) -> State:
        """Return what the world is told about it."""
        if not self.confirmed:
            return "tentative"
        if self.empty_since_s is None:
            return "confirmed"
        gone_s = now_s - self.empty_since_s
        return "hidden" if gone_s < rules.remove_after_empty_s / 2 else "lost"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a detection event asks of the tracker."""

    born: dict[int, int]
    """New track id -> row of its detection."""
    reconditioned: dict[int, int]
    """Track id -> row of the detection that corrects it."""
    restarted: dict[int, int]
    """Track id -> row of the detection that it follows from now on, its memory forgotten."""
    removed: list[int]


class Tracks:
    """All tracks of a stream, and their masks in the frames gone by.

    Args:
        rules: Thresholds.
        max_objects: Cap on the number of tracks; new ones wait until there is room.
    """

    def __init__(self, rules: LifecycleConfig, max_objects: int) -> None:
        self.rules = rules
        self.max_objects = max_objects
        self.tracks: dict[int, Track] = {}
        self.ever = 0
        """Tracks that were confirmed since the start."""
        self.accepted = 0
        """Detections that supported or started a track."""
        self._next_id = 1
        self._history: OrderedDict[int, dict[int, BoolMask]] = OrderedDict()

    def remember(self, step: int, masks: dict[int, BoolMask]) -> None:
        """Keep the masks of a processed frame for detections that come late.

        Args:
            step: Number of the processed frame.
            masks: (h, w) bool by track id, all of one size, as the detector's.
        """
        self._history[step] = masks
        while len(self._history) > self.rules.history_frames:
            self._history.popitem(last=False)

    def knows(self, step: int) -> bool:
        """Return whether the masks of a frame are still kept."""
        return step in self._history

    def detected(self, step: int, detections: Sequence[Detection]) -> Changes:
        """Take the detections of a frame, now or gone by.

        Args:
            step: Number of the processed frame that they were made in.
            detections: Best first, with masks of the remembered masks' size.

        Returns:
            What the tracker has to do; the caller does it.
        """
        at = {i: m for i, m in self._history.get(step, {}).items() if i in self.tracks}
        ids = list(at)
        iou, contained = overlap_matrices([d.mask for d in detections], [at[i] for i in ids])
        pairs = match(iou, self.rules.match_iou)
        mended, parts = misfits(iou, contained, pairs, self.rules)
        pairs = [pair for pair in pairs if pair not in mended]
        for row, col in mended:  # from here on the track is where its detection is
            masks = [d.mask for d in detections]
            iou[:, col] = iou_matrix(masks, [detections[row].mask])[:, 0]
        supports = {ids[col]: detections[row] for row, col in [*pairs, *mended]}
        removed = self._judge(ids, at, supports)
        removed += [ids[col] for col in parts if self.tracks.pop(ids[col], None) is not None]
        reconditioned = {
            ids[col]: row
            for row, col in pairs
            if ids[col] in self.tracks
            and wants_reconditioning(
                detections[row].score,
                float(iou[row, col]),
                self.tracks[ids[col]].object_probability,
                self.rules,
            )
        }
        restarted = {ids[col]: row for row, col in mended if ids[col] in self.tracks}
        born = self._bear(detections, iou, {row for row, _ in [*pairs, *mended]})
        self.accepted += len(supports) + len(born)
        return Changes(born, reconditioned, restarted, removed)

    def stepped(
        self, step: int, now_s: float, masks: dict[int, BoolMask], object_scores: dict[int, float]
    ) -> list[int]:
        """Take the tracker's masks of a frame.

        Args:
            step: Number of the processed frame.
            now_s: Stream time in seconds.
            masks: (h, w) bool by track id.
            object_scores: Object score logits by track id.

        Returns:
            Ids that end here: duplicates, and tracks empty for too long.
        """
        self.remember(step, masks)
        ended = younger_duplicates(list(masks), list(masks.values()), self.rules)
        for track_id, mask in masks.items():
            track = self.tracks[track_id]
            track.object_probability = float(1 / (1 + np.exp(-object_scores[track_id])))
            if mask.any():
                track.empty_since_s = None
                continue
            if track.empty_since_s is None:
                track.empty_since_s = now_s
            if now_s - track.empty_since_s >= self.rules.remove_after_empty_s:
                ended.append(track_id)
        for track_id in set(ended):
            self.tracks.pop(track_id, None)
        return list(set(ended))

    def restart(self) -> None:
        """Forget all tracks; ids are not used again and the counts go on."""
        self.tracks.clear()
        self.clear_history()

    def clear_history(self) -> None:
        """Forget the masks gone by: after a gap they are of another time."""
        self._history.clear()

    def _judge(
        self, ids: list[int], at: dict[int, BoolMask], support: dict[int, Detection]
    ) -> list[int]:
        removed: list[int] = []
        for track_id in ids:
            track = self.tracks[track_id]
            detection = support.get(track_id)
            if detection is None and not at[track_id].any():
                continue  # what was not visible cannot be held against it
            track.supports.append(detection is not None)
            if detection is not None:
                track.unsupported = 0
                track.score += 0.3 * (detection.score - track.score)
                track.embedding = detection.embedding
                self._confirm(track, detection.score)
            else:
                track.unsupported += 1
            failed = not track.confirmed and has_failed(track.supports, self.rules)
            if failed or track.unsupported >= self.rules.remove_after_unsupported:
                del self.tracks[track_id]
                removed.append(track_id)
        return removed

    def _bear(
        self, detections: Sequence[Detection], iou: Matrix, taken: set[int]
    ) -> dict[int, int]:
        born: dict[int, int] = {}
        for row, detection in enumerate(detections):
            if row in taken:
                continue
            if len(self.tracks) >= self.max_objects:
                break
            siblings = iou_matrix([detection.mask], [detections[r].mask for r in born.values()])
            overlap = max(float(iou[row].max(initial=0.0)), float(siblings.max(initial=0.0)))
            if not is_new(overlap, detection.score, self.rules):
                continue
            track = Track(self._next_id, detection.label, detection.score)
            track.embedding = detection.embedding
            track.supports.append(True)
            self._confirm(track, detection.score)
            self.tracks[track.id] = track
            born[track.id] = row
            self._next_id += 1
        return born

    def _confirm(self, track: Track, score: float) -> None:
        if not track.confirmed and is_confirmed(track.supports, score, self.rules):
            track.confirmed = True
            self.ever += 1
