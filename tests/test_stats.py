"""Figures with bounded memory; time is an argument."""

import pytest

from stream.stats import Age, Rate, Reservoir, Steps

MS = 1_000_000


def test_percentiles_are_exact_nearest_ranks_below_the_capacity():
    values = Reservoir()
    for value in reversed(range(1, 101)):
        values.add(float(value))
    assert values.percentiles() == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


def test_one_value_is_every_percentile():
    values = Reservoir()
    values.add(4.2)
    assert values.percentiles() == {"p50": 4.2, "p90": 4.2, "p99": 4.2, "max": 4.2}


def test_nothing_measured_is_none_and_not_zero():
    assert Reservoir().percentiles() == {"p50": None, "p90": None, "p99": None, "max": None}


def test_a_reservoir_stays_small_fair_and_keeps_the_maximum():
    values = Reservoir(capacity=500)
    for value in range(100_000):
        values.add(float(value))
    values.add(1e9)
    for value in range(1000):
        values.add(float(value))
    found = values.percentiles()
    assert len(values._values) == 500
    assert values.count == 101_001
    assert found["max"] == 1e9
    assert found["p50"] == pytest.approx(50_000, rel=0.15)


def test_age_grows_at_each_tick_until_the_next_result():
    age = Age(period_ns=10 * MS)
    age.published(now_ns=100 * MS, captured_ns=95 * MS)
    age.advance(131 * MS)
    age.published(now_ns=145 * MS, captured_ns=140 * MS)
    age.advance(150 * MS)
    # Ticks at 110, 120, 130, 140 see the first result, 150 the second.
    assert age.ages_ms.count == 5
    assert sorted(age.ages_ms._values) == [10.0, 15.0, 25.0, 35.0, 45.0]


def test_age_before_the_first_result_is_not_counted():
    age = Age(period_ns=10 * MS)
    age.advance(10_000 * MS)
    assert age.ages_ms.count == 0


def test_a_machine_that_slept_for_days_does_not_block_the_count():
    age = Age(period_ns=MS)
    age.published(0, 0)
    age.advance(3 * 24 * 3600 * 1000 * MS)
    assert age.ages_ms.count == Age._MOST_TICKS
    assert age.ages_ms.max == pytest.approx(3 * 24 * 3600 * 1000)


def test_rate_counts_intervals_and_falls_to_zero_in_a_pause():
    rate = Rate(window_s=2.0)
    assert rate.per_second(0) == 0.0
    for number in range(21):
        rate.add(number * 100 * MS)
    assert rate.per_second(2000 * MS) == pytest.approx(10.0)
    assert rate.per_second(4200 * MS) == 0.0


def test_steps_are_named_by_the_stamp_that_ends_them():
    steps = Steps()
    stamps = {"sent": 7 * MS, "captured": 1 * MS, "read": 3 * MS, "tracked": 17 * MS}
    steps.add_stamps(1 * MS, stamps)
    found = {name: values["p50"] for name, values in steps.percentiles().items()}
    assert found == {"read": 2.0, "sent": 4.0, "tracked": 10.0}


def test_step_names_cannot_grow_without_bound():
    steps = Steps()
    for number in range(1000):
        steps.add(f"step{number}", 1.0)
    assert len(steps.percentiles()) == 64


def test_stamps_of_another_frame_and_from_before_the_capture_are_no_steps():
    steps = Steps()
    stamps = {"intended": 2 * MS, "read": 3 * MS, "tracked": 9 * MS, "detector.heard": 5 * MS}
    steps.add_stamps(2 * MS, stamps)
    assert {name: found["p50"] for name, found in steps.percentiles().items()} == {
        "read": 1.0,
        "tracked": 6.0,
    }
