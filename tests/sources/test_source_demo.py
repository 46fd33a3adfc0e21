from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stream.config import Normalize, SourceConfig
from stream.contracts import StreamEvent
from stream.errors import UsageError
from stream.frame import Frame
from stream.sources.demo import DemoSource

SMALL = "demo://cells?objects=3&width=96&height=64&fps=10&diameter_px=16"


def demo(query: str = "", clock: Any = None, **settings: Any) -> DemoSource:
    config = SourceConfig(uri=SMALL + query, **settings)
    source = DemoSource(config, now_ns=clock) if clock else DemoSource(config)
    source.open()
    return source


def frame(source: DemoSource, stop: threading.Event) -> Frame:
    item = source.read(stop)
    assert isinstance(item, Frame)
    return item


def test_as_a_file_it_gives_every_frame_with_its_truth() -> None:
    source = demo("&live=0&frames=5")
    assert (source.live, source.fps, source.frames_total) == (False, 10.0, 5)
    stop = threading.Event()
    for index in range(5):
        got = frame(source, stop)
        assert (got.index, got.pts_s, got.image.shape) == (index, index / 10, (64, 96, 3))
        assert source.truth is not None
        assert source.truth.index == index
        assert np.array_equal(source.truth.image, got.image)
        assert source.truth.ids.max() > 0
    assert source.read(stop) is None
    assert source.report() == {"true_objects_ever": source.ever}
    assert source.ever >= 3
    source.close()


def test_equal_addresses_give_equal_films(read_all: Callable[..., list[Any]]) -> None:
    first, second = (read_all(SMALL + "&live=0&frames=3&seed=4") for _ in range(2))
    other = read_all(SMALL + "&live=0&frames=3&seed=5")
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0].image, other[0].image)


def test_live_frames_come_on_an_absolute_schedule(clock: Any, waiting_stop: Any) -> None:
    source, start_ns = demo(clock=clock), clock.ns
    for index in range(4):
        clock.advance(0.03)
        got = frame(source, waiting_stop)
        due_ns = start_ns + 30_000_000 + index * 100_000_000
        assert got.captured_ns == due_ns == clock.ns
        assert got.lost_before == 0
    assert waiting_stop.waits == pytest.approx([0.07, 0.07, 0.07])
    assert source.counters == {"overrun": 0}


def test_live_frames_that_come_too_late_are_skipped_and_the_film_goes_on(
    clock: Any, waiting_stop: Any
) -> None:
    source = demo(clock=clock)
    frame(source, waiting_stop)
    clock.advance(0.55)
    late = frame(source, waiting_stop)
    assert (late.index, late.lost_before, late.pts_s) == (1, 4, 0.5)
    assert source.counters == {"overrun": 4}
    assert source.truth is not None
    assert source.truth.index == 5
    assert clock.ns - late.captured_ns == pytest.approx(50_000_000, abs=2)


def test_live_film_ends_on_time_even_when_nobody_read_it(clock: Any, waiting_stop: Any) -> None:
    source = demo("&seconds=2", clock=clock)
    assert source.frames_total == 20
    frame(source, waiting_stop)
    clock.advance(60)
    assert source.read(waiting_stop) is None
    assert source.counters == {"overrun": 19}


def test_stop_ends_the_wait_for_the_next_frame() -> None:
    source, stop = demo("&fps=0.1"), threading.Event()
    frame(source, stop)
    threading.Timer(0.05, stop.set).start()
    assert source.read(stop) is None


def test_sixteen_bit_keeps_counts_and_has_a_picture() -> None:
    source = demo("&live=0&bits=16&frames=1", normalize=Normalize(lock_frames=1))
    got = frame(source, threading.Event())
    assert got.image.dtype == np.uint16
    assert got.rgb.shape == (64, 96, 3)
    assert got.levels is not None
    assert got.levels[0] < got.levels[1]
    assert got.rgb.max() > 150


def test_seconds_and_frames_bound_together(read_all: Callable[..., list[Any]]) -> None:
    assert len(read_all(SMALL + "&live=0&seconds=0.3&frames=7")) == 3
    assert not any(isinstance(item, StreamEvent) for item in read_all(SMALL + "&live=0&frames=2"))


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (
            "demo://cells?cells=3",
            "no such field 'cells'; accepted are objects, width, height, fps, seed, look, bits, "
            "diameter_px, speed_px_s, divide_per_min, enter_leave, noise, live, frames, seconds",
        ),
        ("demo://cells?objects=many", "objects='many' is not accepted; a whole number is needed"),
        ("demo://cells?fps=fast", "fps='fast' is not accepted; a number is needed"),
        ("demo://cells?live=maybe", "live='maybe' is not accepted; 0 or 1 is needed"),
        ("demo://cells?frames=0", "frames=0 is not accepted; it must be more than 0"),
        ("demo://cells?seconds=nan", "seconds=nan is not accepted; it must be more than 0"),
        ("demo://cells?look=nice", "look='nice' is not one of fluo, phase, bright, mixed"),
        ("demo://birds", "no such film; accepted is demo://cells"),
    ],
)
def test_wrong_addresses(uri: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        DemoSource(SourceConfig(uri=uri))
    assert str(caught.value) == f"{uri}: {reason}"
