"""Ellipses in boxes and discs around places, as far as they lie in the frame."""

from __future__ import annotations

import math

import pytest

from engines.sketches import disc_at, ellipse_in

SIZE = (120, 160)


def test_an_ellipse_fills_its_box() -> None:
    place = ellipse_in((20.0, 30.0, 60.0, 50.0), SIZE)
    assert place is not None
    mask, box = place
    assert box == (20, 30, 60, 50)
    assert mask.shape == (20, 40)
    assert mask.sum() == pytest.approx(math.pi * 20 * 10, rel=0.02)
    assert not mask[0, 0]


def test_what_lies_beside_the_frame_is_left_out() -> None:
    place = ellipse_in((-20.0, -20.0, 20.0, 20.0), SIZE)
    assert place is not None
    assert place[1] == (0, 0, 20, 20)
    assert place[0][0, 0]
    assert not place[0][-1, -1]


@pytest.mark.parametrize(
    "box",
    [(200.0, 10.0, 220.0, 20.0), (10.0, 10.0, 10.0, 20.0), (20.0, 10.0, 10.0, 20.0),
     (10.1, 10.1, 10.3, 10.3)],
)  # fmt: skip
def test_where_no_pixel_is_there_is_nothing(box: tuple[float, float, float, float]) -> None:
    assert ellipse_in(box, SIZE) is None


@pytest.mark.parametrize("point", [(80.0, 60.0), (0.0, 0.0), (500.0, -3.0), (159.9, 119.9)])
@pytest.mark.parametrize("radius", [1.0, 8.0])
def test_a_disc_is_never_empty(point: tuple[float, float], radius: float) -> None:
    mask, (x0, y0, x1, y1) = disc_at(point, radius, SIZE)
    assert mask.any()
    assert 0 <= x0 < x1 <= 160
    assert 0 <= y0 < y1 <= 120
    assert mask.shape == (y1 - y0, x1 - x0)
