"""Tiles: one grid from several looks, without seams, finer than one look gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engines.build import build_clip
from engines.clip_models import image_statistics
from engines.dense import dense_pass
from engines.images import to_input
from engines.registry import load_clip
from engines.views import View, shared, starts, stitch, view_frame

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def visual() -> Any:
    torch.manual_seed(0)
    return build_clip("micro").visual


def view(visual: Any, image: np.ndarray, tiles: int, side_px: int = 128) -> View:
    with torch.inference_mode():
        return view_frame(visual, image, side_px, "naclip", tiles, CPU)


def picture(height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_one_tile_is_one_pass(visual: Any) -> None:
    found = view(visual, picture(), 1)
    with torch.inference_mode():
        planes = to_input(picture(), (128, 128), *image_statistics(visual), CPU)
        expected = dense_pass(visual, planes)
    assert found.joint is not None
    assert torch.equal(found.vectors, F.normalize(expected.patches[0], dim=-1))
    assert torch.equal(found.whole, F.normalize(expected.whole[0], dim=-1))


def test_stitching_one_tile_changes_nothing() -> None:
    part = torch.randn(8, 8, 5)
    assert torch.equal(stitch([part], 1), part)


@pytest.mark.parametrize("tiles", [2, 3, 5])
@pytest.mark.parametrize("length", [2, 7, 8, 21])
def test_tiles_cut_from_one_grid_give_it_back(length: int, tiles: int) -> None:
    first = starts(length, tiles)
    total = first[-1] + length
    grid = torch.randn(total, total, 3)
    parts = [grid[y : y + length, x : x + length] for y in first for x in first]
    assert torch.allclose(stitch(parts, tiles), grid, atol=1e-6)


def test_one_tile_fades_into_the_next() -> None:
    length = 8
    width = shared(length)
    parts = [torch.full((length, length, 1), float(number)) for number in (0, 1, 0, 1)]
    row = stitch(parts, 2)[0, :, 0]
    assert width == 2
    assert torch.allclose(row[6:8], torch.tensor([1 / 3, 2 / 3]))
    assert row[:6].max() == 0.0
    assert row[8:].min() == 1.0


def test_tiles_see_what_lies_there(visual: Any) -> None:
    image = picture(256, 256)
    found = view(visual, image, 2, side_px=64)
    assert found.grid == (7, 7), "two tiles of four patches that share one"
    assert found.joint is None
    with torch.inference_mode():
        planes = to_input(image, (112, 112), *image_statistics(visual), CPU)
        alone = dense_pass(visual, planes[..., 48:, :64])
    # Beyond what is shared, the lower left of the grid is what the lower left tile sees.
    corner = F.normalize(alone.patches[0], dim=-1)[1:, :3]
    assert torch.allclose(found.vectors[4:, :3], corner, atol=1e-5)


def test_the_class_embedding_is_the_mean_of_the_tiles(visual: Any) -> None:
    image = picture(112, 112)
    with torch.inference_mode():
        planes = to_input(image, (112, 112), *image_statistics(visual), CPU)
        each = [dense_pass(visual, planes[..., y : y + 64, x : x + 64]).whole[0]
                for y in (0, 48) for x in (0, 48)]  # fmt: skip
    expected = F.normalize(F.normalize(torch.stack(each), dim=-1).mean(0), dim=0)
    whole = view(visual, image, 2, side_px=64).whole
    assert torch.allclose(whole, expected, atol=1e-5)
    assert float(whole.norm()) == pytest.approx(1.0, abs=1e-5)


def test_seams_do_not_show_in_a_constant_image() -> None:
    trained = load_clip("micro").model.visual
    dark = np.full((96, 96, 3), 30, dtype=np.uint8)
    found, alone = view(trained, dark, 2), view(trained, dark, 1)
    # Position codes make patches differ a little; lying in two tiles adds nothing.
    for axis in (0, 1):
        most = found.vectors.diff(dim=axis).norm(dim=-1).max()
        assert most <= 1.05 * alone.vectors.diff(dim=axis).norm(dim=-1).max()


def test_a_mask_gets_the_mean_of_its_patches(visual: Any) -> None:
    found = view(visual, picture(), 1, side_px=64)
    inside = torch.zeros(1, 4, 4)
    inside[0, 1, 1:3] = 0.5
    expected = F.normalize(found.vectors[1, 1] + found.vectors[1, 2], dim=0)
    assert torch.allclose(found.pooled(inside)[0], expected, atol=1e-6)


def test_a_size_that_cuts_patches_is_said(visual: Any) -> None:
    with pytest.raises(ValueError, match="CLIP size 100 px is no multiple of its patches of 16"):
        view(visual, picture(), 2, side_px=100)
