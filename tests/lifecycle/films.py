"""Scripted films of moving boxes, a tracker that follows them, and a detector that answers late.

Nothing here is a model: who is where, what the detector says and when it says so are written down,
so that every birth and every death can be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stream.config import LifecycleConfig
from stream.frame import Detection
from stream.lifecycle import Changes, Tracks

SIDE = 64
FPS = 10.0
Path = Callable[[int], tuple[float, float]]


def still(x: float, y: float) -> Path:
    """A box that stays."""
    return lambda _: (x, y)


def moving(x: float, y: float, dx: float, dy: float = 0.0) -> Path:
    """A box that moves by so many pixels a frame."""
    return lambda step: (x + dx * step, y + dy * step)


@dataclass
class Box:
    """One thing in a film; later ones are in front of earlier ones."""

    name: str
    path: Path
    size: tuple[int, int] = (10, 10)
    shown: tuple[int, int] = (0, 10**6)
    """First step, and the step after the last."""
    label: str = "cell"
    score: float = 0.8
    missed: set[int] = field(default_factory=set)
    """Steps in which the detector does not see it."""
    part_of: str = ""
    """What it was before it split off: who followed that follows this as well."""
    says: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Label and score in single steps."""
    wall: bool = False
    """In front of things, and nothing that anybody asks for."""
    looks: int | None = None
    """Direction of its embedding; None: it has none."""

    def mask(self, step: int) -> np.ndarray:
        """(SIDE, SIDE) bool, without regard to what is in front."""
        out = np.zeros((SIDE, SIDE), bool)
        if self.shown[0] <= step < self.shown[1]:
            x, y = (round(v) for v in self.path(step))
            width, height = self.size
            out[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = True
        return out

    def detection(self, step: int, mask: np.ndarray) -> Detection:
        """What the detector says of it."""
        label, score = self.says.get(step, (self.label, self.score))
        embedding = None
        if self.looks is not None:
            embedding = np.zeros(8, np.float32)
            embedding[self.looks] = 1.0
        return Detection(step, label, score, mask, (0, 0, 1, 1), (0, 0), embedding)


@dataclass
class Play:
    """A film run through the books.

    Args:
        boxes: What is in it.
        every: Frames from one detection to the next.
        late: Frames after which a detection is answered.
    """

    boxes: list[Box]
    every: int = 4
    late: int = 0
    max_objects: int = 10
    rules: LifecycleConfig = field(default_factory=LifecycleConfig)

    def __post_init__(self) -> None:
        self.tracks = Tracks(self.rules, self.max_objects)
        self.log: list[tuple[int, str, int]] = []
        """(step, what happened, track id)."""
        self.follows: dict[int, set[str]] = {}
        self.step = 0
        self._pending: tuple[int, list[Detection]] | None = None
        self._last = -(10**6)
        self._shown: set[int] = set()

    def visible(self, step: int) -> dict[str, np.ndarray]:
        """Mask by name, less what is in front."""
        out = {box.name: box.mask(step) for box in self.boxes}
        for back, box in enumerate(self.boxes):
            for front in self.boxes[back + 1 :]:
                out[box.name] &= ~front.mask(step)
        return out

    def run(self, steps: int) -> Play:
        """Go on for so many frames."""
        for _ in range(steps):
            if self._pending is None and self.step - self._last >= self.every:
                self._pending = self.step, self._see(self.step)
                self._last = self.step
            if self._pending is not None and self.step - self._pending[0] >= self.late:
                asked, found = self._pending
                self._pending = None
                self._obey(asked, found, self.tracks.detected(asked, found))
            self._track()
            self.step += 1
        return self

    def ids(self) -> dict[str, int]:
        """Id by name of what a confirmed track follows now."""
        return {
            name: track_id
            for track_id, names in self.follows.items()
            if self.tracks.tracks[track_id].confirmed
            for name in names
        }

    def happened(self, *kinds: str) -> list[tuple[int, str, int]]:
        """The log, of these kinds only."""
        return [entry for entry in self.log if entry[1] in kinds]

    def _see(self, step: int) -> list[Detection]:
        masks = self.visible(step)
        found = [
            box.detection(step, masks[box.name])
            for box in self.boxes
            if not box.wall and step not in box.missed and masks[box.name].sum() >= 20
        ]
        return sorted(found, key=lambda d: -d.score)

    def _obey(self, asked: int, found: list[Detection], changes: Changes) -> None:
        for track_id in changes.removed:
            del self.follows[track_id]
            self.log.append((self.step, "removed", track_id))
        masks = self.visible(asked)
        for kind, prompts in (("restarted", changes.restarted), ("born", changes.born)):
            for track_id, row in prompts.items():
                mask = found[row].mask
                inside = [n for n, m in masks.items() if m.any() and (m & mask).sum() > m.sum() / 2]
                self.follows[track_id] = set(inside)
                came_back = track_id in changes.recognised
                self.log.append((self.step, "recognised" if came_back else kind, track_id))

    def _track(self) -> None:
        masks = self.visible(self.step)
        for names in self.follows.values():
            names |= {b.name for b in self.boxes if b.part_of in names and masks[b.name].any()}
        none = np.zeros((SIDE, SIDE), bool)
        given = {i: sum((masks[n] for n in names), none) for i, names in self.follows.items()}
        scores = {i: 5.0 if mask.any() else -5.0 for i, mask in given.items()}
        for track_id in self.tracks.stepped(self.step, self.step / FPS, given, scores):
            del self.follows[track_id]
            self.log.append((self.step, "ended", track_id))
        shown = {i for i, track in self.tracks.tracks.items() if track.confirmed}
        self.log += [(self.step, "confirmed", i) for i in sorted(shown - self._shown)]
        self._shown |= shown
