"""Which masks in tight boxes are one object."""

from __future__ import annotations

import numpy as np
import pytest

from engines.edges import Placed
from engines.overlaps import different, iou, same, shared_px


def square(x: int, y: int, side: int) -> Placed:
    return np.ones((side, side), bool), (x, y, x + side, y + side)


def test_pixels_are_shared_where_both_are() -> None:
    one, other = square(0, 0, 10), square(5, 5, 10)
    assert shared_px(one, other) == 25
    one[0][5:, 5:] = False
    assert shared_px(one, other) == 0
    assert shared_px(square(0, 0, 4), square(4, 0, 4)) == 0


def test_iou_is_of_the_masks_and_not_of_their_boxes() -> None:
    assert iou(square(0, 0, 10), square(0, 0, 10)) == 1.0
    assert iou(square(0, 0, 10), square(5, 0, 10)) == pytest.approx(50 / 150)
    assert iou(square(0, 0, 10), square(50, 0, 10)) == 0.0


def test_of_two_of_one_object_the_better_stays() -> None:
    placed = [square(0, 0, 10), square(1, 0, 10), square(40, 0, 10)]
    assert different(placed, [0.3, 0.8, 0.5], 0.5, 0.9) == [1, 2]
    assert different(placed, [0.8, 0.3, 0.9], 0.5, 0.9) == [2, 0]
    assert different(placed, [0.8, 0.3, 0.9], 0.9, 0.95) == [2, 0, 1]


def test_what_lies_inside_another_one_is_the_same() -> None:
    placed = [square(0, 0, 20), square(2, 2, 5)]
    assert different(placed, [0.9, 0.8], 0.5, 0.8) == [0]
    assert different(placed, [0.8, 0.9], 0.5, 0.8) == [1]
    placed[0][0][2, 2] = False
    assert different(placed, [0.8, 0.9], 0.5, 1.0) == [1, 0]
    assert different([], [], 0.5, 0.8) == []


def test_masks_that_share_nothing_are_two() -> None:
    assert not same(square(0, 0, 10), square(10, 0, 10), 0.0, 0.0)
    assert same(square(0, 0, 10), square(9, 0, 10), 0.05, 0.9)
