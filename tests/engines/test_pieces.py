from __future__ import annotations

import torch

from engines.pieces import labels, one_piece


def two_pieces() -> torch.Tensor:
    logits = torch.full((1, 8, 10), -2.0)
    logits[0, 1:5, 1:4] = 3.0
    logits[0, 6:8, 7:9] = 5.0
    return logits


def test_labels_join_by_corners_and_tell_pieces_apart() -> None:
    masks = torch.zeros(2, 4, 5, dtype=torch.bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[0, 3, 4] = True
    found = labels(masks)
    assert found[0, 0, 0] == found[0, 1, 1] != found[0, 3, 4]
    assert found[1].sum() == 0


def test_the_largest_piece_stays_and_the_background_is_kept() -> None:
    out = one_piece(two_pieces())
    assert (out > 0).sum() == 12
    assert (out[0, 6:8, 7:9] == -10).all()
    assert (out[0, 0] == -2).all()


def test_the_piece_under_the_point_stays() -> None:
    out = one_piece(two_pieces(), torch.tensor([[0.8, 0.9]]))
    assert (out > 0).sum() == 4
    missed = one_piece(two_pieces(), torch.tensor([[0.99, 0.01]]))
    assert (missed > 0).sum() == 12, "a point that misses leaves the largest"


def test_a_snake_is_one_piece_and_an_empty_mask_stays_empty() -> None:
    snake = torch.full((2, 7, 7), -1.0)
    snake[0, ::2] = 1.0
    snake[0, 1, 6] = snake[0, 3, 0] = snake[0, 5, 6] = 1.0
    out = one_piece(snake)
    assert torch.equal(out, snake)
    assert one_piece(torch.zeros(0, 4, 4)).shape == (0, 4, 4)
