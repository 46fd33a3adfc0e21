"""Between the source's thread and the link: newest or every, and the place of events."""

import select
import threading

import numpy as np
import pytest

from stream.contracts import StreamEvent
from stream.frame import Frame
from stream.stages.base import credits_for
from stream.stages.slot import MOST_EVENTS, Intake


def frame(index):
    return Frame(index, np.zeros((2, 2, 3), np.uint8), index / 10, index)


def gap(seconds):
    return StreamEvent("gap", f"{seconds} s", gap_s=seconds)


@pytest.fixture
def intake(request):
    made = Intake(request.param)
    yield made
    made.close()


def rings(intake):
    return bool(select.select([intake], [], [], 0)[0])


@pytest.mark.parametrize("intake", ["latest"], indirect=True)
def test_latest_keeps_the_newest_and_counts_the_others(intake):
    for index in range(5):
        assert intake.put(frame(index))
    assert (intake.read, intake.overrun) == (5, 4)
    assert intake.take().frame.index == 4
    assert intake.take() is None
    assert intake.overrun == 4


@pytest.mark.parametrize("intake", ["latest"], indirect=True)
def test_events_before_a_replaced_frame_move_to_the_one_that_replaced_it(intake):
    size = StreamEvent("size", "4x4", (4, 4))
    intake.put_event(gap(1.0))
    intake.put(frame(0))
    intake.put_event(size)
    intake.put(frame(1))
    intake.put_event(gap(2.0))
    item = intake.take()
    assert item.events == (gap(1.0), size)
    assert intake.rest() == (gap(2.0),)


@pytest.mark.parametrize("intake", ["latest"], indirect=True)
def test_events_of_a_flapping_source_stay_few_and_no_gap_is_lost(intake):
    for _ in range(100):
        intake.put_event(gap(0.5))
    intake.put(frame(0))
    events = intake.take().events
    assert len(events) == MOST_EVENTS
    assert sum(event.gap_s for event in events) == 50.0


@pytest.mark.parametrize("intake", ["every"], indirect=True)
def test_every_makes_the_source_wait_and_loses_nothing(intake):
    def fill():
        for index in range(20):
            intake.put(frame(index))
        intake.finish()

    threading.Thread(target=fill, daemon=True).start()
    seen = []
    while not (intake.finished and intake.empty):
        select.select([intake], [], [], 1.0)
        while (item := intake.take()) is not None:
            seen.append(item.frame.index)
    assert seen == list(range(20))
    assert (intake.read, intake.overrun) == (20, 0)


@pytest.mark.parametrize("intake", ["every"], indirect=True)
def test_a_source_that_waits_is_let_go_at_the_end_and_its_frame_does_not_count(intake):
    accepted = []

    def fill():
        accepted.extend(intake.put(frame(index)) for index in range(3))

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    while intake.read < 2:
        select.select([], [], [], 0.005)
    intake.finish()
    thread.join(2.0)
    assert accepted == [True, True, False]
    assert intake.read == 2
    assert intake.discard() == 2


@pytest.mark.parametrize("intake", ["latest", "every"], indirect=True)
def test_it_rings_when_there_is_something_to_do(intake):
    assert not rings(intake)
    intake.put(frame(0))
    assert rings(intake)
    intake.take()
    assert intake.take() is None
    assert not rings(intake)
    intake.finish()
    assert rings(intake)


@pytest.mark.parametrize("slots", range(4, 20))
@pytest.mark.parametrize("policy", ["latest", "every"])
def test_credits_leave_a_slot_for_the_next_frame(policy, slots):
    tracker, publisher = credits_for(policy, slots)
    assert tracker >= 1
    assert publisher >= 1
    assert tracker + publisher <= slots - 1
    if policy == "latest":
        assert tracker == 1
