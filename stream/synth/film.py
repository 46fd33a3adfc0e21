"""The film itself: colony, coats, painter and camera, frame by frame."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from stream.synth.camera import Camera
from stream.synth.coats import Coat, Wardrobe
from stream.synth.colony import Colony
from stream.synth.fields import draw_background, illumination
from stream.synth.painter import Focus, Painted, paint
from stream.synth.spec import U16, CellFilmSpec, FilmFrame
from stream.synth.table import Pose

MIN_VISIBLE_PX: Final = 60
MIN_VISIBLE_SHARE: Final = 0.25


class CellFilm:
    """An endless microscope film with true masks and ids.

    Args:
        spec: What to draw. Two films of equal specs are equal byte for byte.
    """

    def __init__(self, spec: CellFilmSpec) -> None:
        self.spec = spec
        rng = np.random.default_rng([spec.seed, 71])
        fall = {"fluo": 0.34, "mixed": 0.34, "phase": 0.16, "bright": 0.10}[spec.look]
        self._lit = illumination(rng, spec.height, spec.width, fall)
        self._background = draw_background(spec, rng, self._lit)
        self._canvas = np.empty_like(self._background)
        self._colony = Colony(spec)
        self._camera = Camera(spec)
        self._wardrobe = Wardrobe(spec)
        self._coats: dict[int, Coat] = {}
        self._seen: set[int] = set()
        self._areas_px: dict[int, float] = {}
        self._index = 0

    @property
    def ever(self) -> int:
        """Number of distinct cells seen so far.

        A cell counts from the first frame in which at least MIN_VISIBLE_PX pixels and
        MIN_VISIBLE_SHARE of its own area are visible.
        """
        return len(self._seen)

    def parents(self) -> dict[int, int]:
        """Daughter id to mother id for all divisions completed so far."""
        return dict(self._colony.parents)

    def areas_px(self) -> dict[int, float]:
        """Whole outline areas in px, hidden parts included, of the cells last drawn, by id."""
        return dict(self._areas_px)

    def frame(self) -> FilmFrame:
        """Draws the next frame."""
        spec = self.spec
        time_s = self._index / spec.fps
        self._colony.advance(time_s)
        poses = self._colony.poses(time_s)
        lamp = self._camera.lamp(time_s)
        np.multiply(self._background, np.float32(lamp), out=self._canvas)
        ids: U16 = np.zeros((spec.height, spec.width), dtype=np.uint16)
        drawn: list[Painted] = []
        for pose in poses:
            done = paint(
                self._canvas,
                ids,
                pose,
                self._coat(pose),
                self._focus(pose, time_s),
                lamp * self._light_at(pose),
                time_s,
            )
            if done is not None:
                drawn.append(done)
        self._note(drawn, ids, {pose.cell.id for pose in poses})
        image = self._camera.shoot(self._canvas)
        frame = FilmFrame(self._index, time_s, image, ids)
        self._index += 1
        return frame

    def skip(self, frames: int) -> None:
        """Lets the time of some frames pass without drawing them; cells live on meanwhile."""
        self._index += frames

    def _coat(self, pose: Pose) -> Coat:
        cell_id = pose.cell.id
        coat = self._coats.get(cell_id)
        if coat is None:
            family_id = cell_id
            while family_id in self._colony.parents:
                family_id = self._colony.parents[family_id]
            coat = self._coats[cell_id] = self._wardrobe.coat(cell_id, family_id)
        return coat

    def _focus(self, pose: Pose, time_s: float) -> Focus:
        # Each cell sits at its own depth, so focus drifts sharpen some and soften others.
        depth = math.sin(2.399 * pose.cell.id)
        error = abs(0.55 * depth + 0.6 * self._camera.blur(time_s))
        soft_px = 1.6 + min(1.0, pose.radius_px / 20.0) * 2.2 * error
        return Focus(soft_px=soft_px, contrast=1.0 - 0.40 * min(error, 1.0))

    def _light_at(self, pose: Pose) -> float:
        y = min(max(int(pose.y_px), 0), self.spec.height - 1)
        x = min(max(int(pose.x_px), 0), self.spec.width - 1)
        return float(self._lit[y, x])

    def _note(self, drawn: list[Painted], ids: U16, alive: set[int]) -> None:
        self._areas_px = {done.id: done.area_px for done in drawn}
        for done in drawn:
            if done.id in self._seen:
                continue
            visible_px = int((ids[done.rows, done.columns] == done.id).sum())
            if visible_px >= max(MIN_VISIBLE_PX, MIN_VISIBLE_SHARE * done.area_px):
                self._seen.add(done.id)
        if len(self._coats) > 2 * len(alive) + 8:
            self._coats = {key: coat for key, coat in self._coats.items() if key in alive}


def draw_frames(spec: CellFilmSpec, n: int) -> list[FilmFrame]:
    """Draws the first `n` frames of a film."""
    film = CellFilm(spec)
    return [film.frame() for _ in range(n)]
