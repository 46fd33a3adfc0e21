"""Eight ways to see a square, each with its way back."""

from __future__ import annotations

import torch

from engines.sides import SIDES


def test_each_is_another_and_comes_back() -> None:
    square = torch.arange(18.0).view(1, 2, 3, 3)
    seen = [turned(square) for turned, _ in SIDES]
    assert len({tuple(one.flatten().tolist()) for one in seen}) == 8
    for one, (_, back) in zip(seen, SIDES, strict=True):
        assert torch.equal(back(one), square)
        assert torch.equal(back(one[:, 0]), square[:, 0])
    assert torch.equal(seen[0], square)
