"""From images to numbered frames, with the events that belong before them."""

from __future__ import annotations

import numpy as np

from stream.config import Normalize
from stream.contracts import StreamEvent
from stream.errors import SourceError, UsageError
from stream.frame import Frame, Image
from stream.sources.normalize import Levels


class FrameMaker:
    """Numbers frames, announces changes of size and normalises 16 bit.

    Args:
        name: Name of the source, safe to print.
        normalize: How 16-bit images become visible.
    """

    def __init__(self, name: str, normalize: Normalize) -> None:
        self._name = name
        self._levels = Levels(normalize)
        self._size: tuple[int, int] | None = None
        self._index = 0

    @property
    def made(self) -> int:
        """Frames made so far."""
        return self._index

    def make(
        self, image: Image, pts_s: float, captured_ns: int, lost_before: int = 0
    ) -> list[Frame | StreamEvent]:
        """Turn one image into its frame.

        Args:
            image: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.
            pts_s: Time in seconds on the source's clock.
            captured_ns: Monotonic time of capture.
            lost_before: Frames known to be lost since the last one.

        Returns:
            The events that come first, then the frame.
        """
        out: list[Frame | StreamEvent] = []
        size = (image.shape[0], image.shape[1])
        if self._size is not None and size != self._size:
            was = f"{self._size[1]}x{self._size[0]}"
            out.append(
                StreamEvent("size", f"frames were {was}, now {size[1]}x{size[0]}", size=size)
            )
            self._levels.reset()
        self._size = size
        frame = Frame(self._index, image, pts_s, captured_ns, self._name, lost_before)
        if image.dtype == np.uint16:
            done = self._levels.update(image.astype(np.uint16, copy=False))
            frame.display, frame.levels = done.display, (done.lo, done.hi)
            if done.relocked:
                detail = f"levels set anew: {done.lo:.0f} to {done.hi:.0f} counts"
                out.append(StreamEvent("relock", detail))
        self._index += 1
        return [*out, frame]


class Damage:
    """Bookkeeping of what could not be decoded in a file.

    Damage between good frames is counted and read past; damage after the last one means that the
    end is missing, and ends the run with an error once all good frames were given.
    """

    def __init__(self, name: str, counters: dict[str, int], unit: str = "frame") -> None:
        self._name = name
        self._counters = counters
        self._unit = unit
        self._since_good = 0
        self._detail = ""
        counters.setdefault("corrupt", 0)

    def bad(self, detail: str) -> None:
        """Note one thing that could not be decoded."""
        self._counters["corrupt"] += 1
        self._since_good += 1
        self._detail = detail

    def good(self) -> int:
        """Note a good frame; return how many were lost right before it."""
        lost, self._since_good = self._since_good, 0
        return lost

    def at_end(self, given: int, total: int | None) -> None:
        """Raise where the end is missing.

        Args:
            given: Good frames so far.
            total: Frames that there should be, where it is known.

        Raises:
            UsageError: There is not one good frame.
            SourceError: Nothing good came after the damage.
        """
        if not given:
            why = f"nothing in it can be decoded: {self._detail}" if self._detail else "it is empty"
            raise UsageError(f"{self._name}: holds no {self._unit}; {why}")
        if self._since_good:
            of = f" of {total}" if total else ""
            raise SourceError(
                f"{self._name}: damaged after {self._unit} {given}{of}: {self._detail}; "
                "the frames before it were used"
            )
