"""A sink that only counts: for tests, benchmarks and runs without any output."""

from __future__ import annotations

from stream.frame import Frame, Masks


class NullSink:
    """Counts what it is given.

    Attributes:
        frames: Frames taken.
        objects: Objects in those frames, every state.
    """

    name = "null"

    def __init__(self) -> None:
        self.frames = 0
        self.objects = 0

    def open(self) -> None:
        """Do nothing."""

    def write(self, frame: Frame, masks: Masks) -> None:
        """Count one frame."""
        self.frames += 1
        self.objects += len(masks.objects)

    def close(self) -> None:
        """Do nothing."""
