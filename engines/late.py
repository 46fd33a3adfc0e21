"""Frames gone by, kept for prompts that come late, and what is done about the time since then."""

from __future__ import annotations

from collections import deque
from typing import Literal

from engines.errors import ModelError
from engines.features import Features

CatchUp = Literal["jump", "replay"]
"""How an object gets from the frame of a late prompt to now. `jump`: the next frame attends to the
prompted one directly. `replay`: the frames between are run again for this object alone, which is
what the official predictor gives; it costs one step for each of them."""


class TooLateError(ModelError):
    """A prompt is about a frame that is not kept any more."""


class FeatureRing:
    """The features of the last frames.

    Args:
        late_frames: Frames before the last one that are kept.
    """

    def __init__(self, late_frames: int) -> None:
        self._kept: deque[tuple[int, Features]] = deque(maxlen=late_frames + 1)

    def put(self, frame_index: int, features: Features) -> None:
        """Keep a frame; the oldest goes."""
        self._kept.append((frame_index, features))

    def get(self, frame_index: int) -> Features:
        """Return a frame's features.

        Raises:
            TooLateError: The frame is not kept.
        """
        for index, features in self._kept:
            if index == frame_index:
                return features
        raise TooLateError(self._lacks(frame_index))

    def since(self, frame_index: int) -> list[tuple[int, Features]]:
        """Return the frames after this one, from old to new.

        Raises:
            TooLateError: Some of them are not kept any more.
        """
        if not self._kept or frame_index + 1 < self._kept[0][0]:
            raise TooLateError(self._lacks(frame_index))
        return [(index, features) for index, features in self._kept if index > frame_index]

    def clear(self) -> None:
        """Forget all frames."""
        self._kept.clear()

    def _lacks(self, frame_index: int) -> str:
        kept = f"{self._kept[0][0]} to {self._kept[-1][0]}" if self._kept else "none"
        return (
            f"frame {frame_index} is not kept any more, kept are {kept}; prompt a later frame, or "
            "raise late_frames"
        )


def choose_catch_up(late_frames: int, objects: int, budget_steps: int) -> CatchUp:
    """Decide how late objects catch up.

    Args:
        late_frames: Frames between the prompt's and the last one.
        objects: How many objects are prompted at once.
        budget_steps: Steps of single objects that a replay may cost.
    """
    return "replay" if 0 < late_frames * objects <= budget_steps else "jump"
