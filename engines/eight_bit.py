"""Weights in eight bits: matrices and kernels as int8 with the largest of each row beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

LARGEST: Final = ".largest"
MOST: Final = 127


def packed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with its matrices and kernels in eight bits.

    Args:
        state: Tensors of any shape. A floating-point one (N, ...) of two dimensions or more
            becomes int8; under its name and `.largest` lies (N,), the largest magnitude of each
            first index, which 127 stands for. Others stay as they are.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim < 2 or not value.is_floating_point():
            out[name] = value
            continue
        rows = value.detach().float().flatten(1)
        largest = rows.abs().amax(dim=1)
        steps = rows * (MOST / largest.clamp(min=torch.finfo(torch.float32).tiny))[:, None]
        out[name] = steps.round().to(torch.int8).view(value.shape)
        out[name + LARGEST] = largest
    return out


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `packed` made as fp32; a state dict that is not packed the same."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(LARGEST) and name.removesuffix(LARGEST) in state:
            continue
        largest = state.get(name + LARGEST)
        if largest is not None and value.dtype == torch.int8:
            column = largest.float().view(-1, *[1] * (value.ndim - 1))
            out[name] = value.float() * (column / MOST)
        else:
            out[name] = value.float() if value.is_floating_point() else value
    return out
