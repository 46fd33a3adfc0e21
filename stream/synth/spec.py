"""What a synthetic film is asked to be, and what one of its frames holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LOOKS: Final = ("fluo", "phase", "bright", "mixed")
MAX_OBJECTS: Final = 500
MIN_SIDE_PX: Final = 32
MAX_SIDE_PX: Final = 8192
MIN_DIAMETER_PX: Final = 6.0

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CellFilmSpec:
    """Everything that decides a film; two equal specs give byte-equal films.

    Attributes:
        objects: Cells at the beginning, 0 to 500.
        width: Frame width in px.
        height: Frame height in px.
        fps: Frames per second. The same cells move along the same paths at every rate.
        seed: Which film of this kind, 0 or more.
        look: "fluo" (bright nuclei on dark), "phase" (phase contrast), "bright" (stained cells
            on a bright field) or "mixed" (fluorescent cells of several kinds in one film).
        bits: 8 for (H, W, 3) uint8 RGB, 16 for (H, W) uint16 camera counts.
        diameter_px: Mean cell diameter in px, spread 25 % either way; None chooses one that
            suits the frame size and the number of cells.
        speed_px_s: Mean drift in px per second.
        divide_per_min: Expected divisions per cell and minute.
        enter_leave: Whether cells may drift out of view and new ones drift in.
        noise: Camera noise multiplier; 0 gives a clean film.

    Raises:
        ValueError: When a value is outside its accepted range.
    """

    objects: int = 12
    width: int = 640
    height: int = 480
    fps: float = 30.0
    seed: int = 0
    look: str = "fluo"
    bits: int = 8
    diameter_px: float | None = None
    speed_px_s: float = 20.0
    divide_per_min: float = 1.0
    enter_leave: bool = True
    noise: float = 1.0

    def __post_init__(self) -> None:
        _whole("objects", self.objects, 0, MAX_OBJECTS)
        _whole("width", self.width, MIN_SIDE_PX, MAX_SIDE_PX)
        _whole("height", self.height, MIN_SIDE_PX, MAX_SIDE_PX)
        _real("fps", self.fps, 0.1, 1000.0)
        _whole("seed", self.seed, 0, 2**32 - 1)
        if self.look not in LOOKS:
            raise ValueError(f"look={self.look!r} is not one of {', '.join(LOOKS)}")
        if self.bits not in (8, 16):
            raise ValueError(f"bits={self.bits!r} is not one of 8, 16")
        if self.diameter_px is not None:
            most_px = float(min(self.width, self.height))
            _real("diameter_px", self.diameter_px, MIN_DIAMETER_PX, most_px)
        _real("speed_px_s", self.speed_px_s, 0.0, 1000.0)
        _real("divide_per_min", self.divide_per_min, 0.0, 10.0)
        _real("noise", self.noise, 0.0, 10.0)

    def mean_diameter_px(self) -> float:
        """Mean cell diameter in px: the given one, or one that suits size and count."""
        if self.diameter_px is not None:
            return self.diameter_px
        side_px = math.sqrt(self.width * self.height / (640.0 * 480.0))
        wanted_px = 52.0 * side_px * math.pow(12.0 / max(self.objects, 1), 0.35)
        return min(max(wanted_px, 12.0), 0.2 * min(self.width, self.height))


@dataclass(frozen=True, slots=True)
class FilmFrame:
    """One frame with its truth.

    Attributes:
        index: Frame number, from 0.
        time_s: Time of the frame in seconds from the film's beginning, index / fps.
        image: (H, W, 3) uint8 RGB, or (H, W) uint16 counts for 16-bit films.
        ids: (H, W) uint16, the id of the cell visible at each pixel, 0 for background.
    """

    index: int
    time_s: float
    image: U8 | U16
    ids: U16


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} is not a whole number from {low} to {high}")


def _real(name: str, value: object, low: float, high: float) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise ValueError(f"{name}={value!r} is not a number from {low:g} to {high:g}")
