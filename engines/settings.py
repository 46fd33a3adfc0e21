"""What a tracker is told at its start: how much it remembers, and what it may leave out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is remembered; the defaults are SAM2.1's own, with conditioning bounded."""

    conditioning: int | None = 4
    """Prompted frames of an object: the first is kept, then the newest. None keeps them all, as the
    official predictor does; memory then grows with every prompt."""
    recent_frames: int = 6
    """Spatial memories of the frames before this one, at most the model's own six."""
    recent_pointers: int = 15
    """Object pointers of the frames before this one."""
    stride: int = 1
    """Remember every stride-th frame, and the last (`memory_temporal_stride_for_eval`)."""
    late_frames: int = 16
    """Frames gone by for which a prompt can still come; their features are kept."""

    def __post_init__(self) -> None:
        _at_least("conditioning", self.conditioning, 1)
        _at_least("recent_frames", self.recent_frames, 1)
        _at_least("recent_pointers", self.recent_pointers, 0)
        _at_least("stride", self.stride, 1)
        _at_least("late_frames", self.late_frames, 0)

    @property
    def lookback(self) -> int:
        """How many frames back the oldest spatial memory can lie that a frame attends to."""
        return self.stride * self.recent_frames + 1 if self.stride > 1 else self.recent_frames


@dataclass(frozen=True, slots=True)
class Window:
    """Look for an object near where it was; in the whole frame when it is not found there."""

    margin: float = 0.5
    """Room left around the last mask on each side, in sizes of the mask."""
    min_score: float = 0.0
    """Object score (logit) below which the whole frame is searched."""
    min_iou: float = 0.3
    """Predicted IoU below which the whole frame is searched."""
    least_tokens: int = 8
    """Smallest side of what is looked at, in tokens of 16 pixels of the model's input."""

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ValueError(f"window margin is {self.margin}; it must be above 0")
        _at_least("window least_tokens", self.least_tokens, 2)


@dataclass(frozen=True, slots=True)
class Calm:
    """Step objects that hardly move less often."""

    min_iou: float = 0.9
    """IoU of the last two masks from which an object counts as calm."""
    every: int = 2
    """A calm object is stepped in every such frame and keeps its mask in between."""

    def __post_init__(self) -> None:
        _at_least("calm every", self.every, 2)


@dataclass(frozen=True, slots=True)
class Savings:
    """What may be left out for speed; each changes results, so all are off by default."""

    pool: int = 1
    """Keys and values of memories are averaged over squares of this side, 1 or 2."""
    window: Window | None = None
    calm: Calm | None = None

    def __post_init__(self) -> None:
        if self.pool not in (1, 2):
            raise ValueError(f"pool is {self.pool}; accepted are 1 and 2")
        if self.pool > 1 and self.window is not None:
            # Measured: a few pooled tokens around a small object are too little to find it by.
            raise ValueError(f"pool {self.pool} beside a window loses small objects; choose one")


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What is done to masks after the model; all off by default, as parity asks.

    The first two go into memories too, the others into what is shown only. Areas are in pixels of
    the low-resolution logits, a quarter of the image size.
    """

    non_overlap: bool = False
    """Give a pixel that several objects claim to the surest, in masks and in memories."""
    one_piece: bool = False
    """Keep the largest connected piece of a mask only, for objects such as cells."""
    fill_holes_px: int = 0
    """Holes of at most this area are filled."""
    drop_specks_px: int = 0
    """Pieces of at most this area are dropped."""
    smooth: float = 0.0
    """Weight of the last shown mask where an object hardly moves; memories are not smoothed."""

    def __post_init__(self) -> None:
        _at_least("fill_holes_px", self.fill_holes_px, 0)
        _at_least("drop_specks_px", self.drop_specks_px, 0)
        if not 0.0 <= self.smooth < 1.0:
            raise ValueError(f"smooth is {self.smooth}; accepted is 0 up to, but not, 1")


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ValueError(f"{name} is {value}; at least {least} is needed")
