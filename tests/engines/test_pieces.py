from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engines import pieces
from engines.pieces import areas, labels, one_piece, small

MASKS = hnp.arrays(
    bool, st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)), elements=st.booleans()
)
WAYS = pytest.mark.parametrize("way", [pieces._by_scan, pieces._by_hooking], ids=["scan", "hook"])
Way = Callable[[torch.Tensor], torch.Tensor]


def flooded(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Pieces of one mask in reading order, by flood fill."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        todo, piece = [min(left)], []
        left.remove(todo[0])
        while todo:
            y, x = todo.pop()
            piece.append((y, x))
            near = {(y + dy, x + dx) for dy, dx in product((-1, 0, 1), repeat=2)} & left
            left -= near
            todo += near
        found.append(piece)
    return found


def painted(masks: np.ndarray, value: Callable[[int, int], int]) -> np.ndarray:
    """`value(number, area)` in each piece of each mask."""
    out = np.zeros(masks.shape, dtype=np.int64)
    for mask, plane in zip(masks, out, strict=True):
        for number, piece in enumerate(flooded(mask), start=1):
            plane[tuple(np.array(piece).T)] = value(number, len(piece))
    return out


def two_pieces() -> torch.Tensor:
    logits = torch.full((1, 8, 10), -2.0)
    logits[0, 1:5, 1:4] = 3.0
    logits[0, 6:8, 7:9] = 5.0
    return logits


def snake(side: int) -> torch.Tensor:
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[0, ::2] = True
    mask[0, 1::4, -1] = mask[0, 3::4, 0] = True
    return mask


@WAYS
@settings(max_examples=60, deadline=None)
@given(masks=MASKS)
def test_labels_are_those_of_a_flood_fill(way: Way, masks: np.ndarray) -> None:
    expected = painted(masks, lambda number, area: number)
    if not len(masks):
        assert labels(torch.from_numpy(masks)).shape == masks.shape
        return
    np.testing.assert_array_equal(way(torch.from_numpy(masks)).numpy(), expected)


@pytest.mark.parametrize("share", [0.3, 0.4, 0.6])
def test_both_ways_agree_on_large_masks_with_long_winding_pieces(share: float) -> None:
    masks = torch.rand(4, 64, 96, generator=torch.Generator().manual_seed(0)) < share
    assert torch.equal(pieces._by_scan(masks), pieces._by_hooking(masks))


def test_hooking_takes_few_passes_where_spreading_would_take_thousands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes, pool = [], F.max_pool2d
    monkeypatch.setattr(F, "max_pool2d", lambda *args: passes.append(1) or pool(*args))
    mask = snake(127)
    assert torch.equal(pieces._by_hooking(mask), mask.long())
    assert len(passes) <= 20


@settings(max_examples=60, deadline=None)
@given(masks=MASKS, most=st.integers(0, 8))
def test_areas_and_small_pieces_are_those_of_a_flood_fill(masks: np.ndarray, most: int) -> None:
    given_ = torch.from_numpy(masks)
    expected = painted(masks, lambda number, area: area)
    np.testing.assert_array_equal(areas(labels(given_)).numpy(), expected)
    few = (expected > 0) & (expected <= most)
    np.testing.assert_array_equal(small(given_, most).numpy(), few)


def test_the_largest_piece_stays_and_the_background_is_kept() -> None:
    out = one_piece(two_pieces())
    assert (out > 0).sum() == 12
    assert (out[0, 6:8, 7:9] == -10).all()
    assert (out[0, 0] == -2).all()


def test_the_first_of_equally_large_pieces_stays() -> None:
    logits = torch.full((1, 5, 5), -1.0)
    logits[0, 0, 3:] = logits[0, 2, :2] = logits[0, 4, 1:3] = 1.0
    assert (one_piece(logits) > 0).nonzero().tolist() == [[0, 0, 3], [0, 0, 4]]


def test_the_piece_under_the_point_stays() -> None:
    out = one_piece(two_pieces(), torch.tensor([[0.8, 0.9]]))
    assert (out > 0).sum() == 4
    missed = one_piece(two_pieces(), torch.tensor([[0.99, 0.01]]))
    assert (missed > 0).sum() == 12, "a point that misses leaves the largest"


def test_a_snake_is_one_piece_and_an_empty_mask_stays_empty() -> None:
    logits = torch.where(snake(7), 1.0, -1.0)
    stack = torch.cat([logits, torch.full((1, 7, 7), -1024.0), two_pieces()[:, 1:, :7]])
    out = one_piece(stack)
    assert torch.equal(out[:2], stack[:2])
    assert torch.equal(out[2:], one_piece(stack[2:])), "masks do not meddle with each other"
    assert one_piece(torch.zeros(0, 4, 4)).shape == (0, 4, 4)
