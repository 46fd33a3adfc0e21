from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.config import DetectorConfig
from stream.schedule import Moment, Pace, Scene, choose_pace, is_due, is_still, must_wait

EIGHT = Pace(8)
ADAPTIVE = DetectorConfig(adaptive=True)


@pytest.mark.parametrize(
    ("step", "last", "expected"), [(0, None, True), (7, 0, False), (8, 0, True), (30, 0, True)]
)
def test_detection_comes_every_n_frames(step: int, last: int | None, expected: bool) -> None:
    before = None if last is None else Moment(last, 0.0)
    assert is_due(Moment(step, 0.0), before, EIGHT, in_flight=False) is expected


@pytest.mark.parametrize(
    ("time_s", "expected"), [(10.49, False), (10.5, True), (60.0, True), (3.0, True)]
)
def test_detection_comes_every_s_seconds_whatever_the_frames(time_s: float, expected: bool) -> None:
    pace = Pace(8, seconds=0.5)
    assert is_due(Moment(100, time_s), Moment(0, 10.0), pace, in_flight=False) is expected


def test_there_is_one_detection_in_flight_at_most() -> None:
    assert not is_due(Moment(1000, 1000.0), Moment(0, 0.0), EIGHT, in_flight=True)
    assert not is_due(Moment(0, 0.0), None, EIGHT, in_flight=True)


@pytest.mark.parametrize(
    ("scene", "frames"),
    [
        (Scene(), 8),
        (Scene(all_confirmed=False), 3),
        (Scene(cut=True), 3),
        (Scene(similarity=0.99), 16),
        (Scene(similarity=0.98), 8),
        (Scene(similarity=0.99, all_confirmed=False), 3),
        (Scene(similarity=0.99, cut=True), 3),
        (Scene(quiet_events=1), 8),
        (Scene(quiet_events=2), 16),
        (Scene(quiet_events=9, similarity=0.5), 8),  # what is seen counts more than what is found
    ],
)
def test_the_pace_goes_with_the_scene(scene: Scene, frames: int) -> None:
    assert choose_pace(scene, ADAPTIVE) == Pace(frames)
    assert choose_pace(scene, DetectorConfig()) == EIGHT, "only where it is asked for"
    assert is_still(scene, ADAPTIVE) is (frames == 16)


def test_seconds_adapt_in_the_same_proportion() -> None:
    rules = DetectorConfig(adaptive=True, every_s=0.8)
    assert choose_pace(Scene(), rules) == Pace(8, 0.8)
    assert choose_pace(Scene(cut=True), rules).seconds == pytest.approx(0.3)
    assert choose_pace(Scene(similarity=1.0), rules).seconds == pytest.approx(1.6)


def test_unsure_is_never_slower_and_still_never_faster_than_usual() -> None:
    assert choose_pace(Scene(cut=True), DetectorConfig(adaptive=True, every_n_frames=2)) == Pace(2)
    slow = DetectorConfig(adaptive=True, every_n_frames=20)
    assert choose_pace(Scene(similarity=1.0), slow) == Pace(20)


@pytest.mark.parametrize(
    ("live", "step", "pending", "tracking", "expected"),
    [
        (True, 100, 0, False, False),  # a live stream is never held back
        (False, 5, None, False, False),  # nothing is under way
        (False, 0, 0, False, True),  # the first objects appear in the frame they are seen in
        (False, 3, 0, True, False),  # both networks work at the same time
        (False, 7, 0, True, True),  # but not further apart than one period
    ],
)
def test_only_files_wait_and_only_when_they_must(
    live: bool, step: int, pending: int | None, tracking: bool, expected: bool
) -> None:
    asked = None if pending is None else Moment(pending, pending / 10)
    waits = must_wait(
        Moment(step, step / 10), asked, EIGHT, live=live, tracking=tracking, frame_s=0.1
    )
    assert waits is expected


def test_a_file_waits_in_the_frame_before_the_seconds_are_over() -> None:
    def waits(time_s: float) -> bool:
        asked, pace = Moment(0, 0.0), Pace(8, seconds=1.0)
        return must_wait(Moment(3, time_s), asked, pace, live=False, tracking=True, frame_s=0.25)

    assert [waits(t) for t in (0.25, 0.5, 0.75)] == [False, False, True]


@given(
    live=st.booleans(),
    frames=st.integers(1, 20),
    seconds=st.one_of(st.none(), st.floats(0.05, 2.0)),
    slowness=st.integers(0, 60),
    steps_s=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=120),
)
def test_one_thing_at_a_time_and_only_files_are_held_back(
    live: bool, frames: int, seconds: float | None, slowness: int, steps_s: list[float]
) -> None:
    pace, asked, last, now_s = Pace(frames, seconds), None, None, 0.0
    for step, frame_s in enumerate(steps_s):
        now_s += frame_s
        now = Moment(step, now_s)
        if is_due(now, last, pace, in_flight=asked is not None):
            assert asked is None
            asked = last = now
        waits = must_wait(now, asked, pace, live=live, tracking=step > 0, frame_s=frame_s)
        assert not (waits and live)
        if asked and (waits or (live and step - asked.step >= slowness)):
            asked = None
        if not live and seconds is None and asked:
            assert step - asked.step < frames
