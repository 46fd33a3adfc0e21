"""Cell outlines: star-shaped curves from a few slow harmonics, and the pinch of a division."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.synth.spec import F32, F64

TABLE: Final = 256
_ORDERS: Final = np.arange(2, 7)
_THETA: Final = (np.arange(TABLE) + 0.5) * (2.0 * math.pi / TABLE) - math.pi
_COS: Final = np.cos(_THETA)
_SIN: Final = np.sin(_THETA)
_COS_K: Final = np.cos(_ORDERS[:, None] * _THETA)
_SIN_K: Final = np.sin(_ORDERS[:, None] * _THETA)
_AFTER: Final = (np.arange(TABLE) + 1) % TABLE
_BEFORE: Final = (np.arange(TABLE) - 1) % TABLE


@dataclass(frozen=True, slots=True)
class Genes:
    """The shape habits of one cell; all rates in radians per second."""

    amplitude: F64
    phase: F64
    rate: F64
    stretch_phase: float
    stretch_rate: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, wobble: float = 1.0) -> Genes:
        """Draws the habits of a new cell, `wobble` scaling how uneven its outline is."""
        size = _ORDERS.size
        amplitude = wobble * rng.uniform(0.35, 1.0, size) * 0.16 / _ORDERS**0.9
        return cls(
            amplitude=amplitude,
            phase=rng.uniform(-math.pi, math.pi, size),
            rate=rng.uniform(0.08, 0.45, size) * rng.choice((-1.0, 1.0), size),
            stretch_phase=float(rng.uniform(-math.pi, math.pi)),
            stretch_rate=float(rng.uniform(0.1, 0.35)),
        )


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed curve around (0, 0), looked up by the angle in the cell's own frame.

    Attributes:
        to_body: (2, 2) float64, turns frame offsets (dx, dy) into the cell's own frame.
        inverse_px: (TABLE,) float32, 1 / radius in the cell's own frame, 1/px.
        reach_px: (TABLE,) float32, px from outline to centre measured along the normal.
        half_width_px: Farthest |dx| of the outline.
        half_height_px: Farthest |dy| of the outline.
        area_px: Area inside the outline in px.
    """

    to_body: F64
    inverse_px: F32
    reach_px: F32
    half_width_px: float
    half_height_px: float
    area_px: float


def draw_outline(
    genes: Genes,
    time_s: float,
    radius_px: float,
    angle: float,
    stretch: float,
    calm: float,
    pinch: float,
) -> Outline:
    """Builds the outline of a cell at one moment.

    Args:
        genes: Shape habits of the cell.
        time_s: Time in seconds, which drives the slow changes.
        radius_px: Radius of the circle with the cell's area, px.
        angle: Direction of the long axis, radians.
        stretch: Log of the ratio of long half-axis to mean radius.
        calm: 0 for a crawling cell's outline, 1 for a circle.
        pinch: 0 for one blob, 1 for two touching discs along the long axis.

    Returns:
        The outline, centred on (0, 0).
    """
    if pinch > 0.0:
        radius = _pinched(radius_px, pinch)
    else:
        turn = genes.phase + genes.rate * time_s
        amplitude = genes.amplitude * (1.0 - calm) * (0.8 + 0.2 * np.sin(1.7 * turn))
        wave = (amplitude * np.cos(turn)) @ _COS_K - (amplitude * np.sin(turn)) @ _SIN_K
        radius = radius_px * (1.0 + wave)
    swing = 1.0 + 0.25 * math.sin(genes.stretch_phase + genes.stretch_rate * time_s)
    long = math.exp(stretch * swing * (1.0 - calm))
    c, s = math.cos(angle), math.sin(angle)
    along, across = radius * _COS * long, radius * _SIN / long
    x, y = c * along - s * across, s * along + c * across
    tx, ty = x[_AFTER] - x[_BEFORE], y[_AFTER] - y[_BEFORE]
    cross = x * ty - y * tx
    return Outline(
        to_body=np.array([[c / long, s / long], [-s * long, c * long]]),
        inverse_px=(1.0 / radius).astype(np.float32),
        reach_px=(cross / np.hypot(tx, ty)).astype(np.float32),
        half_width_px=float(np.abs(x).max()),
        half_height_px=float(np.abs(y).max()),
        area_px=float(0.25 * cross.sum()),
    )


def lobe_radius_px(radius_px: float, pinch: float) -> float:
    """Radius of each of two overlapping discs whose union keeps the area of one disc."""
    union = math.pi - math.acos(pinch) + pinch * math.sqrt(1.0 - pinch * pinch)
    return radius_px * math.sqrt(math.pi / (2.0 * union))


def _pinched(radius_px: float, pinch: float) -> F64:
    lobe_px = lobe_radius_px(radius_px, pinch)
    apart_px = pinch * lobe_px
    # Rounding off |cos| keeps the waist smooth until the two lobes part.
    axis = np.sqrt(_COS**2 + (0.30 * (1.0 - pinch) + 0.02) ** 2)
    radius: F64 = apart_px * axis + np.sqrt(lobe_px**2 - (apart_px * _SIN) ** 2 + 1e-6)
    return radius
