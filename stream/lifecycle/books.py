"""The books of all tracks: which are alive, where they were, what people want of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

from stream.config import LifecycleConfig
from stream.frame import BoolMask
from stream.lifecycle.gallery import Gallery
from stream.lifecycle.labels import rephrase
from stream.lifecycle.matching import younger_duplicates
from stream.lifecycle.rules import gives_way, has_left
from stream.lifecycle.track import Embedding, Track


class Books:
    """All tracks of a stream, and their masks in the frames gone by.

    Args:
        rules: Thresholds.
        max_objects: Cap on the number of tracks; at the cap the least certain gives way to a
            clearly surer one, and any other new one waits.
    """

    def __init__(self, rules: LifecycleConfig, max_objects: int) -> None:
        self.rules = rules
        self.max_objects = max_objects
        self.tracks: dict[int, Track] = {}
        self.gallery = Gallery(rules)
        self.ever = 0
        """Tracks that were confirmed since the start."""
        self.accepted = 0
        """Detections that supported or started a track."""
        self.quiet_events = 0
        """Detection events in a row that found what was known, all of it, and nothing else."""
        self._next_id = 1
        self._now_s = 0.0
        self._history: OrderedDict[int, dict[int, BoolMask]] = OrderedDict()

    @property
    def next_id(self) -> int:
        """The id of the next new track."""
        return self._next_id

    @property
    def all_confirmed(self) -> bool:
        """Whether no track is tentative."""
        return all(track.confirmed for track in self.tracks.values())

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
        self._now_s = now_s
        oldest = sorted(masks, key=lambda i: (not self.tracks[i].by_hand, i))
        ended = set(younger_duplicates(oldest, [masks[i] for i in oldest], self.rules))
        for track_id, mask in masks.items():
            track = self.tracks[track_id]
            track.object_probability = float(1 / (1 + np.exp(-object_scores[track_id])))
            if mask.any():
                track.empty_since_s = None
                continue
            if track.empty_since_s is None or track.empty_since_s > now_s:
                track.empty_since_s = now_s
            if has_left(track.empty_since_s, now_s, self.rules):
                self.gallery.add(track, now_s)
                ended.add(track_id)
        for track_id in ended:
            del self.tracks[track_id]
        return sorted(ended)

    def embeddings(self) -> dict[int, Embedding]:
        """Return the mean embedding, (D,) unit length, of each track alive or in the gallery."""
        known = [*self.tracks.values(), *self.gallery.tracks(self._now_s)]
        return {track.id: track.embedding for track in known if track.embedding is not None}

    def adopt(self, label: str) -> tuple[int, int | None] | None:
        """Start a track that a person made; it is confirmed.

        Returns:
            Its id, and the track that gave way to it, if any; None where there is no room.
        """
        displaced = None
        if len(self.tracks) >= self.max_objects:
            displaced = gives_way(list(self.tracks.values()), True, np.inf, self.rules)
            if displaced is None:
                return None
            self.gallery.add(self.tracks.pop(displaced), self._now_s)
        track = Track(self._next_id, label, 1.0, confirmed=True, by_hand=True)
        track.evidence = {label: 1.0}
        self.tracks[track.id] = track
        self._next_id += 1
        self.ever += 1
        return track.id, displaced

    def take_over(self, track_id: int, label: str | None = None) -> None:
        """Let a track be a person's from now on, under another label if one is given."""
        track = self.tracks[track_id]
        self.ever += not track.confirmed
        track.by_hand = track.confirmed = True
        track.unsupported, track.empty_since_s = 0, None
        if label is not None:
            track.label, track.evidence = label, {label: 1.0}

    def rename(self, renamed: Mapping[str, str]) -> None:
        """Let the tracks of people go by the new names of their texts; others are weighed."""
        for track in [*self.tracks.values(), *self.gallery.tracks(self._now_s)]:
            if track.by_hand and track.label in renamed:
                track.label = renamed[track.label]
                track.evidence = {track.label: 1.0}

    def rephrase(
        self,
        texts: Sequence[str],
        scores: Mapping[int, Mapping[str, float]],
        *,
        anew: bool = False,
    ) -> list[int]:
        """Go on under new texts.

        Args:
            texts: All texts that are asked for from now on.
            scores: Score of each of `embeddings` under each text that is new, in [0, 1].
            anew: Whether other negatives are asked against; then `scores` are under all texts.

        Returns:
            Ids that end here, because no text describes them.
        """
        gone_by = {track.id: track for track in self.gallery.tracks(self._now_s)}
        known = {i: t for i, t in (gone_by | self.tracks).items() if not t.by_hand}
        labels = {i: t.label for i, t in known.items()}
        answer = rephrase(labels, texts, scores, self.rules, anew=anew)
        for track_id, label in answer.kept.items():
            track = known[track_id]
            if label != track.label:
                track.label, track.score = label, scores[track_id][label]
                track.unsupported = 0  # what was missed was something else
            kept = {name: value for name, value in track.evidence.items() if name in texts}
            track.evidence = {label: track.score} | kept
        retired = [track_id for track_id in answer.retired if track_id in self.tracks]
        for track_id in retired:
            self.gallery.add(self.tracks.pop(track_id), self._now_s)
        return retired

    def restart(self) -> None:
        """Forget all tracks; ids are not used again and the counts go on."""
        self.tracks.clear()
        self.gallery.clear()
        self.quiet_events = 0
        self.clear_history()

    def clear_history(self) -> None:
        """Forget the masks gone by: after a gap they are of another time."""
        self._history.clear()

    def _masks_at(self, step: int) -> dict[int, BoolMask] | None:
        if not self._history:
            return {}
        newest = next(reversed(self._history))
        return self._history[newest] if step > newest else self._history.get(step)
