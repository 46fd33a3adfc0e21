"""The eight ways to turn and mirror a square, and the ways back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor

Turn = Callable[[Tensor], Tensor]


def _turned(x: Tensor, quarters: int, mirror: bool) -> Tensor:
    """Turn (..., S, S) by quarters of a circle, after it was mirrored."""
    return torch.rot90(x.flip(-1) if mirror else x, quarters, (-2, -1)).contiguous()


def _turned_back(x: Tensor, quarters: int, mirror: bool) -> Tensor:
    back = torch.rot90(x, -quarters, (-2, -1))
    return back.flip(-1) if mirror else back


SIDES: Final[tuple[tuple[Turn, Turn], ...]] = tuple(
    (
        partial(_turned, quarters=quarters, mirror=mirror),
        partial(_turned_back, quarters=quarters, mirror=mirror),
    )
    for mirror in (False, True)
    for quarters in range(4)
)
"""Each with its way back; the first changes nothing."""
