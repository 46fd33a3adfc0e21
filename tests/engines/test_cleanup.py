from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import sam2.utils.misc
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sam2.modeling.sam2_base import SAM2Base

from engines.cleanup import apply, drop_specks, exclusive, fill_holes
from engines.settings import Cleanup

ABSENT = -1024.0
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8))
# Few different values, so that there are ties, and zeros, which are background.
LOGITS = SHAPES.flatmap(
    lambda shape: hnp.arrays(
        np.float32, shape, elements=st.sampled_from([-12.0, -3.0, 0.0, 2.0, 2.5, 4.0])
    )
)


def piece_areas(masks: np.ndarray) -> np.ndarray:
    """Area of each pixel's piece, grown from every pixel anew: slow and plain."""
    areas = np.zeros(masks.shape, dtype=np.int64)
    for index, y, x in np.argwhere(masks):
        grown = {(y, x)}
        while True:
            more = {
                (b, a)
                for v, u in grown
                for b, a in product(range(v - 1, v + 2), range(u - 1, u + 2))
                if 0 <= b < masks.shape[1] and 0 <= a < masks.shape[2] and masks[index, b, a]
            }
            if more == grown:
                break
            grown = more
        areas[index, y, x] = len(grown)
    return areas


def picture(*rows: str) -> torch.Tensor:
    """(1, h, w) logits: 3 for `#`, -3 for anything else."""
    return torch.tensor([[[3.0 if c == "#" else -3.0 for c in row] for row in rows]])


def drawn(logits: torch.Tensor) -> list[str]:
    return ["".join("#" if v > 0 else "." for v in row) for row in logits[0].tolist()]


@settings(max_examples=50, deadline=None)
@given(logits=LOGITS, most=st.integers(1, 12))
def test_holes_are_filled_as_the_official_predictor_fills_them(
    logits: np.ndarray, most: int
) -> None:
    assume((logits > 0).any((1, 2)).all())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sam2.utils.misc,
            "get_connected_components",
            lambda mask: 2 * (torch.from_numpy(piece_areas(mask[:, 0].numpy()))[:, None],),
        )
        given_ = torch.from_numpy(logits)
        expected = sam2.utils.misc.fill_holes_in_mask_scores(given_[:, None], most)[:, 0]
    assert torch.equal(fill_holes(given_, most), expected)


@settings(max_examples=50, deadline=None)
@given(logits=LOGITS, most=st.integers(1, 12))
def test_specks_are_the_small_pieces_of_the_mask(logits: np.ndarray, most: int) -> None:
    areas = piece_areas(logits > 0)
    expected = np.where((areas > 0) & (areas <= most), np.float32(-0.1), logits)
    np.testing.assert_array_equal(drop_specks(torch.from_numpy(logits), most), expected)


@settings(max_examples=50, deadline=None)
@given(logits=LOGITS)
def test_exclusive_masks_are_the_official_ones(logits: np.ndarray) -> None:
    given_ = torch.from_numpy(logits)
    out = exclusive(given_)
    expected = SAM2Base._apply_non_overlapping_constraints(None, given_[:, None])[:, 0]
    assert torch.equal(out, expected)
    assert ((out > 0).sum(0) <= 1).all()
    # The official function says nothing of ties: the first of the surest has the pixel.
    owner = (logits == logits.max(0)).argmax(0)
    np.testing.assert_array_equal((out > 0).any(0), (logits > 0).any(0))
    for index in range(len(logits)):
        np.testing.assert_array_equal(out[index] > 0, (owner == index) & (logits[index] > 0))


def test_a_hole_at_the_border_counts_and_corners_connect() -> None:
    holed = picture(
        "#.####",
        "##.###",
        "#####.",
        "##.###",
        "######",
    )  # fmt: skip
    assert drawn(fill_holes(holed, 1)) == ["#.####", "##.###", "######", "######", "######"]
    assert drawn(fill_holes(holed, 2)) == ["######"] * 5
    assert fill_holes(holed, 2)[0, 0, 1].item() == pytest.approx(0.1)


@pytest.mark.parametrize("clean", [fill_holes, drop_specks])
def test_absent_objects_and_clean_masks_pass_untouched(clean: object) -> None:
    stack = torch.cat([torch.full((1, 4, 5), ABSENT), picture("....#", "#####", "#####", "#####")])
    assert torch.equal(clean(stack, 3), stack)
    absent = stack[:1]
    assert torch.equal(clean(absent, 1000), absent), "smaller than the largest hole"
    assert torch.equal(clean(stack, 0), stack)
    assert clean(stack[:0], 3).shape == (0, 4, 5)


def test_an_object_in_the_hole_of_another_keeps_its_pixels() -> None:
    ring = picture("#####", "#...#", "#...#", "#####")
    inner = picture(".....", ".##..", ".....", ".....")
    out = apply(torch.cat([ring, inner]), Cleanup(non_overlap=True, fill_holes_px=6))
    assert drawn(out[:1]) == ["#####", "#..##", "#####", "#####"]
    assert drawn(out[1:]) == drawn(inner)


def test_stray_pieces_take_no_pixels_and_pieces_that_were_cut_off_go() -> None:
    rules = Cleanup(non_overlap=True, one_piece=True)
    stray = picture("###....", "###....", "......#") * 3
    under = picture(".......", "....###", "....###")
    out = apply(torch.cat([stray, under]), rules)
    assert drawn(out[:1]) == ["###....", "###....", "......."]
    assert drawn(out[1:]) == drawn(under)
    bar = picture("....", "####", "....")
    post = picture("..#.", "..#.", "..#.") * 3
    out = apply(torch.cat([bar, post]), rules)
    assert drawn(out[:1]) == ["....", "##..", "...."]
    assert drawn(out[1:]) == drawn(post)


@settings(max_examples=50, deadline=None)
@given(logits=LOGITS, holes=st.integers(0, 4), specks=st.integers(0, 4), one=st.booleans())
def test_what_is_promised_holds_in_the_end(
    logits: np.ndarray, holes: int, specks: int, one: bool
) -> None:
    given_ = torch.from_numpy(logits)
    kept = given_.clone()
    out = apply(given_, Cleanup(True, one, fill_holes_px=holes, drop_specks_px=specks))
    assert torch.equal(given_, kept), "the input is not written to"
    masks = (out > 0).numpy()
    assert (masks.sum(0) <= 1).all()
    areas = piece_areas(masks)
    assert not ((areas > 0) & (areas <= specks)).any()
    if one:
        assert (areas.max((1, 2)) == masks.sum((1, 2))).all()


def test_nothing_asked_is_nothing_done() -> None:
    logits = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert apply(logits, Cleanup()) is logits
