"""From samples to figures, by hand."""

from __future__ import annotations

import pytest

from stream import wire
from stream.bench.figures import ages_of, figures_of, is_detecting, series_of, ticks_of, warm
from stream.bench.samples import Sample, to_sample
from tests.bench.made import LATENCY_MS, MS, PERIOD, STEPS_MS, point, run, sample, warm_of


def test_steps_are_between_stamps_and_add_up_to_the_latency() -> None:
    made = sample(3)
    assert made.steps_ms() == {name: float(ms) for name, ms in STEPS_MS.items()}
    assert made.latency_ms == LATENCY_MS == 62
    assert (made.model_ms, made.waiting_ms) == (50, 2)


def test_a_capture_that_seems_to_be_before_the_due_time_is_no_step() -> None:
    made = Sample(0, 100 * MS, {"captured": 98 * MS, "read": 105 * MS, "delivered": 107 * MS})
    assert made.steps_ms() == {"read": 5.0, "delivered": 2.0}


def test_a_message_becomes_a_sample_with_its_detection() -> None:
    stamps = {"intended": 5, "read": 9, "detector.submitted": 1, "detector.taken": 2,
              "detector.answered": 3, "detector.heard": 4}  # fmt: skip
    message = wire.Message(1, "main", 7, 0.5, 6, 11, (4, 4), (), {"overrun": 2}, stamps)
    made = to_sample(message, 15)
    assert (made.frame, made.origin_ns, made.dropped) == (7, 5, {"overrun": 2})
    assert made.stamps == {
        "intended": 5,
        "captured": 6,
        "read": 9,
        "published": 11,
        "delivered": 15,
    }
    assert made.detection is not None
    assert (made.detection.submitted_ns, made.detection.heard_ns) == (1, 4)
    plain = to_sample(wire.Message(1, "m", 0, 0.0, 6, 11, (4, 4), (), {}, {"read": 9}), 15)
    assert (plain.origin_ns, plain.detection) == (6, None)


def test_figures_of_a_steady_run() -> None:
    figures = figures_of([warm_of(run(60))])
    assert (figures.due, figures.delivered, figures.dropped) == (60, 60, {})
    assert figures.fps == 10.0
    assert figures.explained == 1.0
    assert figures.series["latency"].percentiles["p50"] == 62
    assert figures.series["latency"].percentiles["p99"] is None
    assert figures.series["own"].mean == 12
    assert figures.series["idle"].mean == 10
    assert figures.series["interval"].mean == 100
    assert figures.series["interval"].std == 0
    # At each tick the newest result is that of the tick before; just before the next it is older.
    assert figures.series["age"].max == 100
    assert figures.series["peak_age"].max == 162
    assert list(figures.steps) == list(STEPS_MS)


def test_the_rate_counts_intervals_and_not_results() -> None:
    """Sixty results lie 59 periods apart."""
    assert figures_of([warm_of(run(60)), warm_of(run(60))]).fps == 10.0


def test_frames_with_a_detection_under_way_are_apart() -> None:
    """Asked in frame 7, heard in frame 8: both were tracked while it was under way."""
    made = warm_of(run(17))
    assert [len(series_of(made)[name]) for name in ("detecting", "quiet")] == [4, 13]
    spans = [(0, made.samples[2].stamps["taken"])]
    assert [is_detecting(s, spans) for s in made.samples[:4]] == [True, True, False, False]
    assert series_of(made)["detection"] == [82, 82]


def test_drops_cost_age_and_are_counted_but_never_given_a_latency() -> None:
    kept = [sample(n, dropped=0 if n < 5 else 3) for n in (0, 1, 2, 3, 4, 8, 9)]
    made = warm_of(run(samples=kept))
    figures = figures_of([made])
    assert (figures.due, figures.delivered, figures.dropped) == (10, 7, {"overrun": 3})
    assert figures.drop_share == pytest.approx(0.3)
    assert figures.series["latency"].count == 7
    # Due at 5, 6, 7 and 8 with nothing newer than frame 4.
    assert ages_of(made).tolist() == [100, 100, 100, 100, 100, 200, 300, 400, 100]


def test_ticks_go_on_to_the_last_delivery() -> None:
    made = warm_of(run(samples=[sample(0), sample(1), sample(2, slower_ms=240)]))
    start = made.samples[0].origin_ns
    assert [(tick - start) // PERIOD for tick in ticks_of(made)] == [0, 1, 2, 3, 4, 5]


def test_warm_up_is_left_out_and_counted() -> None:
    slow_start = [sample(n, slower_ms=300 if n < 12 else 0) for n in range(60)]
    made = warm(run(samples=slow_start))
    # Windows of ten: the second one still holds two slow ones, its median does not.
    assert (made.warm_up, made.settled, made.samples[0].frame) == (10, True, 10)
    assert made.cold_start_ms == 362
    restless = [sample(n, slower_ms=40.0 * n) for n in range(60)]
    unsettled = warm(run(samples=restless))
    assert (unsettled.warm_up, unsettled.settled, len(unsettled.samples)) == (0, False, 60)


def test_the_interval_is_over_repetitions() -> None:
    figures = point(spread_ms=1.0, runs=3).overall
    low, high = figures.intervals["latency"]
    assert low < 61 < 63 < high
    assert "latency" not in figures_of([warm_of(run(60))]).intervals


def test_no_samples_make_no_figures() -> None:
    figures = figures_of([warm_of(run(samples=[]))])
    assert (figures.due, figures.fps, figures.explained) == (0, None, None)
    assert figures.drop_share == 0.0
