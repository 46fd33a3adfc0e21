"""`clock://`: due times that nothing moves, and a picture that says its own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.av_io import VideoWriter
from stream.config import SourceConfig
from stream.errors import UsageError
from stream.frame import Frame
from stream.sources import open_source
from stream.sources.scheduled import ScheduledSource
from stream.synth.timecode import read_timecode

SMALL = "clock://cells?objects=3&width=160&height=120&fps=10&loop=4"


def clocked(query: str = "", clock: Any = None) -> ScheduledSource:
    config = SourceConfig(uri=SMALL + query)
    source = ScheduledSource(config, now_ns=clock) if clock else ScheduledSource(config)
    source.open()
    return source


def frame(source: Any, stop: Any) -> Frame:
    item = source.read(stop)
    assert isinstance(item, Frame)
    return item


def test_a_reader_that_is_slow_moves_no_due_time_and_loses_no_frame(
    clock: Any, waiting_stop: Any
) -> None:
    source, start_ns = clocked(clock=clock), clock.ns
    due = [start_ns + index * 100_000_000 for index in range(6)]
    got = []
    for wait_s in (0.0, 0.03, 0.35, 0.0, 0.0, 0.0):
        clock.advance(wait_s)
        got.append(frame(source, waiting_stop))
    assert [item.index for item in got] == list(range(6))
    assert [item.captured_ns for item in got] == due
    assert [item.stamps["intended"] for item in got] == due
    late_ms = [(item.stamps["captured"] - item.captured_ns) / 1e6 for item in got]
    # Read at 450 ms: frames 2 to 4 were due at 200, 300 and 400; the next one is on time.
    assert late_ms == pytest.approx([0, 0, 250, 150, 50, 0], abs=0.01)
    assert source.report() == {"latest_ms": pytest.approx(250, abs=0.01)}


def test_each_picture_says_when_it_was_due(clock: Any, waiting_stop: Any) -> None:
    source = clocked(clock=clock)
    for index in range(5):
        got = frame(source, waiting_stop)
        code = read_timecode(np.asarray(got.rgb))
        assert code is not None
        assert (code.number, code.time_us) == (index, got.captured_ns // 1000)


def test_the_loop_runs_back_and_forth(clock: Any, waiting_stop: Any) -> None:
    source = clocked("&code=0", clock)
    images = [frame(source, waiting_stop).rgb for _ in range(8)]
    for first, again in ((0, 6), (1, 5), (2, 4), (1, 7)):
        assert np.array_equal(images[first], images[again])
    assert not np.array_equal(images[0], images[3])


def test_without_a_schedule_it_gives_as_fast_as_it_is_read(clock: Any) -> None:
    source, stop = clocked("&live=0&frames=3", clock), threading.Event()
    assert not source.live
    times = []
    for _ in range(3):
        clock.advance(0.001)
        times.append(frame(source, stop).captured_ns)
    assert [b - a for a, b in itertools.pairwise(times)] == [1_000_000] * 2
    assert source.read(stop) is None


def test_a_stop_ends_the_waiting() -> None:
    source, stop = clocked("&fps=0.2"), threading.Event()
    frame(source, stop)
    threading.Timer(0.05, stop.set).start()
    assert source.read(stop) is None


def test_a_film_is_played_at_its_pace(tmp_path: Path, clock: Any, waiting_stop: Any) -> None:
    path = tmp_path / "film.mp4"
    writer = VideoWriter(path, (120, 160), 10.0)
    for index in range(3):
        writer.write(np.full((120, 160, 3), 60 * index, np.uint8), index / 10)
    writer.close()
    source = ScheduledSource(SourceConfig(uri=f"clock://{path}?fps=20"), now_ns=clock)
    source.open()
    start_ns, got = clock.ns, [frame(source, waiting_stop) for _ in range(3)]
    assert [item.captured_ns - start_ns for item in got] == [0, 50_000_000, 100_000_000]
    assert [round(float(item.rgb[60:, 60:].mean()), -1) for item in got] == [0, 60, 120]
    assert all(item.stamps["decoded"] >= item.stamps["captured"] for item in got)
    assert read_timecode(np.asarray(got[1].rgb)) is not None
    assert source.read(waiting_stop) is None
    source.close()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("clock://dogs", "accepted is clock://cells"),
        ("clock://cells?colour=red", "no such field 'colour'"),
        ("clock://cells?bits=16", "bits=16"),
        ("clock://cells?width=100", "too small for a time code"),
        ("clock://cells?loop=1", "loop=1"),
        ("clock:///film.mp4?objects=3", "accepted for a file are fps"),
    ],
)
def test_wrong_addresses_are_named(uri: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        open_source(SourceConfig(uri=uri))


def test_the_address_picks_it(read_all: Callable[..., list[Any]]) -> None:
    assert isinstance(open_source(SourceConfig(uri=SMALL)), ScheduledSource)
    assert [item.index for item in read_all(SMALL + "&live=0&frames=3")] == [0, 1, 2]
