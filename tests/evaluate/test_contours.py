"""Contour accuracy, on cases worked by hand and against a dilation by a disk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from stream.evaluate import contour_accuracy
from stream.evaluate.contours import contour, tolerance_px

SIZE = (60, 80)  # diagonal 100 px: the tolerance is one pixel


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


EMPTY, FULL, SQUARE = box(0, 0, 0, 0), box(0, 0, 60, 80), box(20, 20, 12, 12)


@pytest.mark.parametrize(
    ("truth", "result", "expected"),
    [
        (SQUARE, SQUARE, 1.0),
        (SQUARE, box(21, 20, 12, 12), 1.0),  # one pixel off is within the tolerance
        (SQUARE, box(40, 60, 12, 12), 0.0),
        (EMPTY, EMPTY, 1.0),
        (SQUARE, EMPTY, 0.0),
        (EMPTY, SQUARE, 0.0),
        (FULL, FULL, 1.0),
        (FULL, EMPTY, 1.0),  # the frame's border is no contour: neither has one
        (SQUARE, FULL, 0.0),
    ],
)
def test_contour_accuracy(truth: np.ndarray, result: np.ndarray, expected: float) -> None:
    assert contour_accuracy(truth, result) == pytest.approx(expected)


def test_precision_and_recall_are_weighed_alike() -> None:
    """Halves of the frame: the result has the true contour and one more that is as long."""
    truth, result = box(0, 0, 60, 20), box(0, 0, 60, 20) | box(0, 50, 60, 30)
    assert contour_accuracy(truth, result) == pytest.approx(2 * 0.5 * 1.0 / 1.5)
    assert contour_accuracy(result, truth) == pytest.approx(2 * 0.5 * 1.0 / 1.5)


def test_contour_lies_left_of_and_above_a_change() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:3] = True
    expected = [[0, 0], [0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1], [2, 2]]
    assert contour(mask).tolist() == expected


@pytest.mark.parametrize(("shape", "px"), [((480, 854), 8), ((60, 80), 1), ((690, 628), 8)])
def test_tolerance_is_rounded_up(shape: tuple[int, int], px: int) -> None:
    assert tolerance_px(shape) == px


def dilated_accuracy(truth: np.ndarray, result: np.ndarray, radius_px: int) -> float:
    """F as the paper has it: each contour held against the other's dilation by a disk."""
    ys, xs = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disk = ys**2 + xs**2 <= radius_px**2
    maps = []
    for mask in (truth, result):
        drawn = np.zeros(mask.shape, bool)
        drawn[tuple(contour(mask).T)] = True
        maps.append(drawn)
    near = [ndimage.binary_dilation(drawn, disk) for drawn in maps]
    precision = (maps[1] & near[0]).sum() / maps[1].sum()
    recall = (maps[0] & near[1]).sum() / maps[0].sum()
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.005, 0.12))
def test_nearest_points_equal_a_dilation_by_a_disk(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    truth, result = (
        ndimage.gaussian_filter(rng.standard_normal((40, 50)), 4) > 0.03 for _ in range(2)
    )
    if not len(contour(truth)) or not len(contour(result)):
        return
    expected = dilated_accuracy(truth, result, tolerance_px(truth.shape, tolerance))
    assert contour_accuracy(truth, result, tolerance) == pytest.approx(expected)
