"""Connected pieces of masks, for objects that are known to be in one piece, such as cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F

OUTSIDE_LOGIT = -10.0


def labels(masks: torch.Tensor) -> torch.Tensor:
    """Number the connected pieces of masks; neighbours by edge or corner belong together.

    Args:
        masks: (N, h, w) bool.

    Returns:
        (N, h, w) int64: 0 outside, one number from 1 to h*w for each piece of a mask.
    """
    _, height, width = masks.shape
    own = torch.arange(1, height * width + 1, device=masks.device, dtype=torch.float32)
    found = own.view(1, height, width) * masks
    for _ in range(height * width):  # the largest number of a piece spreads through it
        spread = F.max_pool2d(found[:, None], 3, 1, 1)[:, 0] * masks
        if torch.equal(spread, found):
            break
        found = spread
    return found.long()


def one_piece(logits: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
    """Keep one piece of each mask and push the others out.

    Args:
        logits: (N, h, w) mask logits.
        points: (N, 2) x, y as fractions of width and height: the piece under the point stays.
            Without points, or where the point misses the mask, the largest stays.

    Returns:
        (N, h, w) logits.
    """
    if not len(logits):
        return logits
    count, height, width = logits.shape
    pieces = labels(logits > 0)
    areas = torch.zeros(count, height * width + 1, device=logits.device)
    areas.scatter_add_(1, pieces.flatten(1), torch.ones_like(pieces.flatten(1), dtype=areas.dtype))
    areas[:, 0] = -1.0
    keep = areas.argmax(1)
    if points is not None:
        cols = (points[:, 0] * width).long().clamp(0, width - 1)
        rows = (points[:, 1] * height).long().clamp(0, height - 1)
        under = pieces[torch.arange(count, device=logits.device), rows, cols]
        keep = torch.where(under > 0, under, keep)
    stays = (pieces == keep[:, None, None]) | (logits <= 0)
    return torch.where(stays, logits, logits.new_tensor(OUTSIDE_LOGIT))
