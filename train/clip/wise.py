"""Weights between the model that training began with and the trained one.

WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903): the straight line between both often holds models
that are as good on the new data and lose less of the old.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Mixed:
    """One point of the line and what was measured there."""

    alpha: float
    figures: Mapping[str, float]


def mix(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> State:
    """Return (1 - alpha) start + alpha end; the ends are exactly the two, counters are `end`'s."""
    if alpha in (0.0, 1.0):
        return {name: value.clone() for name, value in (end if alpha else start).items()}
    return {
        name: start[name].lerp(value, alpha) if value.is_floating_point() else value.clone()
        for name, value in end.items()
    }


def alphas(steps: int, asked: float | str) -> list[float]:
    """Return the shares that are tried, ascending: both ends, steps between, and what is asked."""
    shares = {number / steps for number in range(steps + 1)}
    return sorted(shares if isinstance(asked, str) else shares | {asked})


def choose(table: Sequence[Mixed], asked: float | str) -> Mixed:
    """Return the row that is kept: as asked, or of the best recall, the smaller share of equals."""
    if not isinstance(asked, str):
        return next(row for row in table if row.alpha == asked)
    return max(table, key=lambda row: (row.figures["recall"], -row.alpha))
