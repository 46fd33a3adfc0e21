"""The life of the cells: who drifts where, enters, leaves and divides, on a fixed clock."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.synth.motion import Steering
from stream.synth.outline import Genes
from stream.synth.spec import F64, CellFilmSpec
from stream.synth.table import (
    ANGLE,
    BORN_S,
    COLUMNS,
    DIVIDE_AT_S,
    DIVIDE_S,
    ENTERED,
    LEAVING,
    MX,
    MY,
    R0,
    R1,
    ROUND_S,
    SETTLE_S,
    SPIN,
    STRETCH,
    TICK_S,
    VIGOUR,
    VX,
    VY,
    Cell,
    Pose,
    X,
    Y,
    ease,
    outside_px,
    radius_px,
)

_REST_S: Final = 9.0
_ENTER_PER_S: Final = 0.8
_LAST_ID: Final = 65535


class Colony:
    """All cells of a film, advanced in equal ticks so that paths do not depend on the fps."""

    def __init__(self, spec: CellFilmSpec) -> None:
        self._spec = spec
        self._rng = np.random.default_rng([spec.seed, 11])
        self._mean_px = spec.mean_diameter_px() / 2.0
        self._cap = math.ceil(1.5 * spec.objects)
        # Whole cells are more uneven than nuclei.
        self._wobble = {"fluo": 0.9, "mixed": 1.0, "phase": 1.5, "bright": 1.1}[spec.look]
        self._ticks = 0
        self._next_id = 1
        self._steering = Steering(spec, self._rng)
        self.cells: list[Cell] = []
        self.parents: dict[int, int] = {}
        self._state: F64 = np.empty((0, COLUMNS))
        self._settle_first()

    @property
    def time_s(self) -> float:
        """Time of the last tick in seconds."""
        return self._ticks * TICK_S

    def advance(self, time_s: float) -> None:
        """Runs all ticks up to `time_s`."""
        while (self._ticks + 1) * TICK_S <= time_s + 1e-9:
            self._tick()

    def poses(self, time_s: float) -> list[Pose]:
        """Poses of all cells, oldest first, at `time_s` within the current tick."""
        rest_s = max(time_s - self.time_s, 0.0)
        radius = radius_px(self._state, time_s)
        poses = []
        for cell, row, mean_px in zip(self.cells, self._state, radius, strict=True):
            calm = mitosis = pinch = 0.0
            if cell.born_by_division:
                age = (time_s - row[BORN_S]) / SETTLE_S
                calm = mitosis = 1.0 - ease(age)
            if math.isfinite(row[DIVIDE_AT_S]):
                spent_s = time_s - row[DIVIDE_AT_S]
                calm = mitosis = max(calm, ease(spent_s / ROUND_S))
                pinch = ease((spent_s - ROUND_S) / (DIVIDE_S - ROUND_S))
            poses.append(
                Pose(
                    cell=cell,
                    x_px=float(row[X] + row[MX] * rest_s),
                    y_px=float(row[Y] + row[MY] * rest_s),
                    radius_px=float(mean_px),
                    angle=float(row[ANGLE] + row[SPIN] * rest_s),
                    stretch=float(row[STRETCH]),
                    calm=calm,
                    pinch=pinch,
                    mitosis=mitosis,
                )
            )
        return poses

    def _settle_first(self) -> None:
        spec, rng = self._spec, self._rng
        taken = np.empty((0, 2))
        for _ in range(spec.objects):
            size_px = self._drawn_radius_px()
            edge_px = min(1.15 * size_px, 0.4 * min(spec.width, spec.height))
            high = (spec.width - edge_px, spec.height - edge_px)
            tries = rng.uniform((edge_px, edge_px), high, (24, 2))
            if len(taken):
                gap = np.hypot(*(tries[:, None] - taken[None]).transpose(2, 0, 1)).min(axis=1)
                # The first place with room, not the emptiest, leaves natural clusters.
                room = gap > 2.3 * self._mean_px
                place = tries[int(room.argmax()) if room.any() else int(gap.argmax())]
            else:
                place = tries[0]
            taken = np.vstack([taken, place])
            born_s = -float(rng.uniform(_REST_S, 60.0))
            self._add(place, self._steering.drawn_velocity(), size_px, size_px, born_s)
        self._steering.steer(self._state, self.time_s)

    def _tick(self) -> None:
        state = self._state
        state[:, [X, Y]] += state[:, [MX, MY]] * TICK_S
        state[:, ANGLE] += state[:, SPIN] * TICK_S
        self._ticks += 1
        self._split()
        self._start_divisions()
        if self._spec.enter_leave:
            self._leave()
            self._enter()
        self._steering.steer(self._state, self.time_s)

    def _leave(self) -> None:
        state = self._state
        outside = outside_px(self._state, self._spec.width, self._spec.height)
        radius = radius_px(self._state, self.time_s)
        state[outside < 0.0, ENTERED] = 1.0
        state[(outside > 0.3 * radius) & (state[:, ENTERED] > 0), LEAVING] = 1.0
        reach = radius * np.exp(1.3 * state[:, STRETCH]) * 1.3 + 2.0
        gone = (outside > reach) & (state[:, LEAVING] > 0)
        gone |= outside > 4.0 * radius + 20.0
        if gone.any():
            self._keep(~gone)

    def _enter(self) -> None:
        spec, rng = self._spec, self._rng
        chance = float(rng.random())
        missing = spec.objects - int((self._state[:, LEAVING] == 0).sum())
        if chance >= missing * _ENTER_PER_S * TICK_S or spec.speed_px_s == 0.0:
            return
        # Ids already promised to daughters are not handed out.
        if self._next_id + 2 * self._dividing() > _LAST_ID:
            # With no new cells to come, those in view stay.
            self._steering.closed = True
            return
        size_px = self._drawn_radius_px()
        away_px = 1.9 * size_px
        size = np.array([spec.width, spec.height], dtype=float)
        place = rng.uniform(0.0, 1.0, 2) * size
        axis = int(rng.random() < spec.width / (spec.width + spec.height))
        place[axis] = -away_px if rng.random() < 0.5 else size[axis] + away_px
        gap = rng.uniform(0.2, 0.8, 2) * size - place
        heading = math.atan2(gap[1], gap[0])
        speed = spec.speed_px_s * float(rng.uniform(1.0, 1.6))
        velocity = speed * np.array([math.cos(heading), math.sin(heading)])
        born_s = self.time_s - float(rng.uniform(_REST_S, 40.0))
        self._add(place, velocity, size_px, size_px, born_s, entered=False)

    def _start_divisions(self) -> None:
        spec, state = self._spec, self._state
        draws = self._rng.random(len(state))
        if spec.divide_per_min <= 0.0:
            return
        radius = radius_px(self._state, self.time_s)
        rested = self.time_s - state[:, BORN_S] > _REST_S
        inside = outside_px(self._state, self._spec.width, self._spec.height) < -1.2 * radius
        idle = ~np.isfinite(state[:, DIVIDE_AT_S]) & (state[:, LEAVING] == 0)
        ready = rested & inside & idle
        # The ready cells divide for all, so that the colony as a whole keeps the asked rate.
        share = min(len(state) / max(int(ready.sum()), 1), 5.0)
        due = ready & (draws < share * spec.divide_per_min / 60.0 * TICK_S)
        dividing = self._dividing()
        for index in np.flatnonzero(due):
            if len(state) + dividing >= self._cap or self._next_id + 2 * dividing + 1 > _LAST_ID:
                break
            state[index, DIVIDE_AT_S] = self.time_s
            dividing += 1

    def _dividing(self) -> int:
        return int(np.isfinite(self._state[:, DIVIDE_AT_S]).sum())

    def _split(self) -> None:
        state = self._state
        done = np.flatnonzero(state[:, DIVIDE_AT_S] + DIVIDE_S <= self.time_s + 1e-9)
        if not done.size:
            return
        radius = radius_px(self._state, self.time_s)
        for index in done:
            row, mother = state[index].copy(), self.cells[index]
            axis = np.array([math.cos(row[ANGLE]), math.sin(row[ANGLE])])
            small_px = float(radius[index]) / math.sqrt(2.0)
            for side in (-1.0, 1.0):
                place = row[[X, Y]] + side * small_px * axis
                velocity = row[[VX, VY]] * 0.35 + side * axis * 0.30 * small_px
                grown_px = 0.5 * (self._drawn_radius_px() + self._mean_px)
                self.parents[self._next_id] = mother.id
                self._add(
                    place,
                    velocity,
                    small_px,
                    max(grown_px, small_px),
                    self.time_s,
                    angle=float(row[ANGLE]),
                    divided=True,
                )
        gone = np.ones(len(self._state), dtype=bool)
        gone[done] = False
        self._keep(gone)

    def _add(
        self,
        place: F64,
        velocity: F64,
        r0_px: float,
        r1_px: float,
        born_s: float,
        angle: float | None = None,
        divided: bool = False,
        entered: bool = True,
    ) -> None:
        rng = self._rng
        row = np.zeros(COLUMNS)
        row[[X, Y]], row[[VX, VY]] = place, velocity
        row[ANGLE] = rng.uniform(-math.pi, math.pi) if angle is None else angle
        row[SPIN] = rng.normal(0.0, 0.10)
        row[BORN_S], row[R0], row[R1] = born_s, r0_px, r1_px
        row[STRETCH] = rng.uniform(0.04, 0.22)
        row[VIGOUR] = rng.uniform(0.6, 1.4)
        row[DIVIDE_AT_S] = math.inf
        row[ENTERED] = float(entered)
        self._state = np.vstack([self._state, row])
        self.cells.append(Cell(self._next_id, Genes.drawn(rng, self._wobble), divided))
        self._next_id += 1
        self._steering.forget()

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        self._state = self._state[kept]
        self.cells = [cell for cell, stays in zip(self.cells, kept, strict=True) if stays]
        self._steering.forget()

    def _drawn_radius_px(self) -> float:
        return self._mean_px * float(np.clip(self._rng.normal(1.0, 0.13), 0.75, 1.25))
