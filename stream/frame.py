"""What travels: frames in, detections between, masks out. A leaf that needs NumPy only.

Each type checks itself when it is made and prints shapes, not pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
BoolMask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]
State = Literal["tentative", "confirmed", "hidden", "lost"]

STATES: tuple[str, ...] = get_args(State)


def check_image(image: np.ndarray) -> None:
    """Check that an array is an image that maskcast accepts.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.

    Raises:
        ValueError: Any other shape or dtype, or an empty image.
    """
    colour = image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
    gray = image.ndim == 2 and image.dtype in (np.uint8, np.uint16)
    if not (colour or gray) or 0 in image.shape:
        raise ValueError(
            f"image is {image.dtype} {image.shape}; accepted are (H, W, 3) uint8 RGB "
            "and (H, W) uint8 or uint16, not empty"
        )


@dataclass(slots=True)
class Frame:
    """One frame of one source."""

    index: int
    """Number of the frame in this run, from 0; dropped frames keep theirs."""
    image: Image
    """(H, W, 3) uint8 RGB or (H, W) uint8/uint16, as the source gave it."""
    pts_s: float
    """Presentation time in seconds, on the source's own clock."""
    captured_ns: int
    """`time.monotonic_ns()` when the frame was captured, or first seen where that is unknown."""
    source: str = ""
    """Name of the source, safe to print (no credentials)."""
    lost_before: int = 0
    """Frames that the source itself reports lost since the last one."""
    display: npt.NDArray[np.uint8] | None = None
    """(H, W, 3) uint8 RGB for models and eyes; None where `image` is that already."""
    levels: tuple[float, float] | None = None
    """(lo, hi) counts that 16-bit data were normalised with; None where they were not."""
    stamps: dict[str, int] = field(default_factory=dict)
    """`time.monotonic_ns()` at each hand-over, by step."""

    def __post_init__(self) -> None:
        check_image(self.image)
        if self.index < 0 or self.lost_before < 0:
            raise ValueError(
                f"index {self.index} and lost_before {self.lost_before} must be 0 or more"
            )
        if self.display is not None and self.display.shape != (*self.image.shape[:2], 3):
            raise ValueError(
                f"display is {self.display.shape}, image is {self.image.shape}: same H, W and 3 "
                "channels are needed"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB: what the models and the eyes get."""
        if self.display is not None:
            return self.display
        if self.image.dtype != np.uint8:
            raise ValueError(
                f"frame {self.index} is {self.image.dtype} and has no display image; "
                "normalise it before use"
            )
        if self.image.ndim == 3:
            return self.image.astype(np.uint8, copy=False)
        return np.repeat(self.image[:, :, None].astype(np.uint8, copy=False), 3, axis=2)

    def __repr__(self) -> str:
        return (
            f"Frame(index={self.index}, image={self.image.dtype}{self.image.shape}, "
            f"pts_s={self.pts_s:.3f}, source={self.source!r})"
        )


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that the detector saw in one frame."""

    frame_index: int
    label: str
    score: float
    """Calibrated, in [0, 1]."""
    mask: BoolMask
    """(h, w) at the detector's working resolution, covering the whole frame."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in frame pixels."""
    point: tuple[float, float]
    """x, y in frame pixels: a point inside the object."""
    embedding: npt.NDArray[np.float32] | None = None
    """(D,) unit length, in the CLIP space."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score is {self.score}; it must lie in [0, 1]")
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise ValueError(f"mask is {self.mask.dtype} {self.mask.shape}; (h, w) bool is needed")
        if not self.label.strip():
            raise ValueError("label is empty")

    def __repr__(self) -> str:
        box = tuple(round(v) for v in self.box)
        return f"Detection({self.label!r} {self.score:.2f} at {box}, mask={self.mask.shape})"


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """One object in one frame."""

    id: int
    label: str
    score: float
    state: State
    mask: BoolMask
    """(h, w) bool: the part of the frame inside `box`; (0, 0) where nothing is visible."""
    box: Box
    """x0, y0, x1, y1 in frame pixels, x1 and y1 exclusive; the mask's tight box."""
    area: int
    """Mask pixels."""
    parent: int | None = None
    """Id of the object that divided into this one and another."""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if self.mask.dtype != np.bool_ or self.mask.shape != (y1 - y0, x1 - x0):
            raise ValueError(
                f"object {self.id}: mask is {self.mask.dtype} {self.mask.shape}, its box "
                f"{self.box} asks for bool {(y1 - y0, x1 - x0)}"
            )
        if self.state not in STATES:
            raise ValueError(f"object {self.id}: state is {self.state!r}; accepted are {STATES}")

    def full(self, size: tuple[int, int]) -> BoolMask:
        """Return the mask on the whole frame.

        Args:
            size: (H, W) of the frame.
        """
        out = np.zeros(size, dtype=np.bool_)
        x0, y0, x1, y1 = self.box
        out[y0:y1, x0:x1] = self.mask
        return out

    def __repr__(self) -> str:
        return f"TrackedObject({self.id} {self.label!r} {self.state} {self.score:.2f} {self.box})"


@dataclass(slots=True)
class Masks:
    """The result for one frame."""

    frame_index: int
    size: tuple[int, int]
    """(H, W) of the frame in pixels."""
    pts_s: float
    captured_ns: int
    objects: tuple[TrackedObject, ...] = ()
    stamps: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    """Frames of this run that were not processed so far, by cause."""

    def __post_init__(self) -> None:
        height, width = self.size
        for item in self.objects:
            x0, y0, x1, y1 = item.box
            if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
                raise ValueError(f"object {item.id}: box {item.box} leaves the frame {self.size}")
        if len({item.id for item in self.objects}) != len(self.objects):
            raise ValueError(f"frame {self.frame_index}: an object id occurs twice")

    def __repr__(self) -> str:
        return f"Masks(frame {self.frame_index}, {len(self.objects)} objects, size={self.size})"


def crop_mask(mask: BoolMask) -> tuple[BoolMask, Box]:
    """Cut a frame-sized mask to its tight box.

    Args:
        mask: (H, W) bool.

    Returns:
        The (h, w) part and its box; an empty mask gives (0, 0) and (0, 0, 0, 0).
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return np.zeros((0, 0), dtype=np.bool_), (0, 0, 0, 0)
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    cols = np.flatnonzero(mask[y0:y1].any(axis=0))
    x0, x1 = int(cols[0]), int(cols[-1]) + 1
    return mask[y0:y1, x0:x1], (x0, y0, x1, y1)
