"""How cells move: a drifting walk, soft repulsion, and the edges of the view."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.synth.spec import F64, CellFilmSpec
from stream.synth.table import (
    ANGLE,
    DIVIDE_AT_S,
    DIVIDE_S,
    ENTERED,
    LEAVING,
    MX,
    MY,
    ROUND_S,
    STRETCH,
    TICK_S,
    VIGOUR,
    VX,
    VY,
    X,
    Y,
    radius_px,
)

_MEMORY_S: Final = 4.0
_REFRESH_TICKS: Final = 8
_STIFFNESS_PER_S: Final = 3.5


class Neighbours:
    """Pairs of cells near enough to touch soon, looked up anew only now and then."""

    def __init__(self) -> None:
        self._age_ticks = _REFRESH_TICKS
        self._first: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._second: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def forget(self) -> None:
        """Drops the pairs; to be called whenever a cell is added or removed."""
        self._age_ticks = _REFRESH_TICKS

    def pairs(self, place: F64, reach_px: F64) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of both cells of each near pair.

        Args:
            place: (N, 2) float64 centres, px.
            reach_px: (N,) float64 radii, px.
        """
        if self._age_ticks >= _REFRESH_TICKS:
            self._age_ticks = 0
            x, y = place.T.astype(np.float32)
            r = (1.5 * reach_px).astype(np.float32)
            dx, dy, near = x[:, None] - x, y[:, None] - y, r[:, None] + r
            self._first, self._second = np.nonzero(np.triu(dx * dx + dy * dy < near * near, 1))
        self._age_ticks += 1
        return self._first, self._second


def push_apart(neighbours: Neighbours, place: F64, reach_px: F64, angle: F64, stretch: F64) -> F64:
    """Velocities that part overlapping cells.

    Args:
        neighbours: Pair finder of these cells.
        place: (N, 2) float64 centres, px.
        reach_px: (N,) float64 mean radii, px.
        angle: (N,) float64 directions of the long axes, radians.
        stretch: (N,) float64 logs of long half-axis over mean radius.

    Returns:
        (N, 2) float64 velocities in px per second.
    """
    push = np.zeros_like(place)
    if len(place) < 2:
        return push
    first, second = neighbours.pairs(place, reach_px)
    if not first.size:
        return push
    gap = place[second] - place[first]
    apart = np.hypot(gap[:, 0], gap[:, 1]) + 1e-6
    toward = np.arctan2(gap[:, 1], gap[:, 0])
    touch = np.zeros_like(apart)
    for side in (first, second):
        turn = toward - angle[side]
        long = np.exp(stretch[side])
        touch += reach_px[side] / np.hypot(np.cos(turn) / long, np.sin(turn) * long)
    overlap = np.clip(1.04 * touch - apart, 0.0, None)
    force = (0.5 * _STIFFNESS_PER_S * overlap / apart)[:, None] * gap
    np.add.at(push, first, -force)
    np.add.at(push, second, force)
    return push


class Steering:
    """Chooses every cell's velocity, tick by tick.

    Args:
        spec: The film.
        rng: Source of randomness, shared with the colony.

    Attributes:
        closed: Whether cells are turned back at the edge of the view.
    """

    def __init__(self, spec: CellFilmSpec, rng: np.random.Generator) -> None:
        self._spec = spec
        self._rng = rng
        self.closed = not spec.enter_leave
        # A two-dimensional normal walk of this deviation has the asked mean speed.
        self._sigma_px_s = spec.speed_px_s / math.sqrt(math.pi / 2.0)
        self._neighbours = Neighbours()

    def forget(self) -> None:
        """Drops what is known of neighbours; to be called when cells are added or removed."""
        self._neighbours.forget()

    def drawn_velocity(self) -> F64:
        """A velocity of a cell that has drifted for long, (2,) float64 px per second."""
        return self._rng.standard_normal(2) * self._sigma_px_s

    def steer(self, state: F64, time_s: float) -> None:
        """Sets each cell's velocity for the coming tick, in place.

        Args:
            state: (N, COLUMNS) float64 table of living cells.
            time_s: Time of the tick in seconds.
        """
        keep = math.exp(-TICK_S / _MEMORY_S)
        kick = self._sigma_px_s * math.sqrt(1.0 - keep * keep)
        drawn = self._rng.standard_normal((len(state), 2))
        steered = (state[:, ENTERED] > 0) & (state[:, LEAVING] == 0)
        fresh = state[:, [VX, VY]] * keep + kick * state[:, [VIGOUR]] * drawn
        state[:, [VX, VY]] = np.where(steered[:, None], fresh, state[:, [VX, VY]])
        radius = radius_px(state, time_s)
        dividing = np.isfinite(state[:, DIVIDE_AT_S])
        spent_s = np.where(dividing, time_s - state[:, DIVIDE_AT_S], 0.0)
        reach = radius * (1.0 + 0.4 * np.clip((spent_s - ROUND_S) / (DIVIDE_S - ROUND_S), 0, 1))
        long = np.where(dividing, 0.0, state[:, STRETCH])
        push = push_apart(self._neighbours, state[:, [X, Y]], reach, state[:, ANGLE], long)
        state[:, [VX, VY]] += np.where(steered[:, None], push * (1.2 * TICK_S), 0.0)
        slow = np.where(dividing, 0.35, 1.0)[:, None]
        move = state[:, [VX, VY]] * slow + push
        penned = np.ones(len(state), dtype=bool) if self.closed else dividing
        self._pen(state, move, reach, penned)
        self._see_off(state, move)
        state[:, [MX, MY]] = move

    def _pen(self, state: F64, move: F64, reach: F64, penned: NDArray[np.bool_]) -> None:
        """Turns penned cells back before the edge of the view."""
        for axis, side_px in ((0, self._spec.width), (1, self._spec.height)):
            place = state[:, X + axis]
            edge = np.minimum(1.1 * reach, 0.45 * side_px)
            inward = np.clip(edge - place, 0, None) - np.clip(place - side_px + edge, 0, None)
            hit = penned & (inward != 0) & (move[:, axis] * inward < 0)
            move[hit, axis] = 0.0
            state[hit, VX + axis] *= 0.9
            move[:, axis] += np.where(penned, np.clip(2.0 * inward, -60.0, 60.0), 0.0)

    def _see_off(self, state: F64, move: F64) -> None:
        """Keeps cells that are on their way out going out, so that none comes back."""
        spec = self._spec
        if not state[:, LEAVING].any():
            return
        least = max(0.7 * spec.speed_px_s, 8.0)
        for axis, side_px in ((0, spec.width), (1, spec.height)):
            place, speed = state[:, X + axis], move[:, axis]
            low = (state[:, LEAVING] > 0) & (place < 0)
            high = (state[:, LEAVING] > 0) & (place > side_px)
            move[:, axis] = np.where(low, np.minimum(speed, -least), move[:, axis])
            move[:, axis] = np.where(high, np.maximum(speed, least), move[:, axis])
