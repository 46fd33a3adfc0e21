"""Frames that are received and prepared beside the work on the one before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from stream.frame import Frame
from stream.stages.ahead import Ahead, Arrival, Pace
from stream.transport import Inbox, Outbox, Place
from stream.transport.headers import DataHeader, End, FrameHeader, LocalRef

WAIT_S = 5.0


def header(index: int) -> FrameHeader:
    return FrameHeader(index, 0.0, 0, "", 0, None, {}, (), {}, LocalRef(index))


def opened(found: DataHeader) -> Arrival:
    if not isinstance(found, FrameHeader):
        return Arrival(found)
    return Arrival(found, Frame(found.index, np.zeros((2, 2, 3), np.uint8), 0.0, 0))


class Link:
    """A producer, and the thread ahead of its consumer."""

    def __init__(self) -> None:
        self.context, place = zmq.Context(), Place("inproc", "ahead-test")
        socket, endpoint = place.bind(self.context, "frames")
        self.outbox = Outbox(socket)
        self.inbox = Inbox(place.connect(self.context, endpoint))
        self.inbox.grant()
        self.now_ns = 0
        self.prepare = opened
        self.ahead: Ahead | None = None

    def start(self) -> Ahead:
        self.ahead = Ahead(self.inbox, lambda found: self.prepare(found), lambda: self.now_ns)
        return self.ahead

    def send(self, found: DataHeader) -> None:
        assert isinstance(found, End) or self.credit() >= 1
        self.outbox.send(found)

    def credit(self, within_s: float = WAIT_S) -> int:
        end = time.monotonic() + within_s
        while self.outbox.credit < 1 and time.monotonic() < end:
            time.sleep(0.002)
        return self.outbox.credit

    def close(self) -> None:
        if self.ahead is not None:
            self.ahead.close()
        self.outbox.close()
        self.inbox.close()
        self.context.term()


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.close()


def taken(ahead: Ahead) -> Arrival:
    poller = zmq.Poller()
    poller.register(ahead, zmq.POLLIN)
    assert poller.poll(WAIT_S * 1000), "nothing came"
    arrival = ahead.take()
    assert arrival is not None
    return arrival


def test_one_frame_comes_a_call_and_the_bell_is_quiet_between(link: Link) -> None:
    ahead = link.start()
    for index in range(3):
        link.send(header(index))
        assert taken(ahead).frame.index == index
        assert ahead.take() is None
        assert link.outbox.credit == 0, "a frame was asked for that nobody had called for"
        ahead.call(0)
    link.send(End())
    assert isinstance(taken(ahead).header, End)


def test_a_frame_is_asked_for_when_it_is_due_or_when_there_is_nothing_else_to_do(
    link: Link,
) -> None:
    ahead = link.start()
    link.send(header(0))
    taken(ahead)
    ahead.call(60_000_000_000)
    assert link.credit(within_s=0.05) == 0
    ahead.hurry()
    assert link.credit() == 1


def test_the_next_frame_is_prepared_while_the_one_before_is_worked_on(link: Link) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(found: DataHeader) -> Arrival:
        begun.set()
        assert go_on.wait(WAIT_S)
        return opened(found)

    ahead = link.start()
    link.send(header(0))
    taken(ahead)
    link.prepare, link.now_ns = slow, 7
    ahead.call(0)
    link.send(header(1))
    assert begun.wait(WAIT_S)
    assert ahead.busy_since_ns == 7
    assert ahead.take() is None
    go_on.set()
    assert taken(ahead).frame.index == 1
    assert ahead.busy_since_ns is None


def test_what_goes_wrong_ahead_comes_with_its_frame(link: Link) -> None:
    def broken(found: DataHeader) -> Arrival:
        raise RuntimeError("tensor has no shape")

    link.prepare = broken
    ahead = link.start()
    link.send(header(0))
    arrival = taken(ahead)
    assert str(arrival.error) == "tensor has no shape"
    assert isinstance(arrival.header, FrameHeader)


def test_what_was_not_taken_is_given_back_at_the_end(link: Link) -> None:
    ahead = link.start()
    link.send(header(0))
    poller = zmq.Poller()
    poller.register(ahead, zmq.POLLIN)
    assert poller.poll(WAIT_S * 1000)
    left = ahead.close()
    link.ahead = None
    assert [item.header.index for item in left if isinstance(item.header, FrameHeader)] == [0]


def test_a_stage_that_keeps_up_takes_frames_as_they_come() -> None:
    pace = Pace(period_ns=33)
    pace.turn(30)
    pace.ahead(8)
    assert pace.due_ns(1000) == 1000


def test_a_stage_that_does_not_keep_up_takes_them_just_in_time() -> None:
    pace = Pace(period_ns=33)
    pace.turn(100)
    pace.ahead(8)
    assert pace.due_ns(1000) == 1000 + 100 - 10
    pace.ahead(8 + 500)  # now it takes longer to prepare a frame than to work on it
    assert pace.due_ns(1000) == 1000
