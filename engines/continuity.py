"""What a tracker notices of a stream that is not continuous; see `docs/tracker-events.md`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from engines.errors import ModelError
from engines.similarity import CutFinder, Signature

Kind = Literal["size", "gap", "cut", "repeat", "backwards"]

# Prompts and memories are relative to the frame: they hold as long as its proportions do.
SAME_PROPORTIONS = 0.01


@dataclass(frozen=True, slots=True)
class Event:
    """A break in the stream, noticed at one frame."""

    kind: Kind
    """`size`: frames have another size; `gap`: more indices are missing than memories reach over;
    `cut`: the scene changed; `repeat`: the last frame again; `backwards`: an earlier frame."""
    frame_index: int
    detail: str
    """One line for people."""
    starts_anew: bool = False
    """Whether objects cannot be followed over it: frames have other proportions."""


class OrderError(ModelError):
    """A frame comes after one with a larger index.

    Attributes:
        event: The refused frame, kind `backwards`.
    """

    def __init__(self, event: Event) -> None:
        super().__init__(event.detail)
        self.event = event


class NotFiniteError(ModelError):
    """A model gave numbers that are not numbers."""


class Continuity:
    """Watches the order, the size and the looks of the frames that a tracker is given.

    Args:
        gap_frames: Largest step from one index to the next over which the memories of recent frames
            still reach (`Limits.lookback`).
    """

    def __init__(self, gap_frames: int) -> None:
        if gap_frames < 1:
            raise ValueError(f"gap_frames is {gap_frames}; at least 1 is needed")
        self._gap_frames = gap_frames
        self._cuts = CutFinder()
        self._index: int | None = None
        self._size: tuple[int, int] | None = None
        self._began_with: tuple[int, int] | None = None

    def check(
        self, frame_index: int, frame_size: tuple[int, int], signature: Signature | None = None
    ) -> Event | None:
        """Take the next frame.

        Args:
            frame_index: The frame's.
            frame_size: (H, W) in pixels.
            signature: The frame's looks (`engines.similarity.signature`); None: `see` tells them
                later, or cuts go unnoticed.

        Returns:
            None for a frame that goes on from the last one. For a `repeat` the last result is to be
            given again and nothing to be remembered. Of several things at once, the event is
            the first of size, gap and cut, and its detail names them all.

        Raises:
            OrderError: The index is smaller than the last one; nothing is taken.
        """
        if self._index is not None and frame_index <= self._index:
            return self._again(frame_index)
        resized, gap = self._resized(frame_index, frame_size), self._gap(frame_index)
        if gap or (resized and resized.starts_anew):
            self._cuts.restart()  # another scene is no surprise after these
        self._index, self._size = frame_index, frame_size
        if self._began_with is None or (resized and resized.starts_anew):
            self._began_with = frame_size
        event = joined(resized, gap)
        return event if signature is None else joined(event, self.see(signature))

    def see(self, signature: Signature) -> Event | None:
        """Take the looks of the frame that `check` took last, where they are known later.

        Args:
            signature: Its `engines.similarity.signature`.

        Returns:
            A `cut`, or None.
        """
        assert self._index is not None, "looks come after a frame"
        return self._cut(self._index, signature)

    def reset(self) -> None:
        """Forget the stream; the next frame is a first one."""
        self._index = self._size = self._began_with = None
        self._cuts.reset()

    def _again(self, frame_index: int) -> Event:
        if frame_index == self._index:
            return Event("repeat", frame_index, f"frame {frame_index} was given again")
        raise OrderError(
            Event(
                "backwards",
                frame_index,
                f"frame {frame_index} comes after frame {self._index}; frames must be given in "
                "order, and reset() begins a new stream",
            )
        )

    def _resized(self, frame_index: int, frame_size: tuple[int, int]) -> Event | None:
        if self._size is None or self._began_with is None or frame_size == self._size:
            return None
        (height, width), (first_height, first_width) = frame_size, self._began_with
        stretch = (width * first_height) / (height * first_width)
        anew = max(stretch, 1 / stretch) > 1 + SAME_PROPORTIONS
        detail = f"frames were {self._size[1]}x{self._size[0]}, now {width}x{height}"
        if anew:
            detail += ", which are other proportions"
        return Event("size", frame_index, detail, anew)

    def _gap(self, frame_index: int) -> Event | None:
        if self._index is None or frame_index - self._index <= self._gap_frames:
            return None
        detail = f"frame {frame_index} follows frame {self._index}"
        return Event("gap", frame_index, f"{detail}: recent memories are out of reach")

    def _cut(self, frame_index: int, signature: Signature) -> Event | None:
        found = self._cuts(signature)
        if found is None:
            return None
        away, allowed = found
        detail = f"the scene changed: distance {away:.2f} to the last frame, up to {allowed:.2f}"
        return Event("cut", frame_index, f"{detail} is usual")


def joined(one: Event | None, other: Event | None) -> Event | None:
    """Return two events of one frame as one: of the first one's kind, with the detail of both."""
    if one is None or other is None:
        return one or other
    return replace(one, detail=f"{one.detail}; {other.detail}")


def is_finite(*tensors: torch.Tensor) -> torch.Tensor:
    """Return whether the sums of tensors are finite, a bool of one element where they are.

    A sum is finite only if all its terms are, and is several times faster than looking at each; one
    that is not says that `check_finite` has to look.
    """
    sums = [tensor.sum(dtype=torch.float32) for tensor in tensors]
    return torch.isfinite(torch.stack(sums)).all()


def check_finite(name: str, tensor: torch.Tensor) -> None:
    """Check that all numbers of a tensor are finite.

    Args:
        name: What the tensor holds, for the message.
        tensor: Any shape, floating point.

    Raises:
        NotFiniteError: Some are infinite or not a number.
    """
    if bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
        return
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise NotFiniteError(
            f"{bad} of {tensor.numel()} values of {name} are not finite; usual causes are an "
            "overflow in fp16 and damaged weights: use precision fp32 or bf16, and check that the "
            "weights are whole"
        )
