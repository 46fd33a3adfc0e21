"""How good a drawn mask is: what is seen inside it, along its edge, and just outside.

A network that pools the whole window knows what is in it, and not where the drawing ends; so
features are pooled under the mask itself and under the bands to either side of its edge (mask
scoring: Huang et al. 2019, arXiv 1903.00241; features beside the edge of a region: Arbeláez et al.
2012, "Semantic segmentation using regions and parts").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Width of the bands inside and outside of an edge, in cells of every resolution.
BAND_CELLS = 2
#: Neurons between features and answer.
HIDDEN = 64


class Judge(nn.Module):
    """Tells the IoU of a mask from features of several resolutions.

    Args:
        widths: Channels of the features, finest first.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        deep = widths[-1]
        seen = 3 * sum(widths) + 2 * deep + 3
        self.layers = nn.Sequential(nn.Linear(seen, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, features: Sequence[Tensor], logits: Tensor) -> Tensor:
        """Return (N,) logits of the IoU that masks are thought to have.

        Args:
            features: (N, C, S, S), (N, C', S/2, S/2) and so on, not negative.
            logits: (N, S, S) of the masks; no gradient goes back into them.
        """
        mask = logits.detach().float().sigmoid()[:, None]
        deep = features[-1]
        parts = [deep.mean(dim=(2, 3)), deep.amax(dim=(2, 3)), _shape(mask)]
        for level, seen in enumerate(features):
            covered = F.avg_pool2d(mask, 2**level) if level else mask
            parts.append(_pooled(seen, _bands(covered)))
        answer: Tensor = self.layers(torch.cat([part.to(deep.dtype) for part in parts], dim=1))
        return answer[:, 0]


def _bands(mask: Tensor) -> Tensor:
    """(N, 3, S, S): the mask, and the bands inside and outside of its edge."""
    return torch.cat([mask, mask - (1 - _grown(1 - mask)), _grown(mask) - mask], dim=1)


def _grown(mask: Tensor) -> Tensor:
    """The highest value around each cell; shifted copies, as one channel is slow to pool on CPU."""
    for dim in (2, 3):
        size = mask.shape[dim]
        sides = (0, 0, BAND_CELLS, BAND_CELLS) if dim == 2 else (BAND_CELLS, BAND_CELLS)
        padded, grown = F.pad(mask, sides), mask
        for shift in range(2 * BAND_CELLS + 1):
            grown = torch.maximum(grown, padded.narrow(dim, shift, size))
        mask = grown
    return mask


def _pooled(seen: Tensor, bands: Tensor) -> Tensor:
    """(N, 3 C) means of (N, C, S, S) features, weighted by each of (N, 3, S, S)."""
    weights = (bands / bands.sum(dim=(2, 3), keepdim=True).clamp(min=1.0)).flatten(2)
    return torch.bmm(weights.to(seen.dtype), seen.flatten(2).transpose(1, 2)).flatten(1)


def _shape(mask: Tensor) -> Tensor:
    """(N, 3): how large, how blurred and how long of edge a mask is, for its window."""
    area = mask.mean(dim=(1, 2, 3))
    blur = (mask * (1 - mask)).mean(dim=(1, 2, 3)) / area.clamp(min=1e-3)
    bands = _bands(mask)[:, 1:].mean(dim=(1, 2, 3)) / area.clamp(min=1e-3).sqrt()
    return torch.stack([area, blur, bands], dim=1)
