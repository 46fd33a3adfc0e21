"""One-to-one pairs: F1, panoptic quality and counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from stream.evaluate.pairs import PairTally, best_pairs, frame_quality, partners
from stream.evaluate.regions import Overlaps


def seen(rows: list[list[float]], found: int | None = None) -> Overlaps:
    iou = np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else found or 0)
    if rows and found is not None:
        iou = iou.reshape(len(rows), found)
    return Overlaps(tuple(range(1, len(iou) + 1)), tuple(range(1, iou.shape[1] + 1)), iou)


def tally(*frames: Overlaps) -> PairTally:
    out = PairTally()
    for frame in frames:
        out.take(frame)
    return out


def test_two_pairs_are_made_where_the_best_alone_would_leave_one() -> None:
    """The highest IoU is not taken: it would leave an object without a partner."""
    assert best_pairs(np.array([[0.9, 0.6], [0.7, 0.0]]), 0.5) == [(0, 1), (1, 0)]


def test_three_poor_pairs_are_more_than_two_good_ones() -> None:
    iou = np.array([[0.5, 0.99, 0.0], [0.0, 0.5, 0.99], [0.0, 0.0, 0.5]])
    assert best_pairs(iou, 0.5) == [(0, 0), (1, 1), (2, 2)]
    assert partners(iou) == [(0, 1), (1, 2)]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_no_matching_has_more_pairs(true: int, found: int, seed: int) -> None:
    iou = np.round(np.random.default_rng(seed).random((true, found)), 2)
    most = linear_sum_assignment((iou >= 0.5).astype(float), maximize=True)
    assert len(best_pairs(iou, 0.5)) == int((iou >= 0.5)[most].sum())


def test_f1_counts_pairs_at_each_threshold() -> None:
    result = tally(seen([[0.55, 0.0, 0.0], [0.0, 0.92, 0.0]])).result()
    assert result.f1(0.5) == pytest.approx(2 * 2 / 5)
    assert result.f1(0.6) == pytest.approx(2 * 1 / 5)
    assert result.f1(0.95) == 0.0
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == 1.0


def test_a_threshold_is_reached_exactly() -> None:
    assert tally(seen([[0.75]])).result().f1(0.75) == 1.0


def test_one_object_split_in_two_is_one_pair_and_one_invention() -> None:
    assert tally(seen([[0.6, 0.4]])).result().f1() == pytest.approx(2 / 3)


def test_two_objects_merged_are_one_pair_at_most() -> None:
    assert tally(seen([[0.5], [0.5]])).result().f1() == pytest.approx(2 / 3)


def test_empty_frames() -> None:
    assert tally(seen([])).result().f1() == 1.0
    assert tally(seen([], found=2)).result().f1() == 0.0
    assert tally(seen([[]], found=0)).result().f1() == 0.0
    assert tally(seen([])).result().precision is None


def test_count_errors_cancel_with_sign_and_not_without() -> None:
    result = tally(seen([[0.9, 0.0]]), seen([[0.9], [0.0]])).result()
    assert result.count_error == 0.0
    assert result.count_error_abs == 1.0


def test_panoptic_quality_is_iou_over_the_mean_count() -> None:
    assert frame_quality(seen([[0.8, 0.0], [0.0, 0.4]])) == pytest.approx(0.8 / 2)
    assert frame_quality(seen([])) == 1.0
    assert frame_quality(seen([], found=1)) == 0.0
