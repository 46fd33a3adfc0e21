"""What a detection event does to tracks: who is supported, corrected, born, ended, recognised."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from stream.frame import Detection
from stream.lifecycle.books import Books
from stream.lifecycle.divisions import find_mother
from stream.lifecycle.gallery import cosines, mean_embedding, recognise
from stream.lifecycle.labels import choose_label, weigh
from stream.lifecycle.rules import (
    gives_way,
    is_abandoned,
    is_confirmed,
    is_new,
    wants_reconditioning,
)
from stream.lifecycle.sighting import Sighting
from stream.lifecycle.track import Changes, Track


class Tracks(Books):
    """All tracks of a stream, and their masks in the frames gone by; made as `Books`."""

    def detected(self, step: int, detections: Sequence[Detection]) -> Changes:
        """Take the detections of a frame, now or gone by.

        Args:
            step: Number of the processed frame that they were made in. The masks of a frame that
                is still to come are taken to be those of the last one; a frame that is not kept
                any more changes nothing.
            detections: Best first, with masks of the remembered masks' size.

        Returns:
            What the tracker has to do; the caller does it.
        """
        masks = self._masks_at(step)
        if masks is None:
            return Changes()
        labels = {i: self.tracks[i].label for i in masks if i in self.tracks}
        seen = Sighting.of(detections, {i: masks[i] for i in labels}, labels, self.rules)
        ended = self._judge(seen)
        parts = [i for i in (seen.ids[col] for col in seen.parts) if self._may_change(i)]
        for track_id in parts:
            del self.tracks[track_id]
        fresh = [
            row for row in seen.free if is_new(seen.overlap(row), detections[row].score, self.rules)
        ]
        known = self._recognise(seen, fresh)
        mended = {seen.ids[col]: row for row, col in seen.mended}
        restarted = {i: row for i, row in mended.items() if self._may_change(i)}
        found_again = {row: i for row, i in known.items() if i in self.tracks}
        for row, track_id in found_again.items():
            self._support(self.tracks[track_id], seen, row)
            if self.tracks[track_id].empty_since_s is not None:
                restarted[track_id] = row
        born, displaced = self._bear(seen, fresh, known)
        ended += displaced
        divided = self._divide(seen, born) if self.rules.divisions else []
        for track in ended:
            self.gallery.add(track, self._now_s)
        removed = [*(track.id for track in ended), *parts, *divided]
        restarted = {i: row for i, row in restarted.items() if i in self.tracks}
        self.accepted += len(seen.supports) + len(found_again) + len(born) - len(divided)
        quiet = not (born or removed or restarted) and seen.all_supported
        self.quiet_events = self.quiet_events + 1 if quiet else 0
        return Changes(
            born,
            self._reconditioned(seen),
            restarted,
            removed,
            [i for i in known.values() if i in born or i in restarted],
        )

    # -- a detection event -----------------------------------------------------------------------

    def _may_change(self, track_id: int) -> bool:
        """Return whether a track is there and no person's."""
        return track_id in self.tracks and not self.tracks[track_id].by_hand

    def _judge(self, seen: Sighting) -> list[Track]:
        ended = []
        for track_id in seen.ids:
            track = self.tracks[track_id]
            row = seen.supports.get(track_id)
            if row is not None:
                self._support(track, seen, row)
            elif seen.masks[track_id].any():  # else: not visible, so not held against it
                track.supports.append(False)
                track.unsupported += 1
            if is_abandoned(track, self.rules):
                ended.append(self.tracks.pop(track_id))
        return ended

    def _recognise(self, seen: Sighting, rows: list[int]) -> dict[int, int]:
        """Return row -> id of the object out of sight that it is."""
        hidden = [self.tracks[i] for i in seen.ids if i in self.tracks and not seen.masks[i].any()]
        away = [t for t in hidden if t.id not in seen.supports]
        away += self.gallery.tracks(self._now_s)
        found = [seen.detections[row] for row in rows]
        like = cosines([d.embedding for d in found], [t.embedding for t in away])
        for index, detection in enumerate(found):
            like[index, [t.label != detection.label for t in away]] = -1.0
        in_sight = [t for t in self.tracks.values() if all(t is not other for other in away)]
        rivals = cosines([d.embedding for d in found], [t.embedding for t in in_sight])
        return {rows[row]: away[col].id for row, col in recognise(like, rivals, self.rules)}

    def _bear(
        self, seen: Sighting, fresh: list[int], known: dict[int, int]
    ) -> tuple[dict[int, int], list[Track]]:
        """Start tracks for new objects and old ones that are back; also return who gave way."""
        born: dict[int, int] = {}
        displaced: list[Track] = []
        for row in fresh:
            if known.get(row) in self.tracks:
                continue
            siblings = float(seen.among[row, list(born.values())].max(initial=0.0))
            if not is_new(siblings, seen.detections[row].score, self.rules):
                continue
            track = self._new_track(seen, row, known.get(row))
            if len(self.tracks) >= self.max_objects:
                settled = [t for t in self.tracks.values() if t.id not in born]
                loser = gives_way(settled, track.confirmed, track.score, self.rules)
                if loser is None:
                    continue
                displaced.append(self.tracks.pop(loser))
            if track.id == self._next_id:
                self._next_id += 1
                self.ever += track.confirmed
            else:
                self.gallery.take(track.id)
            self.tracks[track.id] = track
            born[track.id] = row
        return born, displaced

    def _new_track(self, seen: Sighting, row: int, known_id: int | None) -> Track:
        detection = seen.detections[row]
        past = {track.id: track for track in self.gallery.tracks(self._now_s)}
        if known_id is not None and known_id in past:
            track = replace(past[known_id], score=detection.score, unsupported=0, supported=0,
                            object_probability=1.0, empty_since_s=None)  # fmt: skip
        else:
            confirmed = is_confirmed([True], detection.score, self.rules)
            track = Track(self._next_id, detection.label, detection.score, confirmed)
        self._learn(track, seen, row)
        track.supports.clear()
        track.supports.append(True)
        return track

    def _divide(self, seen: Sighting, born: dict[int, int]) -> list[int]:
        """Let tracks end whose objects have become two; return them, and add daughters to `born`.

        Whom a new object may have split from is settled when it is first seen. What is done waits
        until it is sure, so that one wrong detection takes no id away.
        """
        rows = {i: row for i, row in seen.supports.items() if self._may_change(i)}
        self._find_mothers(seen, rows, born)
        divided = []
        for track in list(self.tracks.values()):
            mother = self.tracks.get(track.beside) if track.beside is not None else None
            if mother is None or not track.confirmed or mother.id not in rows:
                continue
            track.parent, track.beside = mother.id, None
            sister = replace(
                mother, id=self._next_id, parent=mother.id, supported=0, beside=None, shapes=deque()
            )
            self._next_id += 1
            self.ever += 1
            del self.tracks[mother.id]
            self.tracks[sister.id] = sister
            born[sister.id] = rows.pop(mother.id)
            divided.append(mother.id)
        for track_id, row in {**rows, **born}.items():
            shapes = self.tracks[track_id].shapes
            shapes.append(seen.detections[row].mask)
            while len(shapes) > self.rules.division_events:
                shapes.popleft()
        return divided

    def _find_mothers(self, seen: Sighting, rows: dict[int, int], born: dict[int, int]) -> None:
        """Note whom those that were born may have split from.

        Args:
            seen: This event.
            rows: Track id -> row of the detection that supports it, of those that may divide.
            born: Track id -> row.
        """
        before = {i: self.tracks[i].shapes for i in rows if self.tracks[i].confirmed}
        for track_id, row in born.items():
            track = self.tracks[track_id]
            others = {
                i: seen.detections[rows[i]].mask
                for i in before
                if self.tracks[i].label == track.label
            }
            track.beside = find_mother(seen.detections[row].mask, others, before, self.rules)

    def _support(self, track: Track, seen: Sighting, row: int) -> None:
        score = seen.detections[row].score
        track.supports.append(True)
        track.unsupported = 0
        track.supported += 1
        track.score += self.rules.score_rate * (score - track.score)
        self._learn(track, seen, row)
        if not track.confirmed and is_confirmed(track.supports, score, self.rules):
            track.confirmed = True
            self.ever += 1

    def _learn(self, track: Track, seen: Sighting, row: int) -> None:
        """Take what a detection and those of the same object say of label and looks."""
        track.evidence = weigh(track.evidence, seen.claimed(row), self.rules)
        if not track.by_hand:
            track.label = choose_label(track.label, track.evidence, self.rules)
        embedding = seen.detections[row].embedding
        if embedding is not None:
            track.embedding = mean_embedding(track.embedding, embedding, track.embedded, self.rules)
            track.embedded += 1

    def _reconditioned(self, seen: Sighting) -> dict[int, int]:
        out = {}
        for row, col in seen.pairs:
            track = self.tracks.get(seen.ids[col])
            if track is None:
                continue
            overlap, score = float(seen.iou[row, col]), seen.detections[row].score
            if wants_reconditioning(
                score, overlap, track.object_probability, track.supported, self.rules
            ):
                track.supported = 0
                out[track.id] = row
        return out
