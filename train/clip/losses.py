"""What a batch is judged by: pictures against texts, and patches against labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from train.micro.clip_losses import evidence

MAX_SCALE = 100.0
"""Of `logit_scale` after exp, as in CLIP (Radford et al. 2021, arXiv 2103.00020)."""


def contrastive_loss(
    images: Tensor,
    texts: Tensor,
    swaps: Tensor,
    scale: Tensor,
    relation: Tensor,
    against: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of pictures over texts and of texts over pictures, with several right answers.

    The target is spread evenly over all that is right (UniCL, Yang et al. 2022, arXiv 2204.03610;
    as the outer sum of supervised contrastive learning, Khosla et al. 2020, arXiv 2004.11362). What
    is unsure is left out of the sums. Swapped texts stand on the pictures' side only: they have no
    picture of their own (NegCLIP, Yuksekgonul et al. 2023, arXiv 2210.01936).

    Args:
        images: (B, D) embeddings.
        texts: (T, D) embeddings.
        swaps: (W, D) embeddings of texts with a swapped attribute.
        scale: `logit_scale` after exp.
        relation: (B, T): 1 true, 0 not, -1 unsure.
        against: (B, W) bool: which swapped texts a picture is told from.

    Returns:
        Both directions' means over what has a right answer.
    """
    pictures = F.normalize(images.float(), dim=-1)
    words = F.normalize(texts.float(), dim=-1)
    logits = scale * pictures @ words.t()
    beside = scale * pictures @ F.normalize(swaps.float(), dim=-1).t()
    right, known = relation > 0, relation >= 0
    nothing = torch.zeros_like(against)
    to_text = spread_cross_entropy(
        torch.cat([logits, beside], 1),
        torch.cat([right, nothing], 1),
        torch.cat([known, against], 1),
    )
    return to_text, spread_cross_entropy(logits.t(), right.t(), known.t())


def spread_cross_entropy(logits: Tensor, right: Tensor, known: Tensor) -> Tensor:
    """Mean over rows of -log p, averaged over a row's right answers.

    Args:
        logits: (N, M).
        right: (N, M) bool; rows without a right answer are left out.
        known: (N, M) bool; the rest is as if it were not there.
    """
    rows = right.any(1)
    logits, right, known = logits[rows], right[rows], known[rows]
    log_p = logits.masked_fill(~known, float("-inf")).log_softmax(1)
    each = -log_p.masked_fill(~right, 0.0).sum(1) / right.sum(1)
    return each.mean() if len(each) else logits.sum() * 0.0


def dense_loss(
    patches: Tensor, targets: Tensor, labels: Tensor, negatives: Tensor, scale: Tensor
) -> Tensor:
    """Each label against the negatives at each patch, as the live detector reads them.

    Three groups weigh the same whatever their sizes, the first twice as much: a patch under a mask
    and its label, such a patch and other labels, background and any label.

    Args:
        patches: (N, D) embeddings of the dense pass.
        targets: (N,) int64: 0 background, i the label i - 1, -1 left out.
        labels: (L, D) embeddings.
        negatives: (Q, D) embeddings of the texts that every question is weighed against.
        scale: `logit_scale` after exp.
    """
    patches, targets = patches[targets >= 0], targets[targets >= 0]
    weight = evidence(patches, labels, negatives, scale)
    own = F.one_hot(targets, len(labels) + 1)[:, 1:].bool()
    thing = (targets > 0)[:, None]
    groups = (
        (2.0, F.softplus(-weight)[own]),
        (1.0, F.softplus(weight)[~own & thing]),
        (1.0, F.softplus(weight)[(~thing).expand_as(own)]),
    )
    means = [factor * group.mean() for factor, group in groups if group.numel()]
    return torch.stack(means).sum() / 4.0 if means else weight.sum() * 0.0
