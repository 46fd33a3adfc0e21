"""The worst frames of an evaluation, kept with their pictures while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.evaluate.layers import Labels, label_map
from stream.evaluate.regions import Ids
from stream.frame import TrackedObject

MOST_SHOTS: Final = 6
APART_FRAMES: Final = 10
"""Neighbouring frames look alike: of so many only the worst is kept."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame with its truth and its result."""

    quality: float
    """In [0, 1]."""
    title: str
    true: int
    found: int
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    truth: Ids
    result: Labels


class WorstShots:
    """Keeps the frames of the lowest quality; bounded, whatever is offered.

    Args:
        apart: Whether frames of one group follow each other, as in a film.
    """

    def __init__(self, apart: bool) -> None:
        self._apart = apart
        self._kept: dict[tuple[str, int], Shot] = {}

    def offer(
        self,
        group: str,
        index: int,
        quality: float,
        title: str,
        image: npt.NDArray[np.uint8],
        truth: Ids,
        objects: Sequence[TrackedObject],
    ) -> None:
        """Take a frame if it is worse than one that is kept."""
        place = (group, index // APART_FRAMES if self._apart else index)
        before = self._kept.get(place)
        if before is not None and before.quality <= quality:
            return
        full = before is None and len(self._kept) >= MOST_SHOTS
        if full and quality >= max(shot.quality for shot in self._kept.values()):
            return
        true = len(np.unique(truth[truth > 0]))
        result = label_map(objects, truth.shape[:2])
        self._kept[place] = Shot(quality, title, true, len(objects), image, truth, result)
        if full:
            best = max(self._kept, key=lambda key: self._kept[key].quality)
            del self._kept[best]

    def shots(self) -> list[Shot]:
        """Return what is kept, the worst first."""
        return sorted(self._kept.values(), key=lambda shot: shot.quality)
