"""Where the micro CLIP's image tower starts.

A vision transformer with random weights learns colours within fifty steps and the kind of a shape
not within a hundred and fifty: nothing in it knows at first which patch lies beside which, or where
in a patch an edge runs. Both are given at birth.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

#: Red, green and blue in brightness, and two directions of colour without brightness.
_BRIGHTNESS = (0.299, 0.587, 0.114)
_COLOURS = ((1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
#: Cosines an axis, and how many of the products are taken, for brightness and for colours.
_FINE, _FINE_COUNT = 9, 44
_COARSE, _COARSE_COUNT = 4, 9
#: Factor on the random filters beside the cosines, most of them blind to plain brightness.
_TEXTURE_GAIN = 3.0
_POSITION_GAIN = 0.5
#: Radians from one place to the next of the fastest and of the slowest wave. Live pictures have
#: twice as many patches an axis as the model's own grid, so that half of it lies between them.
_FASTEST, _SLOWEST = 2.0, 0.2
#: Norms of queries and keys, in which a patch finds what is like it and near it.
_ALIKE, _UNLIKE = 1.4, 0.3


@torch.no_grad()
def prime(visual: Any) -> None:
    """Start an image tower's weights where a short training finds what it needs.

    - Patch filters begin with the low cosines of brightness and colour (as in JPEG), so that a
      patch says where its edges lie.
    - Positions are sines and cosines of the place, turned at random into the model's width, so that
      patches can find their neighbours.
    - Queries and keys start alike, so that a patch attends to what resembles it in look and place
      (Trockman and Kolter 2023, mimetic initialisation).

    Args:
        visual: image tower of `engines.build.build_clip("micro")`; changed in place. Random
            numbers come from torch's own generator.
    """
    _patch_filters(visual.conv1.weight)
    width, side = visual.conv1.out_channels, visual.grid_size[0]
    turned = torch.linalg.qr(torch.randn(width, width))[0]
    visual.positional_embedding[1:] = _places(width, side) * _POSITION_GAIN @ turned
    # The first normalisation leaves only a direction; against this offset brightness can be told.
    visual.positional_embedding.add_(torch.randn(width) * 0.5)
    for block in visual.transformer.resblocks:
        heads = block.attn.num_heads
        weight = block.attn.in_proj_weight[: 2 * width].view(2, heads, width // heads, width)
        shared = torch.randn(heads, width // heads, width) / math.sqrt(width)
        weight[0] = shared * _ALIKE
        weight[1] = shared * _ALIKE + torch.randn_like(shared) / math.sqrt(width) * _UNLIKE


def _patch_filters(filters: Tensor) -> None:
    """Cosines in the first filters of (width, 3, P, P); of the others most lose their mean."""
    side, width = filters.shape[-1], len(filters)
    brightness = torch.tensor(_BRIGHTNESS)
    kinds = [(brightness, _FINE, _FINE_COUNT)]
    kinds += [(torch.tensor(colour), _COARSE, _COARSE_COUNT) for colour in _COLOURS]
    made = [
        (direction / direction.norm())[:, None, None] * cosine
        for direction, count, kept in kinds
        for cosine in _cosines(side, count)[:kept]
    ]
    texture = filters[: width * 3 // 4]
    texture.sub_(texture.mean(dim=(2, 3), keepdim=True)).mul_(_TEXTURE_GAIN)
    filters[: len(made)] = torch.stack(made)


def _cosines(side: int, count: int) -> list[Tensor]:
    """Products of cosines over a patch, each of norm 1, from low to high, without the constant."""
    place = torch.arange(side) + 0.5
    waves = [torch.cos(math.pi * k * place / side) for k in range(count)]
    pairs = [(y, x) for y in range(count) for x in range(count) if 0 < x + y <= count]
    products = [waves[y][:, None] * waves[x][None] for y, x in sorted(pairs, key=sum)]
    return [product / product.norm() for product in products]


def _places(width: int, side: int) -> Tensor:
    """Sines and cosines of the row and the column of each patch, (side * side, width)."""
    quarter = width // 4
    pace = _FASTEST * (_SLOWEST / _FASTEST) ** (torch.arange(quarter) / (quarter - 1))
    line = torch.arange(side).float()
    rows, columns = (
        axis.flatten()[:, None] * pace for axis in torch.meshgrid(line, line, indexing="ij")
    )
    return torch.cat([columns.sin(), columns.cos(), rows.sin(), rows.cos()], dim=1)
