from __future__ import annotations

import pytest

from stream.sources.clock import StreamClock, Timing

S = 1_000_000_000


def feed(clock: StreamClock, pairs: list[tuple[float, float]]) -> list[Timing]:
    """(pts_s, arrival_s) pairs through the clock."""
    return [clock.observe(pts_s, round(arrival_s * S)) for pts_s, arrival_s in pairs]


def steady(count: int, start: float = 0.0, at: float = 100.0) -> list[tuple[float, float]]:
    return [(start + k * 0.1, at + k * 0.1) for k in range(count)]


def test_steady_stream_is_never_late() -> None:
    seen = feed(StreamClock(1.0, 10.0), steady(50))
    assert max(timing.age_s for timing in seen) < 1e-3
    assert not any(t.stale or t.lost or t.new_clock for t in seen)


def test_jitter_shows_as_age_of_the_late_frame_only() -> None:
    clock = StreamClock(1.0, 10.0)
    feed(clock, steady(20))
    late, next_one = feed(clock, [(2.0, 102.08), (2.1, 102.1)])
    assert late.age_s == pytest.approx(0.08, abs=0.001)
    assert late.captured_ns == pytest.approx(102.0 * S, abs=1e6)
    assert next_one.age_s == pytest.approx(0, abs=1e-3)


def test_backlog_after_a_stall_is_stale_until_it_has_caught_up() -> None:
    clock = StreamClock(1.0, 10.0)
    feed(clock, steady(20))
    backlog = [(2.0 + k * 0.1, 105.0 + k * 0.005) for k in range(30)]
    seen = feed(clock, backlog)
    # pts 2.0 belongs to second 102: three seconds old, 0.095 s less at each frame.
    assert [timing.stale for timing in seen] == [k < 22 for k in range(30)]
    assert not any(timing.new_clock for timing in seen)
    assert sum(timing.lost for timing in seen) == 0


def test_lasting_delay_becomes_the_new_normal() -> None:
    clock = StreamClock(1.0, 10.0)
    feed(clock, steady(20))
    seen = feed(clock, [(2.0 + k * 0.1, 104.0 + k * 0.1) for k in range(60)])
    stale = [k for k, timing in enumerate(seen) if timing.stale]
    assert stale == list(range(31))
    assert seen[31].new_clock
    assert not any(timing.stale for timing in seen[31:])


def test_missing_times_are_lost_frames() -> None:
    clock = StreamClock(1.0, None)
    seen = feed(clock, [*steady(20), (2.0 + 0.3, 102.3), (2.4, 102.4)])
    assert [timing.lost for timing in seen[20:]] == [3, 0]


@pytest.mark.parametrize(("step_s", "lost"), [(0.14, 0), (0.16, 1), (0.2, 1), (0.3, 2)])
def test_lost_begins_at_one_and_a_half_intervals(step_s: float, lost: int) -> None:
    clock = StreamClock(1.0, 10.0)
    feed(clock, steady(20))
    timing = clock.observe(1.9 + step_s, round((101.9 + step_s) * S))
    assert timing.lost == lost


def test_interval_comes_from_the_stream_where_the_nominal_rate_is_wrong() -> None:
    clock = StreamClock(1.0, 100.0)
    seen = feed(clock, steady(40))
    assert all(timing.lost == 0 for timing in seen[6:])


@pytest.mark.parametrize("new_pts_s", [0.0, 500.0])
def test_times_that_jump_are_a_new_clock_and_nothing_lost(new_pts_s: float) -> None:
    clock = StreamClock(1.0, 10.0)
    feed(clock, steady(40, start=20.0))
    seen = feed(clock, steady(20, start=new_pts_s, at=104.0))
    assert seen[0].new_clock
    assert not any(t.stale or t.lost for t in seen)
    assert not any(t.new_clock for t in seen[1:])


def test_slow_drift_between_the_clocks_is_followed() -> None:
    clock = StreamClock(1.0, 10.0)
    seen = feed(clock, [(k * 0.1, 100 + k * 0.1 * (1 + 2e-4)) for k in range(100_000)])
    assert not any(timing.stale or timing.new_clock for timing in seen)
    assert seen[-1].age_s < 0.01
