"""How often the right text is found for a picture and the right picture for a text."""

from __future__ import annotations

import math

import torch
from torch import Tensor

RANKS = (1, 5, 10)


def recall_at(scores: Tensor, right: Tensor, known: Tensor, rank: int) -> float:
    """Share of rows of which a right answer is among the first `rank`.

    Equal scores are in random order: a tie counts by the chance that a right answer comes first, so
    that a model to which everything is alike is not better than chance.

    Args:
        scores: (N, M).
        right: (N, M) bool; all of a row's right answers count, rows without one are left out.
        known: (N, M) bool; the rest is as if it were not there.
        rank: 1 or more.

    Returns:
        NaN where no row has a right answer.
    """
    hits = []
    for row, true, seen in zip(scores, right, known, strict=True):
        if not bool(true.any()):
            continue
        best = row[true].max()
        wrong = row[seen & ~true]
        above = int((wrong > best).sum())
        equal_wrong, equal_right = int((wrong == best).sum()), int((row[true] == best).sum())
        hits.append(_chance(equal_right, equal_wrong, rank - above))
    return sum(hits) / len(hits) if hits else math.nan


def _chance(right: int, wrong: int, places: int) -> float:
    """Chance that one of `right` is among the first places of `right + wrong` in random order."""
    if places <= 0:
        return 0.0
    if places > wrong:
        return 1.0
    missed = math.comb(wrong, places) / math.comb(right + wrong, places)
    return 1.0 - missed


def recalls(scores: Tensor, relation: Tensor) -> dict[str, float]:
    """Return R@1, R@5 and R@10 both ways, and `recall`, the mean of both R@1.

    Args:
        scores: (B, T) similarities of pictures and different texts.
        relation: (B, T): 1 true, 0 not, -1 unsure.
    """
    right, known = relation > 0, relation >= 0
    out: dict[str, float] = {}
    for rank in RANKS:
        out[f"image_to_text_{rank}"] = recall_at(scores, right, known, rank)
        out[f"text_to_image_{rank}"] = recall_at(scores.t(), right.t(), known.t(), rank)
    out["recall"] = (out["image_to_text_1"] + out["text_to_image_1"]) / 2
    return out


def attribute_accuracy(own: Tensor, swapped: Tensor, owner: Tensor) -> tuple[float, float]:
    """How often a true caption beats the same with an attribute swapped; a tie counts half.

    Args:
        own: (C,) similarities of pictures and true captions.
        swapped: (S,) similarities of the same pictures and swapped captions.
        owner: (S,) int64: which caption each was made from.

    Returns:
        Share of swaps that are beaten (chance 0.5), and share of captions that beat all of theirs;
        NaN where there is none.
    """
    if not len(swapped):
        return math.nan, math.nan
    beaten = (own[owner] > swapped).float() + 0.5 * (own[owner] == swapped).float()
    lost = torch.zeros(len(own)).index_add_(0, owner, (beaten < 1.0).float())
    asked = torch.zeros(len(own)).index_add_(0, owner, torch.ones(len(owner))) > 0
    return float(beaten.mean()), float((lost[asked] == 0).float().mean())


def area_under_curve(score: Tensor, truth: Tensor) -> float:
    """Chance that a random true one scores above a random false one; a tie counts half.

    Args:
        score: (N,).
        truth: (N,) bool.

    Returns:
        NaN where all are of one kind.
    """
    wrong, right = score[~truth].sort().values, score[truth]
    if not len(wrong) or not len(right):
        return math.nan
    below = torch.searchsorted(wrong, right, right=False)
    not_above = torch.searchsorted(wrong, right, right=True)
    return float((below + not_above).double().mean() / (2 * len(wrong)))
