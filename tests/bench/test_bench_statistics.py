"""Cases worked by hand: percentiles, age, warm-up, drops, noise."""

from __future__ import annotations

import numpy as np
import pytest

from stream.bench.statistics import (
    ages_at_ticks,
    difference,
    distribution,
    drops,
    interval,
    needed,
    overlaps,
    percentile,
    settled_after,
    widening,
    window_for,
)

MS = 1_000_000


def test_percentiles_are_of_nearest_rank() -> None:
    values = list(range(1, 1001))
    assert percentile(values, 50) == 500
    assert percentile(values[::-1], 90) == 900
    assert percentile(values, 99) == 990


@pytest.mark.parametrize(("percent", "least"), [(50, 20), (90, 100), (99, 1000), (99.9, 10_000)])
def test_a_percentile_with_fewer_than_ten_in_its_tail_is_refused(
    percent: float, least: int
) -> None:
    assert needed(percent) == least
    assert percentile([1.0] * least, percent) == 1.0
    assert percentile([1.0] * (least - 1), percent) is None


def test_a_distribution_says_why_it_refuses() -> None:
    found = distribution([float(n) for n in range(100)])
    assert (found.count, found.mean, found.max) == (100, 49.5, 99.0)
    assert found.std == pytest.approx(29.0115, abs=1e-4)
    assert found.percentiles == {"p50": 49.0, "p90": 89.0, "p99": None, "p99.9": None}
    assert found.refused["p99"] == "100 samples; 1000 are needed for 10 in the tail"
    assert "p90" not in found.refused
    assert found.to_dict()["p99.9"] is None


def test_no_samples_say_nothing() -> None:
    found = distribution([])
    assert (found.count, found.mean, found.std, found.max) == (0, None, None, None)
    assert set(found.percentiles.values()) == {None}


def test_age_grows_while_nothing_comes() -> None:
    """Frames due at 0, 10, ... ms; those of 0 and 10 come 5 ms later, then that of 40 at 55 ms."""
    ticks = [n * 10 * MS for n in range(7)]
    ages = ages_at_ticks(ticks, [5 * MS, 15 * MS, 55 * MS], [0, 10 * MS, 40 * MS])
    # At 0 nothing was there; at 10 the frame of 0; from 20 to 50 that of 10; at 60 that of 40.
    assert ages.tolist() == [10, 10, 20, 30, 40, 20]


def test_a_result_that_comes_out_of_order_makes_nothing_older() -> None:
    ages = ages_at_ticks([30 * MS], [10 * MS, 20 * MS], [8 * MS, 4 * MS])
    assert ages.tolist() == [22]


def test_a_result_at_the_very_tick_is_there() -> None:
    assert ages_at_ticks([10 * MS], [10 * MS], [3 * MS]).tolist() == [7]


def test_warm_up_ends_where_three_windows_agree() -> None:
    slow_start = [100.0] * 4 + [50.0] * 4 + [41.0] * 4 + [40.0] * 4 + [43.9] * 4
    assert settled_after(slow_start, window=4) == 8
    assert settled_after([40.0] * 12, window=4) == 0
    rising = [10.0 * 1.2**n for n in range(12)]
    assert settled_after(rising, window=2) is None
    assert settled_after([40.0] * 11, window=4) is None


def test_windows_grow_with_the_run() -> None:
    assert [window_for(n) for n in (5, 300, 1200, 90_000)] == [10, 20, 80, 100]


def test_drops_add_up_to_what_is_missing() -> None:
    assert drops({"overrun": 3}, {"overrun": 10}, 7) == {"overrun": 7}
    # Counted one message early: the frame after the last one does not belong to the span.
    assert drops({}, {"overrun": 8}, 7) == {"overrun": 7}
    assert drops({}, {"overrun": 4, "shutdown": 1}, 8) == {
        "overrun": 4, "shutdown": 1, "undelivered": 3,
    }  # fmt: skip
    assert drops({"overrun": 2}, {"overrun": 2}, 0) == {}


def test_spans_that_only_touch_do_not_overlap() -> None:
    assert overlaps([(10, 20)], 15, 30)
    assert overlaps([(10, 20)], 5, 40)
    assert not overlaps([(10, 20), (50, 60)], 20, 50)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """The plain bootstrap of five holds it 84 times in a hundred; this one about 95."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        low, high = interval(rng.normal(100, 5, 5).tolist()) or (0, 0)
        held += low <= 100 <= high
    assert 0.92 <= held / 300 <= 1.0


def test_equal_runs_differ_by_nothing_and_a_shift_is_seen() -> None:
    rng = np.random.default_rng(8)
    false = seen = 0
    for _ in range(200):
        before, after = rng.normal(100, 3, (2, 5)).tolist()
        _, low, high = difference(before, after) or (0, 0, 0)
        false += low > 0 or high < 0
        change, low, _ = difference(before, [value + 20 for value in after]) or (0, 0, 0)
        assert change == pytest.approx(np.mean(after) + 20 - np.mean(before))
        seen += low > 0
    assert false / 200 <= 0.02
    assert seen == 200


def test_one_repetition_has_no_noise_to_tell_from() -> None:
    assert interval([3.0]) is None
    assert difference([1.0], [2.0, 3.0]) is None


def test_few_repetitions_are_widened_most() -> None:
    assert widening(2, 0.95) > widening(3, 0.95) > widening(5, 0.95) > widening(50, 0.95) > 1.0
    assert widening(5, 0.99) > widening(5, 0.95)
    assert widening(3, 0.95) == pytest.approx(4.3027 / 1.95996 * (3 / 2) ** 0.5, abs=1e-3)
