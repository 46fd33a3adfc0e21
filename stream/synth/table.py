"""The table of living cells: its columns, the clock they live by, and their poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.synth.outline import Genes
from stream.synth.spec import F64

TICK_S: Final = 1.0 / 30.0
DIVIDE_S: Final = 5.0
ROUND_S: Final = 1.6
SETTLE_S: Final = 2.5
_GROW_S: Final = 14.0

# Columns of the state table, one row a cell.
X, Y, VX, VY, MX, MY, ANGLE, SPIN = range(8)
BORN_S, R0, R1, STRETCH, VIGOUR, DIVIDE_AT_S, ENTERED, LEAVING = range(8, 16)
COLUMNS: Final = 16


@dataclass(frozen=True, slots=True)
class Cell:
    """What never changes in a cell's life."""

    id: int
    genes: Genes
    born_by_division: bool


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a cell is and in what state, at one moment.

    `calm` 0..1 goes from a crawling outline to a circle, `pinch` 0..1 from one blob to two,
    `mitosis` 0..1 from resting to condensed chromatin; lengths in px, angle in radians.
    """

    cell: Cell
    x_px: float
    y_px: float
    radius_px: float
    angle: float
    stretch: float
    calm: float
    pinch: float
    mitosis: float


def radius_px(state: F64, time_s: float) -> F64:
    """Mean radius of each cell, (N,) float64 px; daughters grow to full size slowly."""
    grown = np.exp(-np.clip(time_s - state[:, BORN_S], 0.0, None) / _GROW_S)
    radius: F64 = state[:, R1] - (state[:, R1] - state[:, R0]) * grown
    return radius


def outside_px(state: F64, width: int, height: int) -> F64:
    """How far each centre is outside the view, (N,) float64 px, negative inside."""
    x, y = state[:, X], state[:, Y]
    outside: F64 = np.maximum.reduce([-x, x - width, -y, y - height])
    return outside


def ease(x: float) -> float:
    """Smooth step from 0 at 0 to 1 at 1."""
    x = min(max(float(x), 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)
