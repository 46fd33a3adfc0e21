"""Candidates drawn again: brought to the grid of results without looking at the whole frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engines.edges import Placed, whole
from engines.redrawn import _resized


def blob(seed: int, size: tuple[int, int]) -> Placed:
    rng = np.random.default_rng(seed)
    height, width = (int(rng.integers(1, side + 1)) for side in size)
    y, x = (
        int(rng.integers(0, side - own + 1))
        for side, own in zip(size, (height, width), strict=True)
    )
    mask = rng.random((height, width)) < rng.uniform(0.2, 1.0)
    mask[0, 0] = True
    return mask, (x, y, x + width, y + height)


@pytest.mark.parametrize("size", [(480, 640), (100, 37), (256, 256), (61, 300)])
@pytest.mark.parametrize("side", [64, 256])
def test_a_cell_is_covered_where_half_of_its_pixels_are(size: tuple[int, int], side: int) -> None:
    for seed in range(6):
        place = blob(seed, size)
        every = whole(place, size)[None, None].double()
        cover = F.interpolate(every, (side, side), mode="area")[0, 0]
        wanted = (cover >= min(0.5, float(cover.max())) - 1e-9) & (cover > 0)
        assert torch.equal(_resized(place, size, side), wanted)


def test_a_tiny_mask_has_the_cell_that_it_fills_most() -> None:
    place = np.ones((3, 1), bool), (33, 13, 34, 16)
    found = _resized(place, (480, 640), 64)
    assert found.nonzero().tolist() == [[1, 3]]
