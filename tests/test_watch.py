import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import zmq
from rich.console import Console

from stream import wire
from stream.errors import SourceError, UsageError
from stream.frame import Frame, Masks, TrackedObject
from stream.sinks.publisher import PublisherSink
from stream.watch import is_same_host, watch
from stream.watch_views import Arrival, LiveTable, Tally


def masks(index: int, dropped: int = 0) -> Masks:
    pixels = np.ones((2, 3), np.bool_)
    items = tuple(
        TrackedObject(number, label, 0.75, state, pixels, (number, 0, number + 3, 2), 6)  # type: ignore[arg-type]
        for number, label, state in [
            (2, "red car", "confirmed"),
            (1, "cell", "confirmed"),
            (3, "cell", "hidden"),
        ]
    )
    return Masks(index, (8, 12), index / 10, 1_000_000, items, {}, {"overrun": dropped})


def message(index: int, dropped: int = 0) -> wire.Message:
    return wire.to_message(masks(index, dropped), "main")


@contextlib.contextmanager
def publishing(stream: str = "main", frames: int | None = None) -> Iterator[str]:
    """Publishes numbered frames until the end of the block, or `frames` of them and goes away."""
    sink = PublisherSink("tcp://127.0.0.1:*", stream)
    sink.open()
    endpoint = sink.endpoint
    done = threading.Event()

    def run() -> None:
        index = 0
        while not done.wait(0.02) and index != frames:
            result = masks(index)
            image = np.zeros((8, 12, 3), np.uint8)
            sink.write(Frame(index, image, 0.0, result.captured_ns), result)
            index += 1
        sink.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield endpoint
    finally:
        done.set()
        thread.join()


def test_one_line_a_frame():
    out = io.StringIO()
    with publishing() as endpoint:
        assert watch(endpoint, frames=3, out=out, clock_ns=lambda: 13_500_000) == 0
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    number = int(lines[0].split()[1])
    assert lines[0] == (
        f"frame {number}  latency 12.5 ms  objects 2  [cell 1, red car 1]  ids [1 2]  missed 0"
    )


def test_json_lines_hold_the_masks():
    out = io.StringIO()
    with publishing() as endpoint:
        watch(endpoint, stream="main", frames=2, as_json=True, out=out)
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert second["frame"] == first["frame"] + 1
    assert first["objects"][0]["rle"]["size"] == [8, 12]
    assert isinstance(first["objects"][0]["rle"]["counts"], str)


def test_the_end_of_the_publisher_ends_the_watch(capsys):
    out = io.StringIO()
    with publishing(frames=30) as endpoint:
        assert watch(endpoint, timeout_s=0.7, out=out) == 0
    received = len(out.getvalue().splitlines())
    notes = capsys.readouterr().err.splitlines()
    assert notes == [
        f"{endpoint}: the publisher is gone; waiting 0.7 s for it",
        f"{endpoint}: the stream ended after {received} frames",
    ]


def test_nobody_publishes():
    with pytest.raises(SourceError) as caught:
        watch("tcp://127.0.0.1:9", timeout_s=0.1)
    assert str(caught.value) == (
        "tcp://127.0.0.1:9: nothing received within 0.1 s, nobody publishes there; start "
        "`maskcast run` or check its publish.endpoint"
    )
    assert caught.value.exit_status == 1


def test_another_stream_does_not_count():
    with publishing("main-2") as endpoint, pytest.raises(SourceError) as caught:
        watch(endpoint, stream="main", timeout_s=0.3)
    assert "a publisher is there, but sends no frame of stream 'main'" in str(caught.value)


@pytest.mark.parametrize("endpoint", ["5560", "udp://127.0.0.1:5560", "tcp://127.0.0.1", "tcp://"])
def test_endpoints_that_are_none(endpoint):
    with pytest.raises(UsageError) as caught:
        watch(endpoint)
    assert str(caught.value).startswith(f"endpoint {endpoint!r} is not accepted")
    assert str(caught.value).endswith("accepted are tcp://HOST:PORT and ipc://PATH")


def test_something_else_is_published():
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.02):
            socket.send_multipart([b"maskcast/main", b"hello"])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with pytest.raises(SourceError, match="not a maskcast message"):
            watch(f"tcp://127.0.0.1:{port}", timeout_s=5)
    finally:
        done.set()
        thread.join()
        context.destroy(linger=0)


@pytest.mark.parametrize("end", ["ctrl-c", "closed pipe"])
def test_ctrl_c_and_a_closed_pipe_end_quietly(end):
    code = "import sys; from stream.watch import watch; sys.exit(watch(sys.argv[1]))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with publishing() as endpoint:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, endpoint],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"frame ")
        if end == "ctrl-c":
            process.send_signal(2)
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        assert (process.wait(10), errors) == (0, b"")


def test_missed_frames_are_those_that_were_published():
    tally = Tally()
    tally.add(message(10, dropped=2))
    tally.add(message(11, dropped=2))
    assert tally.missed == 0
    tally.add(message(15, dropped=4))  # 12 to 14: two were dropped by the run, one did not arrive
    assert tally.missed == 1
    tally.add(message(0))  # a new run
    tally.add(message(3))
    assert (tally.missed, tally.received) == (3, 5)


@pytest.mark.parametrize(
    ("endpoint", "same"),
    [
        ("ipc:///tmp/x", True),
        ("tcp://localhost:1", True),
        ("tcp://127.0.0.1:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://10.0.0.2:1", False),
        ("tcp://lab-pc:1", False),
    ],
)
def test_latency_needs_one_clock(endpoint, same):
    assert is_same_host(endpoint) is same


def test_the_table_of_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=6)
    table = LiveTable(console, "tcp://x", lambda: 1.0)
    table.show(Arrival(message(7, dropped=3), 12.0, 1, 2))
    table.note("the publisher is gone")
    with console.capture() as captured:
        console.print(table.render())
    table.close()
    text = captured.get()
    for part in ("main", "cell 1  red car 1", "frame 7", "p50 12.0 p90 12.0 ms", "dropped 3"):
        assert part in text
    assert "missed 2" in text
    assert "and 1 more" in text
    assert "the publisher is gone" in text
