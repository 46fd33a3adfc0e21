"""Scores as probabilities of being right: the fit, and how far scores are from that."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 10
EPS = 1e-4
"""Raw scores nearer to 0 or 1 than this are taken for it, as `engines.scoring.calibrate` does."""


@dataclass(frozen=True)
class Bin:
    """The detections whose scores lie in one tenth."""

    count: int
    mean_score: float
    share_right: float


def fit(raw: Tensor, right: Tensor) -> tuple[float, float]:
    """Return slope and offset of the most likely logistic curve (Platt 1999).

    Args:
        raw: (N,) scores in [0, 1].
        right: (N,) bool.

    Raises:
        ValueError: All detections are right, or all are wrong.
    """
    if not 0 < int(right.sum()) < len(right):
        raise ValueError(
            f"{int(right.sum())} of {len(right)} detections are right; some of both are needed"
        )
    logits = torch.logit(raw.double(), eps=EPS)
    curve = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([curve], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            curve[0] * logits + curve[1], right.double()
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return float(curve[0].detach()), float(curve[1].detach())


def reliability(scores: Tensor, right: Tensor, bins: int = BINS) -> list[Bin]:
    """Return what was right in each of `bins` equal parts of [0, 1].

    Args:
        scores: (N,) in [0, 1].
        right: (N,) bool.
        bins: How many; an empty one has count 0 and NaN.
    """
    place = (scores.double() * bins).long().clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins)
    score = torch.bincount(place, weights=scores.double(), minlength=bins) / count
    share = torch.bincount(place, weights=right.double(), minlength=bins) / count
    return [Bin(int(n), float(s), float(r)) for n, s, r in zip(count, score, share, strict=True)]


def calibration_error(scores: Tensor, right: Tensor, bins: int = BINS) -> float:
    """Return the expected calibration error (Naeini et al. 2015): 0 is best.

    The mean over detections of how far their tenth's mean score is from its share of right ones.
    """
    filled = [b for b in reliability(scores, right, bins) if b.count]
    total = sum(b.count for b in filled)
    gap = sum(b.count * abs(b.mean_score - b.share_right) for b in filled)
    return gap / total if total else 0.0


def brier(scores: Tensor, right: Tensor) -> float:
    """Return the mean squared distance of scores from 1 (right) or 0 (wrong) (Brier 1950)."""
    return float((scores.double() - right.double()).square().mean()) if len(scores) else 0.0
