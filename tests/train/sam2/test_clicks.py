"""Prompts drawn from truth, and corrections that lie where something was got wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from train.sam2.clicks import (
    any_in,
    correction,
    deepest_in,
    first_boxes,
    first_clicks,
    jittered_box,
)

planes = arrays(np.bool_, (9, 11))
generators = st.none() | st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(planes, planes, planes, generators)
def test_corrections_lie_in_the_error(
    truth: np.ndarray, found: np.ndarray, valid: np.ndarray, rng: np.random.Generator | None
) -> None:
    x, y, label = correction(truth, found, valid, rng)
    if not valid.any():
        assert label == -1
        return
    at = int(y), int(x)
    assert valid[at]
    # On the object where missed, off it where too much was found.
    assert label == int(truth[at])
    if ((truth != found) & valid).any():
        assert truth[at] != found[at]
    elif (truth & valid).any():
        assert label == 1


@given(planes.filter(np.any))
def test_the_deepest_place_is_in_the_region_and_farthest_from_its_edge(region: np.ndarray) -> None:
    x, y = deepest_in(region)
    assert region[int(y), int(x)]
    ys, xs = np.nonzero(~np.pad(region, 1))
    rows, columns = np.nonzero(np.pad(region, 1))
    depth = np.hypot(rows[:, None] - ys, columns[:, None] - xs).min(axis=1)
    here = np.hypot(y + 0.5 - ys, x + 0.5 - xs).min()
    assert here == pytest.approx(depth.max())


def test_the_larger_error_is_corrected_first() -> None:
    truth = np.zeros((20, 20), np.bool_)
    truth[2:5, 2:5] = True
    found = np.zeros_like(truth)
    found[8:18, 8:18] = True
    x, y, label = correction(truth, found, np.ones_like(truth), None)
    assert label == 0
    assert found[int(y), int(x)]
    assert correction(truth, found & False, np.ones_like(truth), None)[:2] == (3.5, 3.5)


def test_random_clicks_and_boxes_are_on_the_object() -> None:
    truth = np.zeros((30, 40), np.bool_)
    truth[5:12, 30:40] = True
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = any_in(truth, rng)
        assert truth[int(y), int(x)]
        x0, y0, x1, y1 = jittered_box(truth, rng)
        assert 0 <= x0 < x1 <= 40
        assert 0 <= y0 < y1 <= 30
    assert jittered_box(truth, None) == (30.0, 5.0, 40.0, 12.0)


def test_points_are_collected_and_drawn() -> None:
    points = first_boxes([(8.0, 8.0, 40.0, 40.0)]).plus([(12.0, 12.0, 0)])
    assert points.labels.tolist() == [[2, 3, 0]]
    assert points.coords.tolist() == [[[8.0, 8.0], [40.0, 40.0], [12.0, 12.0]]]
    drawn = points.drawn(64)
    assert drawn.shape == (1, 1, 16, 16)
    assert drawn[0, 0, 6, 6] > 1
    assert drawn[0, 0, 2, 2] < -2

    click = first_clicks([(20.0, 20.0, 1)]).drawn(64)
    assert int(click.flatten().argmax()) in (4 * 16 + 4, 5 * 16 + 5, 4 * 16 + 5, 5 * 16 + 4)
