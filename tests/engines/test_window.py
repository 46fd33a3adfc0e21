"""Where objects are looked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.settings import Calm, Cleanup, Limits, Savings, Window
from engines.window import Crop, choose_crop, leaves, mask_boxes


@given(
    grid=st.sampled_from([4, 16, 32, 64]),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    size=st.floats(0.01, 1),
    margin=st.floats(0.1, 2),
)
def test_a_crop_lies_in_the_frame_and_holds_the_object(
    grid: int, x: float, y: float, size: float, margin: float
) -> None:
    x0, y0 = x * grid * (1 - size), y * grid * (1 - size)
    box = (x0, y0, x0 + size * grid, y0 + size * grid)
    crop = choose_crop(box, grid, margin, 6)
    if crop is None:
        assert max(size * grid * (1 + 2 * margin), size * grid + 2, 6) > 0.6 * grid
        return
    assert crop.row >= 0 <= crop.column
    assert max(crop.row, crop.column) + crop.side <= grid
    assert crop.side >= 6
    assert crop.row <= box[1] + 0.5
    assert crop.row + crop.side >= box[3] - 0.5
    assert crop.column <= box[0] + 0.5
    assert crop.column + crop.side >= box[2] - 0.5


def test_tokens_and_views_are_the_same_part_of_the_frame() -> None:
    crop = Crop(2, 5, 4, 16)
    level = torch.arange(16 * 16).view(1, 1, 16, 16)
    assert crop.take(level).flatten().tolist() == crop.tokens().tolist()
    fine = torch.zeros(64, 64)
    crop.take(fine)[:] = 1
    assert mask_boxes(fine.numpy()[None] > 0) == [(20, 8, 36, 24)]


def test_a_wider_crop_holds_the_crop_at_the_edges_too() -> None:
    for row, column in ((0, 0), (12, 12), (5, 12)):
        crop = Crop(row, column, 4, 16)
        wide = crop.widened(2)
        assert wide.side == 8
        level = torch.arange(16 * 16).view(16, 16)
        inner = crop.inside(wide)
        assert torch.equal(inner.take(wide.take(level)), crop.take(level))


def test_a_mask_at_the_edge_of_its_window_leaves_it_unless_it_is_the_frames_edge() -> None:
    crop = Crop(0, 4, 8, 16)
    assert not leaves((20, 0, 40, 20), crop, 4), "the frame ends above"
    assert leaves((16, 8, 40, 20), crop, 4)
    assert leaves((20, 8, 40, 32), crop, 4)
    assert leaves((20, 8, 48, 20), crop, 4)
    assert mask_boxes(np.zeros((1, 8, 8), dtype=bool)) == [None]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Limits(recent_frames=0), "recent_frames is 0; at least 1 is needed"),
        (lambda: Limits(conditioning=0), "conditioning is 0; at least 1"),
        (lambda: Window(margin=0), "window margin is 0; it must be above 0"),
        (lambda: Calm(every=1), "calm every is 1; at least 2"),
        (lambda: Savings(pool=3), "pool is 3; accepted are 1 and 2"),
        (lambda: Savings(pool=2, window=Window()), "loses small objects; choose one"),
        (lambda: Cleanup(smooth=1.0), "smooth is 1.0; accepted is 0 up to"),
    ],
)
def test_settings_say_what_is_accepted(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
