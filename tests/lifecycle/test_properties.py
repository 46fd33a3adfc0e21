"""What holds in every life, whatever the tracker and the detector do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.config import LifecycleConfig
from stream.frame import Detection
from stream.lifecycle import Track, Tracks, iou_matrix, rephrase, weigh
from stream.lifecycle.labels import FORGOTTEN

SIDE, CAP = 16, 3
KINDS = ("born", "reconditioned", "restarted", "removed", "recognised")
LABELS = ("cell", "bead")
RULES = LifecycleConfig(
    history_frames=12, gallery_size=2, remove_after_empty_s=0.5, recognise_within_s=5.0
)
DIVIDING = RULES.model_copy(update={"divisions": True, "division_iou": 0.1})


def block(x: int, y: int, side: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + side, x : x + side] = True
    return mask


@dataclass
class Thing:
    """Something that comes, moves and goes."""

    x: int
    y: int
    side: int
    looks: int
    there: bool = True

    def mask(self) -> np.ndarray:
        return block(self.x, self.y, self.side) if self.there else block(0, 0, 0)


class World:
    """A few things, and a detector that sees them more or less."""

    def __init__(self, seed: int, alike: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.things = [
            Thing(*self.rng.integers(0, 10, 2).tolist(), int(self.rng.integers(3, 8)), looks)
            for looks in ([0] * 6 if alike else range(6))
        ]

    def turn(self) -> None:
        """Let a frame go by."""
        for thing in self.things:
            thing.there ^= self.rng.random() < 0.1
            dx, dy = self.rng.integers(-1, 2, 2).tolist() if self.rng.random() < 0.3 else (0, 0)
            thing.x, thing.y = (int(np.clip(v, 0, 10)) for v in (thing.x + dx, thing.y + dy))

    def divide(self) -> None:
        """Let one of the large things become two, side by side."""
        away = [thing for thing in self.things if not thing.there]
        large = [thing for thing in self.things if thing.there and thing.side >= 6]
        if away and large and self.rng.random() < 0.2:
            mother, other = large[0], away[0]
            mother.side = other.side = mother.side * 2 // 3
            other.x, other.y, other.there = mother.x + mother.side, mother.y, True

    def look(self) -> list[Detection]:
        """What the detector says now: misses, wrong labels, vague and double sights."""
        found = []
        for thing in self.things:
            for _ in range(int(thing.there) + (self.rng.random() < 0.1)):
                if self.rng.random() < 0.8:
                    found.append(self._sight(thing))
        return sorted(found, key=lambda d: -d.score)

    def _sight(self, thing: Thing) -> Detection:
        vector = np.eye(6, dtype=np.float32)[thing.looks]
        return Detection(
            frame_index=0,
            label=LABELS[int(self.rng.random() < 0.2)],
            score=float(self.rng.choice([0.3, 0.5, 0.75, 0.85, 0.95])),
            mask=block(thing.x, thing.y, thing.side),
            box=(0, 0, 1, 1),
            point=(0, 0),
            embedding=vector if self.rng.random() < 0.8 else None,
        )


@dataclass
class Run:
    """The books with a tracker that shifts masks at will."""

    tracks: Tracks = field(default_factory=lambda: Tracks(RULES, CAP))
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    given_ids: list[int] = field(default_factory=list)
    was_confirmed: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    mothers: set[int] = field(default_factory=set)

    def hear(self, asked: int, found: list[Detection]) -> None:
        found = sorted(found, key=lambda d: -d.score)
        past = dict(self.tracks.tracks)
        before = set(past)
        changes = self.tracks.detected(asked, found)
        assert set(self.tracks.tracks) == (before - set(changes.removed)) | set(changes.born)
        for kind in KINDS:
            self.counts[kind] += len(getattr(changes, kind))
        for track_id in changes.removed:
            assert track_id in before
            self.gone.add(track_id)
            del self.masks[track_id]
        for track_id in [*changes.restarted, *changes.reconditioned]:
            assert track_id in before - set(changes.removed)
        for track_id in changes.born:
            if track_id in changes.recognised:
                assert track_id in self.gone & self.was_confirmed
            else:
                assert track_id > max(self.given_ids, default=0)
            self.given_ids.append(track_id)
        for track_id, row in (changes.born | changes.restarted | changes.reconditioned).items():
            self.masks[track_id] = found[row].mask
        for track in (past | self.tracks.tracks).values():
            if track.id not in past and track.parent in self.was_confirmed:
                self.was_confirmed.add(track.id)  # the mother goes on under a new id
            self._check_confirmation(track, found)

    def _check_confirmation(self, track: Track, found: list[Detection]) -> None:
        if not track.confirmed:
            assert track.id not in self.was_confirmed, "nobody becomes tentative again"
        elif track.id not in self.was_confirmed:
            supports = list(track.supports)
            assert supports[-1]
            assert sum(supports[-3:]) >= 2 or max(d.score for d in found) >= 0.9
            self.was_confirmed.add(track.id)

    def step(self, step: int, world: World) -> None:
        """A tracker that is where the nearest thing is, or nowhere, or has not moved."""
        things = [thing.mask() for thing in world.things]
        for track_id, mask in self.masks.items():
            near = iou_matrix([mask], things)[0]
            if near.max() > 0.2:
                self.masks[track_id] = things[int(near.argmax())]
            elif world.rng.random() < 0.7:
                self.masks[track_id] = block(0, 0, 0)
        scores = dict.fromkeys(self.masks, 5.0)
        for track_id in self.tracks.stepped(step, step / 10, dict(self.masks), scores):
            self.gone.add(track_id)
            del self.masks[track_id]
        assert set(self.masks) == set(self.tracks.tracks)

    def check_books(self, step: int) -> None:
        tracks = self.tracks
        assert len(tracks.tracks) <= CAP
        assert len(tracks.gallery) <= RULES.gallery_size
        assert sum(tracks.knows(k) for k in range(step + 1)) <= RULES.history_frames
        assert not tracks.embeddings().keys() - set(self.given_ids)
        assert not {t.id for t in tracks.gallery.tracks(step / 10)} & set(tracks.tracks)
        alike = np.triu(iou_matrix(list(self.masks.values()), list(self.masks.values())), 1)
        assert not (alike >= RULES.duplicate_iou).any(), "two tracks keep one mask"
        assert tracks.ever == len(self.was_confirmed)
        for track in tracks.tracks.values():
            assert len(track.supports) <= 16
            assert track.unsupported < RULES.remove_after_unsupported
            assert set(track.evidence) <= set(LABELS)
            assert track.label in LABELS
            assert len(track.shapes) <= tracks.rules.division_events
            if track.parent is not None:
                assert track.parent in self.gone & self.was_confirmed
                self.mothers.add(track.parent)
            assert 0 <= track.score <= 1
            if track.embedding is not None:
                assert abs(float(np.linalg.norm(track.embedding)) - 1) < 1e-4


def live(seed: int, late: int, alike: bool, rules: LifecycleConfig = RULES) -> Run:
    run, world = Run(Tracks(rules, CAP)), World(seed, alike)
    pending: tuple[int, list[Detection]] | None = None
    for step in range(60):
        world.turn()
        if rules.divisions:
            world.divide()
        if pending is None:
            pending = step, world.look()
        asked, found = pending
        if step - asked >= late:
            run.hear(asked, found)
            pending = None
        run.step(step, world)
        run.check_books(step)
    return run


@example(310273, 0, False, DIVIDING)  # divides when its last events did not confirm it
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 11), st.booleans(), st.sampled_from([RULES, DIVIDING]))
def test_the_books_hold_whatever_happens(
    seed: int, late: int, alike: bool, rules: LifecycleConfig
) -> None:
    live(seed, late, alike, rules)


def test_these_lives_are_eventful() -> None:
    """So that the invariants are tried where they matter."""
    counts: Counter[str] = Counter()
    for seed in range(8):
        counts += live(seed, seed % 4, alike=False).counts
    assert min(counts[what] for what in KINDS) >= 3, counts
    families = [live(seed, seed % 4, True, DIVIDING).mothers for seed in range(40)]
    assert sum(map(len, families)) >= 3


scores = st.floats(0, 1)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), scores, max_size=3), max_size=30))
def test_evidence_stays_a_fraction_and_forgets(claimed: list[dict[str, float]]) -> None:
    evidence: dict[str, float] = {"a": 0.9}
    for one in claimed:
        evidence = weigh(evidence, one, RULES)
        assert all(0 <= value <= 1 for value in evidence.values())
    assert all(value >= FORGOTTEN for value in evidence.values()) or not claimed


@given(
    st.dictionaries(st.integers(1, 9), st.sampled_from("abcd")),
    st.lists(st.sampled_from("abcdef"), unique=True),
    st.dictionaries(st.integers(1, 9), st.dictionaries(st.sampled_from("abcdef"), scores)),
)
def test_every_track_goes_on_under_a_text_that_is_asked_or_ends(
    labels: dict[int, str], texts: list[str], given_scores: dict[int, dict[str, float]]
) -> None:
    answer = rephrase(labels, texts, given_scores, RULES)
    assert answer.kept.keys() | set(answer.retired) == labels.keys()
    assert not answer.kept.keys() & set(answer.retired)
    assert set(answer.kept.values()) <= set(texts)
    for track_id, label in labels.items():
        assert label not in texts or answer.kept[track_id] == label
