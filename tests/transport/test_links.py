"""Links over real sockets: credits, bounds, the private place, the control link."""

import os
import stat
import threading
import time
from pathlib import Path

import pytest
import zmq

from stream.errors import UsageError
from stream.transport import Control, Halted, Hub, Inbox, Outbox, Place
from stream.transport.headers import (
    End,
    Facts,
    Halt,
    JobHeader,
    LocalRef,
    QuestionHeader,
    Start,
    Status,
    Stop,
)
from stream.transport.place import HIGH_WATER_MARK, LINGER_MS, sweep

KINDS = ["ipc", "inproc", "tcp"]


@pytest.fixture(params=KINDS)
def place(request):
    made = Place.make(request.param)
    yield made
    made.remove()


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def receive(inbox):
    assert inbox.socket.poll(2000)
    return inbox.receive()


def header(number):
    return JobHeader(number, 0, LocalRef(number), QuestionHeader(("cell",), (), ()))


def test_a_producer_sends_as_much_as_was_granted_and_no_more(place, context):
    socket, endpoint = place.bind(context, "frames")
    outbox, inbox = Outbox(socket), Inbox(place.connect(context, endpoint))
    assert outbox.credit == 0
    with pytest.raises(ValueError, match="no credit for JobHeader"):
        outbox.send(header(0))
    inbox.grant(2)
    assert socket.poll(2000)
    assert outbox.credit == 2
    outbox.send(header(0))
    outbox.send(header(1))
    with pytest.raises(ValueError, match="no credit"):
        outbox.send(header(2))
    outbox.send(End())
    assert [receive(inbox) for _ in range(3)] == [header(0), header(1), End()]
    assert inbox.receive() is None


def test_credits_add_up(place, context):
    socket, endpoint = place.bind(context, "frames")
    outbox, inbox = Outbox(socket), Inbox(place.connect(context, endpoint))
    for _ in range(3):
        inbox.grant()
    seen = 0
    while seen < 3:
        assert socket.poll(2000)
        seen = outbox.credit
    assert seen == 3


def test_only_credits_come_back(place, context):
    socket, endpoint = place.bind(context, "frames")
    outbox, other = Outbox(socket), place.connect(context, endpoint)
    other.send(b"\x80")
    assert socket.poll(2000)
    with pytest.raises(ValueError, match="not a data header"):
        outbox.credit  # noqa: B018


def test_every_socket_is_bounded(place, context):
    socket, _ = place.bind(context, "frames")
    assert socket.getsockopt(zmq.LINGER) == LINGER_MS
    assert socket.getsockopt(zmq.SNDHWM) == socket.getsockopt(zmq.RCVHWM) == HIGH_WATER_MARK


def test_sending_to_nobody_does_not_block(place, context):
    socket, _ = place.bind(context, "frames")
    Outbox(socket).send(End())


def test_sockets_are_in_a_directory_for_the_user_alone():
    place = Place.make("ipc")
    mode = Path(place.directory).stat().st_mode
    assert stat.S_IMODE(mode) == 0o700
    place.remove()
    assert not Path(place.directory).exists()


def test_tcp_listens_on_loopback_and_needs_the_runs_keys(context):
    place = Place.make("tcp")
    socket, endpoint = place.bind(context, "frames")
    assert endpoint.startswith("tcp://127.0.0.1:")
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.LINGER, 0)
    stranger.connect(endpoint)
    stranger.send(b"\xc1")
    assert not socket.poll(300)
    place.remove()


def test_a_path_too_long_for_sockets_is_one_clear_error(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(UsageError, match=r"is too long a path for a socket .* set TMPDIR"):
        Place.make("ipc")
    assert list(long.iterdir()) == []


def test_directories_of_killed_runs_are_swept_and_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead, alive, foreign = (tmp_path / f"maskcast-{pid}-a" for pid in (1, 2, 3))
    for folder in (dead, alive, foreign):
        folder.mkdir()
    os.close(Place("ipc", str(dead)).hold())
    held = Place("ipc", str(alive)).hold()
    sweep()
    assert not dead.exists()
    assert alive.exists()
    assert foreign.exists()
    os.close(held)
    sweep()
    assert not alive.exists()


@pytest.fixture
def line(place, context):
    hub = Hub(context, place)
    control = Control(context, place, "reader")
    yield hub, control
    control.close()
    hub.close()


def greet(hub, control):
    control.send(Status("reader", {"read": 1}))
    assert hub.receive(2.0) == [Status("reader", {"read": 1})]


def test_orders_arrive_at_the_stage_they_are_for(line):
    hub, control = line
    greet(hub, control)
    hub.send("tracker", Halt(1.0))
    hub.send("reader", Facts({"fps": 10.0}))
    hub.send("reader", Start({"frames": "x"}))
    hub.send("reader", Stop())
    while not control.stopping:
        control.wait(2.0)
    assert control.facts == {"fps": 10.0}
    assert control.start == Start({"frames": "x"})
    assert not control.halted


def test_a_halt_ends_every_wait_and_can_only_be_shortened(line):
    hub, control = line
    greet(hub, control)
    hub.send("reader", Halt(30.0))
    with pytest.raises(Halted):
        control.wait(2.0)
    far = control.halted_until
    hub.send("reader", Halt(0.5))
    control.wait(2.0, raise_halted=False)
    near = control.halted_until
    assert near < far
    control.halt(9.0)
    assert control.halted_until == near


def test_a_wait_tells_whether_others_can_be_read(line, context, place):
    _, control = line
    socket, endpoint = place.bind(context, "frames")
    peer = place.connect(context, endpoint)
    assert not control.wait(0.0, socket)
    peer.send(b"x")
    assert control.wait(2.0, socket)


def test_a_halt_from_another_thread_is_seen(line):
    _, control = line
    threading.Timer(0.05, control.halt, (1.0,)).start()
    deadline = time.monotonic() + 5.0
    while not control.halted and time.monotonic() < deadline:
        control.wait(0.02, raise_halted=False)
    with pytest.raises(Halted):
        control.wait(0.0)
