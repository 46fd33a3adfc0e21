"""What one tracked object remembers: bounded, whatever the length of the stream.

SAM2 (Ravi et al. 2024, arXiv 2408.00714) keeps every conditioning frame and every output. Here an
object keeps at most four conditioning frames (the first, then the newest), the spatial memories of
the last six frames and the pointers of the last fifteen (`Limits`), which is all that the official
predictor attends to once conditioning frames are limited.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from engines.attention import Projected


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an object remembers; the defaults are SAM2.1's own, with conditioning bounded."""

    conditioning: int = 4
    """Prompted frames: the first is kept, then the newest."""
    recent_frames: int = 6
    """Spatial memories of the frames before this one."""
    recent_pointers: int = 15
    """Object pointers of the frames before this one."""


@dataclass(slots=True)
class Spatial:
    """What is kept of one frame for attention."""

    raw: torch.Tensor
    """(S*S, M) bfloat16 as the memory encoder gave it."""
    projected: Projected | None = None
    """Keys and values, (L, S*S, D) each; None where they would take too much room."""


@dataclass(slots=True)
class Output:
    """The result for one object in one frame, as it is kept."""

    logits: torch.Tensor
    """(h, w) float32 mask logits at a quarter of the image size."""
    iou: float
    """Predicted IoU of the mask, in [0, 1]."""
    object_score: float
    """Logit; above 0 the object is taken to be visible."""


@dataclass(slots=True)
class Memory:
    """The memory bank of one object. Frame indices count processed frames, without gaps."""

    limits: Limits = field(default_factory=Limits)
    conditioning: dict[int, tuple[Spatial, torch.Tensor]] = field(default_factory=dict)
    """Frame index -> (spatial memory, pointer (C,)); at most `limits.conditioning`."""
    spatial: dict[int, Spatial] = field(default_factory=dict)
    """Frame index -> spatial memory of frames without a prompt."""
    pointers: dict[int, torch.Tensor] = field(default_factory=dict)
    """Frame index -> (C,) of frames without a prompt."""
    prompted: dict[int, Output] = field(default_factory=dict)
    """Outputs of prompts for frames that have not been stepped over yet."""

    def write_conditioning(self, frame_index: int, spatial: Spatial, pointer: torch.Tensor) -> None:
        """Keep a prompted frame; beyond the limit the oldest but the first goes."""
        self.spatial.pop(frame_index, None)
        self.pointers.pop(frame_index, None)
        self.conditioning[frame_index] = (spatial, pointer)
        if len(self.conditioning) > self.limits.conditioning:
            first = next(iter(self.conditioning))
            oldest = min(index for index in self.conditioning if index != first)
            del self.conditioning[oldest]

    def write(self, frame_index: int, spatial: Spatial, pointer: torch.Tensor) -> None:
        """Keep a frame without a prompt and forget what is out of reach of the next frame."""
        self.spatial[frame_index] = spatial
        self.pointers[frame_index] = pointer
        for index in [i for i in self.spatial if i <= frame_index - self.limits.recent_frames]:
            del self.spatial[index]
        for index in [i for i in self.pointers if i <= frame_index - self.limits.recent_pointers]:
            del self.pointers[index]

    def attended(
        self, frame_index: int, conditioning_row: int
    ) -> tuple[list[tuple[int, Spatial]], list[tuple[int, torch.Tensor]]]:
        """Return what a frame attends to.

        Args:
            frame_index: The frame that is being stepped.
            conditioning_row: Row of the temporal code that stands for prompted frames.

        Returns:
            Spatial memories as (row of the temporal code, memory), conditioning frames first and
            then the recent ones from old to new; and pointers as (distance in frames, (C,)).
        """
        spatial = [(conditioning_row, memory) for memory, _ in self.conditioning.values()]
        for distance in range(self.limits.recent_frames, 0, -1):
            memory = self.spatial.get(frame_index - distance)
            if memory is not None:
                spatial.append((distance - 1, memory))
        pointers = [
            (frame_index - index, pointer)
            for index, (_, pointer) in self.conditioning.items()
            if index <= frame_index
        ]
        for distance in range(1, self.limits.recent_pointers + 1):
            pointer = self.pointers.get(frame_index - distance)
            if pointer is not None:
                pointers.append((distance, pointer))
        return spatial, pointers
