"""The SAM2 side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from stream.config.kinds import Backend, Fraction, Section


class MemoryConfig(Section):
    """How much the tracker remembers of each object; null: what the model was made for."""

    conditioning: Annotated[int, Field(ge=1)] | None = None
    """Frames with a prompt: the first is kept, then the newest."""
    recent_frames: Annotated[int, Field(ge=1, le=6)] | None = None
    recent_pointers: Annotated[int, Field(ge=0, le=15)] | None = None
    stride: Annotated[int, Field(ge=1)] = 1
    """Remember every such frame, and the last."""
    pool: Literal[1, 2] = 1
    """2: memories are averaged over squares of 2 x 2 tokens. Not beside `window`."""
    late_frames: Annotated[int, Field(ge=1, le=1000)] = 32
    """Frames gone by that a detection can still be about; their features are kept."""


class WindowConfig(Section):
    """Look for an object near where it was; in the whole frame when it is not found there."""

    margin: Annotated[float, Field(gt=0.0)] = 0.5
    """Room left around the last mask on each side, in sizes of the mask."""
    min_score: float = 0.0
    """Object score (logit) below which the whole frame is searched."""
    min_iou: Fraction = 0.3
    """Predicted IoU below which the whole frame is searched."""
    least_tokens: Annotated[int, Field(ge=2)] = 8
    """Smallest side of what is looked at, in tokens of 16 pixels of the model's input."""


class CalmConfig(Section):
    """Step objects that hardly move less often."""

    min_iou: Fraction = 0.9
    """IoU of the last two masks from which an object counts as calm."""
    every: Annotated[int, Field(ge=2)] = 2


class TrackerConfig(Section):
    """The SAM2 side."""

    model: str = "micro"
    weights: str | None = None
    """A local path, a hub id, `random:SEED`, or null for the model's own default."""
    image_size: Annotated[int, Field(ge=64, multiple_of=32)] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the processor computes it in hardware, else fp32."""
    backend: Backend = "auto"
    """What runs the networks: `auto` is the fastest that `maskcast export` wrote for them, else
    torch."""
    engines: Path | None = None
    """Folder that `maskcast export` wrote; null: where it puts them."""
    device: str = "cpu"
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads for the networks; null: all cores but the detector's, one at least."""
    max_objects: Annotated[int, Field(ge=1, le=1000)] = 32
    non_overlap: bool | None = None
    """Give a pixel that several objects claim to the surest; null: `micro` does, the others not."""
    one_piece: bool | None = None
    """Keep the largest connected piece of a mask only; null: `micro` does, the others not."""
    fill_holes_px: Annotated[int, Field(ge=0)] = 0
    """Fill holes of at most this area, in pixels of a quarter of the image size."""
    drop_specks_px: Annotated[int, Field(ge=0)] = 0
    """Drop pieces of at most this area."""
    smooth: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Weight of the last mask where an object hardly moves, against flicker."""
    refine: bool | None = None
    """Draw the edges of published masks again at the scale of each object. Needs weights with a
    refiner, such as those of `micro`, whose refiner knows cells and simple shapes. null: not in
    films, whose frames come in time; in pictures that stand alone where there is a refiner."""
    replay_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of single objects that a late detection may cost to bring its objects exactly up to
    now; above it they jump there. 0: always jump."""
    memory: MemoryConfig = MemoryConfig()
    window: WindowConfig | None = None
    calm: CalmConfig | None = None
