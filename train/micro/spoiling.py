"""Masks as a segmenter that sees little would have drawn them, and as one that saw nothing yet."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.closeups import SIDE_PX

#: Cells of the segmenter's mask over an object's longer side.
COARSE = (2.5, 20.0)
#: Masks that swallow a neighbour's part, and masks that lack a part.
SWALLOWS, LACKS = 0.2, 0.15


def discs(clicks: Tensor, radii: Tensor, windows: Tensor) -> Tensor:
    """(N, S, S) bool as float, the disc around each click; radii (N,) in pixels."""
    return ellipses(torch.cat([clicks - radii[:, None], clicks + radii[:, None]], dim=1), windows)


def ellipses(boxes: Tensor, windows: Tensor) -> Tensor:
    """(N, S, S) bool as float, the ellipse that fills each box."""
    side = (windows[:, 2] - windows[:, 0])[:, None]
    low = (boxes[:, :2] - windows[:, :2]) / side * SIDE_PX
    high = (boxes[:, 2:] - windows[:, :2]) / side * SIDE_PX
    cell = torch.arange(SIDE_PX)[:, None] + 0.5
    off = (2 * cell - (low + high)[:, None]) / (high - low)[:, None]
    return (off[:, :, 1, None] ** 2 + off[:, None, :, 0] ** 2 <= 1).float()


def spoilt(target: Tensor, others: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks as a segmenter that sees little would have drawn them."""
    count = len(target)

    def random(*shape: int) -> Tensor:
        return torch.from_numpy(rng.random((count, *shape), np.float32))

    masks = target + _halves(rng, count, SWALLOWS) * others
    masks = masks * (1 - _halves(rng, count, LACKS))
    # Moved, turned a little and scaled.
    theta = torch.zeros(count, 2, 3)
    scale, turn = torch.exp((random(2) - 0.5) * 0.4), (random() - 0.5) * 0.3
    theta[:, 0, 0], theta[:, 0, 1] = scale[:, 0] * turn.cos(), -turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin(), scale[:, 1] * turn.cos()
    theta[:, :, 2] = (random(2) - 0.5) * 0.16 * random(1)
    grid = F.affine_grid(theta, [count, 1, SIDE_PX, SIDE_PX], align_corners=False)
    masks = F.grid_sample(masks[:, None], grid, align_corners=False)
    # Bumpy, by noise of two scales under a threshold.
    bumps = torch.zeros_like(masks)
    for cells, strength in ((5, 0.5), (11, 0.4)):
        field = torch.from_numpy(rng.standard_normal((count, 1, cells, cells), np.float32))
        field = F.interpolate(field, size=(SIDE_PX, SIDE_PX), mode="bicubic", align_corners=True)
        bumps += strength * random(1, 1, 1) * field
    soft = F.avg_pool2d(masks, 9, stride=1, padding=4, count_include_pad=False)
    masks = (soft + 0.35 * bumps > 0.5).float()
    return torch.cat([_coarse(mask[None], rng) for mask in masks])[:, 0]


def _coarse(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw (1, 1, S, S) on a coarse grid, and out again."""
    cells = float(np.exp(rng.uniform(*np.log(COARSE))))
    grid = round(cells * 2)
    if grid >= SIDE_PX:
        return mask
    small = F.interpolate(mask, size=(grid, grid), mode="area")
    large = F.interpolate(small, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
    return (large > float(rng.uniform(0.3, 0.6))).float()


def _halves(rng: np.random.Generator, count: int, share: float) -> Tensor:
    """(N, S, S) part of the window beyond a random line, in a share of them; else nothing."""
    angle = torch.from_numpy(rng.uniform(0, 2 * np.pi, count)).float()[:, None, None]
    off = torch.from_numpy(rng.uniform(0.05, 0.5, count)).float()[:, None, None]
    line = (torch.arange(SIDE_PX) + 0.5) / SIDE_PX * 2 - 1
    away = angle.cos() * line[None, None, :] + angle.sin() * line[None, :, None]
    use = torch.from_numpy(rng.random(count) < share)[:, None, None]
    return ((away > off) & use).float()
