"""Losses of the micro segmenter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class MaskLoss:
    """Per-mask losses, each (N, M), and the true IoU of each predicted mask, (N, M)."""

    bce: Tensor
    dice: Tensor
    iou: Tensor


def mask_loss(logits: Tensor, target: Tensor, foreground_weight: float) -> MaskLoss:
    """Weighted cross-entropy and dice of several candidate masks against one target each.

    Args:
        logits: (N, M, H, W).
        target: (N, H, W) in [0, 1]; soft at edges.
        foreground_weight: weight of object pixels relative to background pixels. Objects fill a few
            per cent of the frame; with weight 1, or with a focal loss, "all background" is a place
            from which training does not move.
    """
    logits = logits.float()
    truth = target.float()[:, None].expand_as(logits)
    weight = 1.0 + (foreground_weight - 1.0) * truth
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * weight
    bce = bce.sum(dim=(-1, -2)) / weight.sum(dim=(-1, -2))
    probability = torch.sigmoid(logits)
    overlap = (probability * truth).sum(dim=(-1, -2))
    total = probability.sum(dim=(-1, -2)) + truth.sum(dim=(-1, -2))
    dice = 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)
    with torch.no_grad():
        predicted, real = logits > 0, truth > 0.5
        both = (predicted & real).sum(dim=(-1, -2)).float()
        either = (predicted | real).sum(dim=(-1, -2)).float()
        iou = both / either.clamp_min(1.0)
    return MaskLoss(bce, dice, iou)


def candidates_loss(per_mask: Tensor, share_of_best: float = 0.5) -> Tensor:
    """Combine the losses of alternative masks of one object, (N, M) -> (N,).

    The best alternative alone would starve the others; the mean alone would make them equal. Cells
    are rarely ambiguous, so both are mixed, and whichever mask the IoU head prefers is usable.
    """
    best = per_mask.min(dim=1).values
    return share_of_best * best + (1.0 - share_of_best) * per_mask.mean(dim=1)


def iou_loss(predicted: Tensor, true_iou: Tensor, present: Tensor) -> Tensor:
    """L1 between predicted and true IoU, (N, M).

    An absent object's true IoU is 0. Returns a scalar.
    """
    goal = true_iou * present[:, None].to(true_iou.dtype)
    return (predicted.float() - goal).abs().mean()


def score_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of the object score, logits (N, 1), present (N,) bool. Returns a scalar."""
    return F.binary_cross_entropy_with_logits(logits.float()[:, 0], present.float())


def boundary_of(ids: Tensor) -> Tensor:
    """Pixels whose 3x3 neighbourhood holds more than one id, (B, H, W) int -> (B, H, W) float."""
    padded = F.pad(ids[:, None].float(), (1, 1, 1, 1), mode="replicate")
    high = F.max_pool2d(padded, 3, stride=1)
    low = -F.max_pool2d(-padded, 3, stride=1)
    return (high != low).float()[:, 0]


def dense_targets(ids: Tensor, stride: int = 4) -> Tensor:
    """Foreground and boundary shares per cell, (B, H, W) int -> (B, 2, H/stride.

    W/stride) in [0, 1].
    """
    foreground = F.avg_pool2d((ids > 0).float()[:, None], stride)
    boundary = F.max_pool2d(boundary_of(ids)[:, None], stride)
    return torch.cat([foreground, boundary], dim=1)


def centre_targets(ids: Tensor, stride: int = 4, unit_px: float = 32.0) -> Tensor:
    """The way from each cell's middle to the centroid of the object there, as x and y.

    Args:
        ids: (B, S, S) int, 0 is background.
        stride: side of a cell in pixels.
        unit_px: pixels that count as 1; ways are cut at 2.

    Returns:
        (B, 2, S/stride, S/stride) float32; 0 on background.
    """
    marks = ids[:, stride // 2 :: stride, stride // 2 :: stride].long()
    batch, rows, columns = marks.shape
    places = torch.arange(max(rows, columns), device=ids.device, dtype=torch.float32)
    across, down = places[:columns].expand(rows, -1), places[:rows, None].expand(-1, columns)
    # One number for each object of each image, whatever the ids are.
    image = torch.arange(batch, device=ids.device)[:, None, None]
    _, own = torch.unique(marks + image * (int(marks.max()) + 1), return_inverse=True)
    count = torch.zeros(int(own.max()) + 1, device=ids.device)
    count.index_add_(0, own.flatten(), torch.ones_like(own.flatten(), dtype=torch.float32))
    ways = []
    for place in (across, down):
        here = place.expand(batch, -1, -1).flatten()
        middle = torch.zeros_like(count).index_add_(0, own.flatten(), here) / count
        ways.append((middle[own.flatten()] - here).view(marks.shape) * (stride / unit_px))
    return torch.stack(ways, dim=1).clamp(-2.0, 2.0) * (marks > 0)[:, None]
