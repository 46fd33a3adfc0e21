"""SAM 2's losses: focal (or cross-entropy), dice, predicted IoU and object score.

Ravi et al. 2024, SAM 2; Lin et al. 2017 (focal loss); Milletari et al. 2016 (dice). Pixels that are
to be ignored take part in none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of the focal loss, as SAM 2 uses it.
ALPHA, GAMMA = 0.25, 2.0
#: Names of the parts, in the order of their weights.
PARTS = ("mask", "dice", "iou", "score")


@dataclass(frozen=True)
class LossOptions:
    """Weights of the parts, and how the masks are compared.

    Attributes:
        kind: ``focal`` or ``bce``.
        weights: of mask, dice, IoU and score.
        foreground_weight: of object pixels in ``bce``.
        stride: pixels of the input that one side of a compared pixel has.
    """

    kind: str = "focal"
    weights: tuple[float, float, float, float] = (20.0, 1.0, 1.0, 1.0)
    foreground_weight: float = 2.0
    stride: int = 1


@dataclass(frozen=True)
class Truth:
    """What one frame should show, at the stride that masks are compared at.

    Attributes:
        masks: (N, h, w) float32 coverage in [0, 1].
        valid: (N, h, w) float32, the share of each pixel that is known.
        present: (N,) bool, whether the object is visible at all.
    """

    masks: Tensor
    valid: Tensor
    present: Tensor


def truth_of(masks: Tensor, valid: Tensor, stride: int) -> Truth:
    """Make targets of (N, S, S) bool masks and valid pixels."""
    known = valid.float()
    covered = (masks & valid).float()
    if stride > 1:
        covered = F.avg_pool2d(covered[:, None], stride)[:, 0]
        known = F.avg_pool2d(known[:, None], stride)[:, 0]
        covered = covered / known.clamp_min(1e-6)
    return Truth(covered, known, (masks & valid).flatten(1).any(dim=1))


def pixel_loss(logits: Tensor, truth: Truth, options: LossOptions) -> Tensor:
    """Focal loss or weighted cross-entropy of candidates (N, M, h, w), the mean over valid pixels.

    Returns:
        (N, M).
    """
    target = truth.masks[:, None].expand_as(logits)
    valid = truth.valid[:, None].expand_as(logits)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if options.kind == "bce":
        weight = (1.0 + (options.foreground_weight - 1.0) * target) * valid
        return (loss * weight).sum(dim=(-1, -2)) / weight.sum(dim=(-1, -2)).clamp_min(1e-6)
    chance = torch.sigmoid(logits)
    right = chance * target + (1.0 - chance) * (1.0 - target)
    balance = ALPHA * target + (1.0 - ALPHA) * (1.0 - target)
    loss = balance * loss * (1.0 - right) ** GAMMA * valid
    return loss.sum(dim=(-1, -2)) / valid.sum(dim=(-1, -2)).clamp_min(1e-6)


def dice_loss(logits: Tensor, truth: Truth) -> Tensor:
    """One minus the dice overlap, smoothed by 1, of candidates (N, M, h, w); (N, M)."""
    chance = torch.sigmoid(logits) * truth.valid[:, None]
    target = (truth.masks * truth.valid)[:, None]
    overlap = (chance * target).sum(dim=(-1, -2))
    total = chance.sum(dim=(-1, -2)) + target.sum(dim=(-1, -2))
    return 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)


@torch.no_grad()
def true_iou(logits: Tensor, truth: Truth) -> Tensor:
    """IoU of candidates (N, M, h, w) with the truth over pixels that are known for half; (N, M)."""
    known = truth.valid[:, None] > 0.5
    found = (logits > 0) & known
    real = (truth.masks[:, None] > 0.5) & known
    both = (found & real).sum(dim=(-1, -2)).float()
    either = (found | real).sum(dim=(-1, -2)).float()
    return both / either.clamp_min(1.0)


def score_loss(score: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of object scores (N, 1) against visibility (N,); the sum over objects."""
    return F.binary_cross_entropy_with_logits(
        score.float()[:, 0], present.to(torch.float32), reduction="sum"
    )


def decode_losses(
    logits: Tensor, iou: Tensor, score: Tensor, truth: Truth, options: LossOptions
) -> tuple[Tensor, Tensor]:
    """The four parts of one decoding, each the sum over objects and weighted.

    Of several candidates the best alone gets the mask and dice losses, all get the IoU loss. An
    object that is not visible has a score to be right about, and no mask.

    Args:
        logits: (N, M, s, s) as the decoder gives them, before the object score's gate: what the
            gate has shut would have no gradient.
        iou: (N, M) predicted IoUs.
        score: (N, 1) object score logits.
        truth: Targets; the logits are brought to their size.
        options: Weights and kind.

    Returns:
        (4,) in the order of :data:`PARTS`, and (N,) the true IoU of the mask with the best
        predicted one.
    """
    size = truth.masks.shape[-2:]
    fine = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    seen = truth.present.to(fine.dtype)
    mask, dice = pixel_loss(fine, truth, options), dice_loss(fine, truth)
    real = true_iou(fine, truth)
    best = (options.weights[0] * mask + options.weights[1] * dice).detach().argmin(1, keepdim=True)
    parts = torch.stack(
        [
            (mask.gather(1, best)[:, 0] * seen).sum(),
            (dice.gather(1, best)[:, 0] * seen).sum(),
            ((iou.float() - real).abs().mean(dim=1) * seen).sum(),
            score_loss(score, truth.present),
        ]
    )
    chosen = real.gather(1, iou.argmax(dim=1, keepdim=True))[:, 0]
    return parts * parts.new_tensor(options.weights), chosen.detach()
