"""From similarities to probabilities to scores: what a vector says about texts, against negatives.

Three readings are kept side by side: a softmax of each text on its own against the negatives (texts
do not exclude each other), one softmax over all texts and negatives together, whose sums give a
multiplier, and a sigmoid as SigLIP has it (Zhai et al. 2023, arXiv 2303.15343).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from engines.errors import ModelError

ScoreMode = Literal["softmax", "multiplier", "sigmoid"]
SCORE_MODES: tuple[str, ...] = get_args(ScoreMode)


@dataclass(frozen=True, slots=True)
class Rivals:
    """Texts that could have been said instead (`engines.contrasts`)."""

    vectors: Tensor | None = None
    """(R, D) unit vectors; None for no rivals."""
    of: tuple[int, ...] = ()
    """Of each the place of the text that it differs from."""


NO_RIVALS = Rivals()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What vectors say about T texts against Q negatives; all are probabilities."""

    own: Tensor
    """(..., T): each text's own softmax against the negatives."""
    p_pos: Tensor
    """(..., T): the texts' part of one softmax over all texts and negatives."""
    p_neg: Tensor
    """(..., Q): the negatives' part of it."""
    sigmoid: Tensor
    """(..., T): each text for itself, by scale and bias."""
    shown: Tensor
    """(..., E): each exemplar (`engines.exemplars`), whose probability is read in one way only."""
    rivals: Tensor
    """(..., R): each text that could have been said instead of one, by a softmax of the two."""

    @property
    def heat(self) -> Tensor:
        """(..., T + E): what heatmaps are made of, in every mode."""
        return torch.cat([self.own, self.shown], dim=-1)

    @property
    def p_pos_sum(self) -> Tensor:
        """(...): the texts together."""
        return self.p_pos.sum(-1)

    @property
    def p_neg_sum(self) -> Tensor:
        """(...): the negatives together."""
        return self.p_neg.sum(-1)

    @property
    def multiplier(self) -> Tensor:
        """(...): how far the sums speak for the texts; see `semantic_multiplier`."""
        return semantic_multiplier(self.p_pos_sum, self.p_neg_sum)

    def probability(self, mode: str) -> Tensor:
        """Return (..., T + E) in [0, 1], texts read in one of `SCORE_MODES`, then exemplars.

        Raises:
            ModelError: The mode is unknown.
        """
        return torch.cat([self.text_probability(mode), self.shown], dim=-1)

    def text_probability(self, mode: str) -> Tensor:
        """Return (..., T), the texts' part of `probability`."""
        require_score_mode(mode)
        if mode == "softmax":
            return self.own
        if mode == "sigmoid":
            return self.sigmoid
        return (self.own * self.multiplier[..., None]).clamp(0, 1)

    def map(self, change: Callable[[Tensor], Tensor]) -> Evidence:
        """Return the evidence with each of its tensors changed, for example one row of it."""
        return Evidence(
            change(self.own),
            change(self.p_pos),
            change(self.p_neg),
            change(self.sigmoid),
            change(self.shown),
            change(self.rivals),
        )


def weigh(
    vectors: Tensor,
    asked: Tensor,
    against: Tensor,
    scale: Tensor | float,
    bias: float = 0.0,
    rivals: Rivals = NO_RIVALS,
) -> Evidence:
    """Weigh vectors against texts; there are no exemplars in the result.

    Args:
        vectors: (..., D) unit vectors of images, patches or masks.
        asked: (T, D) unit vectors of the texts.
        against: (Q, D) unit vectors of the negatives, at least one.
        scale: The model's `logit_scale`, after `exp`.
        bias: The model's `logit_bias`, for the sigmoid.
        rivals: What could have been said instead of the texts.
    """
    wanted = scale * torch.einsum("...d,td->...t", vectors, asked)
    other = scale * torch.einsum("...d,nd->...n", vectors, against)
    joint = torch.cat([wanted, other], dim=-1).softmax(-1)
    return Evidence(
        # A softmax of one logit against others is the sigmoid of what it leads them by.
        own=torch.sigmoid(wanted - torch.logsumexp(other, dim=-1, keepdim=True)),
        p_pos=joint[..., : len(asked)],
        p_neg=joint[..., len(asked) :],
        sigmoid=torch.sigmoid(wanted + bias),
        shown=wanted[..., :0],
        rivals=_against(wanted, rivals, scale, vectors),
    )


def _against(wanted: Tensor, rivals: Rivals, scale: Tensor | float, vectors: Tensor) -> Tensor:
    if rivals.vectors is None:
        return wanted[..., :0]
    theirs = scale * torch.einsum("...d,rd->...r", vectors, rivals.vectors)
    return torch.sigmoid(theirs - wanted[..., list(rivals.of)])


def semantic_multiplier(p_pos_sum: Tensor, p_neg_sum: Tensor) -> Tensor:
    """Return 2.0, 1.0, 0.5 or 0.1: how far summed probabilities speak for the texts.

    2.0 where the texts exceed 0.7 and the negatives stay below 0.2; else 1.0 where the texts exceed
    0.4; else 0.1 where the negatives exceed 0.5; else 0.5. Sums of one softmax add up to 1, so that
    0.5 is for sums that leave room for a third thing.
    """
    sure = (p_pos_sum > 0.7) & (p_neg_sum < 0.2)
    steps = torch.where(p_neg_sum > 0.5, 0.1, 0.5)
    steps = torch.where(p_pos_sum > 0.4, torch.ones_like(steps), steps)
    return torch.where(sure, torch.full_like(steps, 2.0), steps)


def pool(evidence: Evidence, inside: Tensor) -> Evidence:
    """Average the evidence of patches over masks.

    Args:
        evidence: Of (rows, columns, ...) patches.
        inside: (N, rows, columns) weights that sum to 1 for each mask.

    Returns:
        Evidence of N masks.
    """
    return evidence.map(lambda part: torch.einsum("nhw,hwt->nt", inside, part))


def mix(a: Evidence, b: Evidence, weight: float) -> Evidence:
    """Return the weighted mean of two evidences of the same shapes; `weight` is that of `b`."""
    return Evidence(
        torch.lerp(a.own, b.own, weight),
        torch.lerp(a.p_pos, b.p_pos, weight),
        torch.lerp(a.p_neg, b.p_neg, weight),
        torch.lerp(a.sigmoid, b.sigmoid, weight),
        torch.lerp(a.shown, b.shown, weight),
        torch.lerp(a.rivals, b.rivals, weight),
    )


def outdone(evidence: Evidence, rival_of: Sequence[int]) -> Tensor:
    """Return (..., T) bool: whether something else that could have been said fits better.

    Args:
        evidence: About T texts and R rivals.
        rival_of: Of each rival the place of the text that it differs from.
    """
    better = evidence.rivals > 0.5
    out = torch.zeros_like(evidence.own, dtype=torch.bool)
    for rival, text in enumerate(rival_of):
        out[..., text] |= better[..., rival]
    return out


def require_score_mode(mode: str) -> None:
    """Check that a score mode is known.

    Raises:
        ModelError: It is not.
    """
    if mode not in SCORE_MODES:
        raise ModelError(f"score {mode!r} is unknown; accepted are {', '.join(SCORE_MODES)}")


def sigmoid_bias(model: Any, mode: str, given: float | None) -> float:
    """Return the bias of the sigmoid: the given one, else the model's `logit_bias`, else 0.

    Raises:
        ModelError: The sigmoid shall score and no bias is to be had; without one it calls
            everything certain.
    """
    if given is not None:
        return given
    own = getattr(model, "logit_bias", None)
    if own is not None:
        return float(own.detach().float().mean())
    if mode == "sigmoid":
        raise ModelError(
            "score 'sigmoid' needs a logit_bias and this model was trained without one; give "
            "one, or take score softmax or multiplier"
        )
    return 0.0


def final_score(
    probability: Tensor, quality: Tensor | float, calibration: tuple[float, float]
) -> Tensor:
    """Join what a mask shows and how good a mask it is into one calibrated score.

    Args:
        probability: (...) of a label, in [0, 1].
        quality: Of the mask, to be broadcast; 1 where only the label is in question.
        calibration: See `calibrate`.
    """
    return calibrate((probability * quality).clamp(0, 1).sqrt(), calibration)


def calibrate(raw: Tensor, calibration: tuple[float, float]) -> Tensor:
    """Turn raw scores into probabilities of being right (Platt 1999).

    Args:
        raw: (N,) in [0, 1].
        calibration: Slope and offset on the logit.
    """
    slope, offset = calibration
    return torch.sigmoid(slope * torch.logit(raw, eps=1e-4) + offset)
