"""Cleaning of masks after the model: holes, specks, and pixels that several objects claim.

Areas are in pixels of the logits, a quarter of the image size. A mask without any pixel, such as
that of an absent object, passes through untouched.
"""

from __future__ import annotations

from typing import Protocol

import torch

from engines.pieces import OUTSIDE_LOGIT, one_piece, small

# Barely inside and barely outside: SAM2's own value for filled holes, and its mirror image.
FILLED_LOGIT = 0.1
DROPPED_LOGIT = -0.1


class Rules(Protocol):
    """Which cleaning is wanted; `engines.settings.Cleanup` is one."""

    @property
    def non_overlap(self) -> bool:
        """Whether a pixel belongs to one object only."""

    @property
    def one_piece(self) -> bool:
        """Whether an object is in one piece."""

    @property
    def fill_holes_px(self) -> int:
        """Largest hole that is filled; 0 for none."""

    @property
    def drop_specks_px(self) -> int:
        """Largest piece that is dropped; 0 for none."""


def fill_holes(logits: torch.Tensor, max_area_px: int) -> torch.Tensor:
    """Fill small holes of masks.

    A hole is any small piece of background, by edges and corners; as with SAM2's `fill_hole_area`,
    it may lie at the border of the picture.

    Args:
        logits: (N, h, w) mask logits.
        max_area_px: Largest area that is filled; 0 fills nothing.

    Returns:
        (N, h, w) logits; filled pixels are at `FILLED_LOGIT`.
    """
    if max_area_px <= 0:
        return logits
    inside = logits > 0
    # A mask without any pixel has no holes, however small it is.
    some = inside.flatten(1).any(1)[:, None, None]
    return _set(logits, small(~inside & some, max_area_px), FILLED_LOGIT)


def drop_specks(logits: torch.Tensor, max_area_px: int) -> torch.Tensor:
    """Drop small pieces of masks; an object that is small altogether goes with them.

    Args:
        logits: (N, h, w) mask logits.
        max_area_px: Largest area that is dropped; 0 drops nothing.

    Returns:
        (N, h, w) logits; dropped pixels are at `DROPPED_LOGIT`.
    """
    if max_area_px <= 0:
        return logits
    return _set(logits, small(logits > 0, max_area_px), DROPPED_LOGIT)


def exclusive(logits: torch.Tensor) -> torch.Tensor:
    """Leave each pixel to the object that is surest of it; of equally sure ones to the first.

    Equals `SAM2Base._apply_non_overlapping_constraints`.

    Args:
        logits: (N, h, w) mask logits of all objects of a frame.

    Returns:
        (N, h, w) logits; whoever lost a pixel has at most `OUTSIDE_LOGIT` there.
    """
    if len(logits) < 2:
        return logits
    surest = logits.max(0, keepdim=True).indices
    keep = surest == torch.arange(len(logits), device=logits.device)[:, None, None]
    return torch.where(keep, logits, logits.clamp(max=OUTSIDE_LOGIT))


def apply(logits: torch.Tensor, rules: Rules) -> torch.Tensor:
    """Clean the masks of a frame.

    Holes come first, so that the surer object in a hole gets its pixels back when masks are made
    exclusive. Stray pieces go before that, so that they take no pixel from others, and again after
    it, as one object may cut another in pieces.

    Args:
        logits: (N, h, w) mask logits of all objects of the frame.
        rules: What is wanted.

    Returns:
        (N, h, w) logits.
    """
    logits = _without_strays(fill_holes(logits, rules.fill_holes_px), rules)
    if not rules.non_overlap:
        return logits
    inside = logits > 0
    logits = exclusive(logits)
    if not (rules.drop_specks_px or rules.one_piece):
        return logits
    cut = ((logits > 0) != inside).flatten(1).any(1)
    if logits.device.type != "cpu":  # to ask which are cut would wait for the card
        return torch.where(cut[:, None, None], _without_strays(logits, rules), logits)
    rows = cut.nonzero()[:, 0]
    if len(rows):
        logits[rows] = _without_strays(logits[rows], rules)
    return logits


def _without_strays(logits: torch.Tensor, rules: Rules) -> torch.Tensor:
    logits = drop_specks(logits, rules.drop_specks_px)
    return one_piece(logits) if rules.one_piece else logits


def _set(logits: torch.Tensor, where: torch.Tensor, value: float) -> torch.Tensor:
    if where.device.type == "cpu" and not bool(where.any()):
        return logits
    return logits.masked_fill(where, value)
