"""The live reader on scripted connections: no network, no waiting."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stream.av_io import MediaError, Picture
from stream.config import Reconnect, SourceConfig
from stream.contracts import StreamEvent
from stream.errors import SourceError, UsageError
from stream.frame import Frame
from stream.sources.live import LiveSource

URI = "rtsp://joe:secret@camera/film"
NAME = "rtsp://***@camera/film"


@dataclass
class Script:
    """A connection that does what is written: (seconds to pass, pts or fault)."""

    clock: Any
    steps: list[tuple[float, Any]]
    size: tuple[int, int] = (8, 10)
    fps: float | None = 10.0
    duration_s: float | None = None
    before_keyframe: int = 0
    closed: int = 0

    def read(self) -> list[Picture] | None:
        if not self.steps:
            return None
        wait_s, step = self.steps.pop(0)
        self.clock.advance(wait_s)
        if isinstance(step, MediaError):
            raise step
        if step == "gated":
            self.before_keyframe += 1
            return []
        size = self.size
        if isinstance(step, tuple):
            step, size = step
        return [Picture(np.zeros((*size, 3), np.uint8), step)]

    def close(self) -> None:
        self.closed += 1


@dataclass
class Network:
    """Answers each attempt to connect with the next script or error."""

    clock: Any
    answers: list[Any]
    attempts_ns: list[int] = field(default_factory=list)

    def __call__(self, *_: Any) -> Any:
        self.attempts_ns.append(self.clock.ns)
        answer = self.answers.pop(0)
        if isinstance(answer, MediaError):
            raise answer
        return answer


def steady(count: int, start: float = 0.0) -> list[tuple[float, Any]]:
    return [(0.1, start + 0.1 * k) for k in range(count)]


@pytest.fixture
def play(clock: Any, waiting_stop: Any) -> Callable[..., tuple[list[Any], LiveSource, Network]]:
    """Run scripts to the end of the last one, which stops the source."""

    def run(*answers: Any, **settings: Any) -> tuple[list[Any], LiveSource, Network]:
        network = Network(clock, list(answers))
        config = SourceConfig(uri=URI, **settings)
        source = LiveSource(config, connect=network, now_ns=clock, rng=random.Random(0))
        source.open()
        got = []
        while True:
            last = not network.answers and source._input is not None
            if last and not source._input.steps and not source._queue:  # type: ignore[union-attr]
                waiting_stop.set()
            item = source.read(waiting_stop)
            if item is None:
                return got, source, network
            got.append(item)

    return run


def frames_of(items: list[Any]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def events_of(items: list[Any]) -> list[StreamEvent]:
    return [item for item in items if isinstance(item, StreamEvent)]


def test_a_steady_stream(play: Any, clock: Any) -> None:
    items, source, _ = play(Script(clock, steady(5, start=40.0)))
    assert [frame.index for frame in items] == [0, 1, 2, 3, 4]
    assert [frame.pts_s for frame in items] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    assert (source.live, source.fps, source.frames_total) == (True, 10.0, None)
    assert set(source.counters.values()) == {0}
    assert items[0].source == source.name == NAME


def test_lost_connection_is_opened_again_and_announced(play: Any, clock: Any) -> None:
    items, source, network = play(
        Script(clock, steady(5)),
        MediaError("refused"),
        MediaError("timeout"),
        Script(clock, steady(5)),
        reconnect=Reconnect(first_delay_s=1, factor=2, jitter=0),
    )
    assert source.counters["reconnects"] == 1
    (event,) = events_of(items)
    # Delays of 1, 2 and 4 s, and 0.1 s to the first frame.
    assert event.kind == "gap"
    assert event.gap_s == pytest.approx(7.1)
    assert event.detail == "the connection ended; connected again after 7.1 s"
    assert items.index(event) == 5
    frames = frames_of(items)
    assert [frame.index for frame in frames] == list(range(10))
    assert frames[5].pts_s == pytest.approx(0.4 + 7.1, abs=1e-3)
    assert np.diff(network.attempts_ns) / 1e9 == pytest.approx([1.5, 2.0, 4.0])


def test_an_opened_connection_without_frames_does_not_shorten_the_delays(
    play: Any, clock: Any
) -> None:
    silent = MediaError("timeout")
    _, source, network = play(
        Script(clock, steady(1)),
        Script(clock, [(0, silent)]),
        Script(clock, [(0, silent)]),
        Script(clock, steady(2)),
        reconnect=Reconnect(first_delay_s=1, factor=2, jitter=0),
    )
    assert np.diff(network.attempts_ns) / 1e9 == pytest.approx([1.1, 2, 4])
    assert source.counters["reconnects"] == 1


def test_broken_connections_are_closed(play: Any, clock: Any) -> None:
    first, second = Script(clock, steady(2)), Script(clock, steady(2))
    _, source, _ = play(first, second)
    source.close()
    source.close()
    assert (first.closed, second.closed) == (1, 1)


def test_stale_frames_after_a_stall_are_thrown_away(play: Any, clock: Any) -> None:
    backlog = [(3.0, 2.0), *[(0.0, 2.0 + 0.1 * k) for k in range(1, 29)]]
    items, source, _ = play(Script(clock, [*steady(20), *backlog, *steady(5, start=4.9)]))
    frames, (event,) = frames_of(items), events_of(items)
    assert source.counters["stale"] == 19
    assert source.counters["lost"] == 0
    assert event.detail == "no usable frame for 2.0 s"
    assert items[items.index(event) + 1].lost_before == 19
    assert len(frames) == 20 + 29 - 19 + 5


def test_missing_times_are_counted_on_the_frame_after_them(play: Any, clock: Any) -> None:
    items, source, _ = play(Script(clock, [*steady(10), (0.4, 1.3), (0.1, 1.4)]))
    assert [frame.lost_before for frame in items[9:]] == [0, 3, 0]
    assert source.counters["lost"] == 3


def test_damage_and_packets_before_the_keyframe_are_counted(play: Any, clock: Any) -> None:
    damaged = MediaError("damaged", "bad slice")
    steps = [(0, "gated"), (0, "gated"), *steady(3), (0, damaged), (0.1, 0.3)]
    items, source, _ = play(Script(clock, list(steps)), Script(clock, [(0, "gated"), *steady(2)]))
    assert len(frames_of(items)) == 6
    assert source.counters["corrupt"] == 1
    assert source.counters["before_keyframe"] == 3


def test_size_change_comes_before_its_first_frame(play: Any, clock: Any) -> None:
    items, _, _ = play(Script(clock, [*steady(2), (0.1, (0.2, (16, 20)))]))
    assert [type(item).__name__ for item in items] == ["Frame", "Frame", "StreamEvent", "Frame"]
    assert (items[2].kind, items[2].size) == ("size", (16, 20))


def test_a_new_size_after_a_reconnect_comes_after_the_gap(play: Any, clock: Any) -> None:
    items, _, _ = play(Script(clock, steady(2)), Script(clock, steady(1), size=(16, 20)))
    assert [item.kind for item in events_of(items)] == ["gap", "size"]


def test_streams_without_times_use_the_arrival(play: Any, clock: Any) -> None:
    items, source, _ = play(Script(clock, [(0.1, None), (0.3, None), (0.2, None)]))
    assert [frame.pts_s for frame in items] == pytest.approx([0, 0.3, 0.5])
    assert source.counters["stale"] == source.counters["lost"] == 0


def test_gives_up_after_the_configured_time(play: Any, clock: Any) -> None:
    with pytest.raises(SourceError) as caught:
        play(
            Script(clock, steady(1)),
            *[MediaError("refused", "Connection refused")] * 50,
            reconnect=Reconnect(first_delay_s=1, factor=1, jitter=0, give_up_after_s=5),
        )
    assert str(caught.value) == (
        f"{NAME}: gone (the connection ended) and not back within 5 s (last attempt: Connection "
        "refused); check the camera, or raise source.reconnect.give_up_after_s (0 waits for ever)"
    )


def test_an_rtsp_film_with_an_end_ends(clock: Any, waiting_stop: Any) -> None:
    network = Network(clock, [Script(clock, steady(10), duration_s=1.0)])
    source = LiveSource(SourceConfig(uri=URI), connect=network, now_ns=clock)
    source.open()
    count = 0
    while source.read(waiting_stop) is not None:
        count += 1
    assert count == 10
    assert not waiting_stop.is_set()


def test_a_film_over_http_is_refused(clock: Any) -> None:
    script = Script(clock, steady(10), duration_s=61.0)
    source = LiveSource(
        SourceConfig(uri="http://host/film.mp4"), connect=Network(clock, [script]), now_ns=clock
    )
    with pytest.raises(UsageError) as caught:
        source.open()
    assert str(caught.value) == (
        "http://host/film.mp4: is a film of 61 s, not a live stream; download it and give its path"
    )
    assert script.closed == 1


def test_stop_ends_the_wait_between_attempts(clock: Any) -> None:
    network = Network(clock, [Script(clock, []), *[MediaError("refused")] * 3])
    config = SourceConfig(uri=URI, reconnect=Reconnect(first_delay_s=600, max_delay_s=600))
    source = LiveSource(config, connect=network, now_ns=clock)
    source.open()
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()
    assert source.read(stop) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("unauthorized", "the server refused the user or the password (401); check both; in a "
         "password write @ : / # as %40 %3A %2F %23"),
        ("forbidden", "this user may not see the stream (403); check its rights"),
        ("not_found", "the server has no stream at this path (404); check the part after the host"),
        ("refused", "nothing answers at this host and port (connection refused); check the "
         "address and that the camera or server runs"),
        ("timeout", "no answer within 5 s; check the address and the network, or raise "
         "source.open_timeout_s"),
        ("not_media", "what answers there sends no video that can be decoded"),
        ("no_video", "the stream holds no video"),
    ],
)  # fmt: skip
def test_first_failure_is_one_clear_line_without_credentials(
    clock: Any, kind: Any, text: str
) -> None:
    network = Network(clock, [MediaError(kind)])
    source = LiveSource(SourceConfig(uri=URI), connect=network, now_ns=clock)
    with pytest.raises(SourceError) as caught:
        source.open()
    assert str(caught.value) == f"{NAME}: {text}"
    assert caught.value.__cause__ is None


def test_missing_user_is_asked_for(clock: Any) -> None:
    network = Network(clock, [MediaError("unauthorized")])
    source = LiveSource(SourceConfig(uri="rtsp://camera/film"), connect=network, now_ns=clock)
    with pytest.raises(SourceError, match="asks for a user and password"):
        source.open()


def test_delays_start_over_once_frames_came_back(play: Any, clock: Any) -> None:
    refused = MediaError("refused")
    _, source, network = play(
        Script(clock, steady(1)),
        refused,
        refused,
        Script(clock, steady(1)),
        Script(clock, steady(1)),
        reconnect=Reconnect(first_delay_s=1, factor=2, jitter=0),
    )
    assert np.diff(network.attempts_ns) / 1e9 == pytest.approx([1.1, 2, 4, 1.1])
    assert source.counters["reconnects"] == 2


def test_it_says_that_it_is_away_until_a_frame_comes(clock: Any) -> None:
    scripts = [Script(clock, steady(1)), MediaError("refused"), Script(clock, steady(1))]
    said: list[bool] = []

    def connect(address: Any, config: SourceConfig) -> Any:
        said.append(source.reconnecting)
        found = scripts.pop(0)
        if isinstance(found, MediaError):
            raise found
        return found

    backoff = Reconnect(first_delay_s=0.001, jitter=0)
    source = LiveSource(SourceConfig(uri=URI, reconnect=backoff), connect=connect, now_ns=clock)
    source.open()
    stop = threading.Event()
    assert isinstance(source.read(stop), Frame)
    assert not source.reconnecting
    assert isinstance(source.read(stop), StreamEvent)
    assert not source.reconnecting
    assert said == [False, True, True]
