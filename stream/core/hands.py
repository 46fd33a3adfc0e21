"""Prompts by hand: clicks, boxes and masks of a person, for any frame that is still kept."""

from __future__ import annotations

from collections import OrderedDict

from engines.late import choose_catch_up
from engines.objects import ObjectMask, Prompt
from engines.tracker import Tracker
from stream.contracts import HandPrompt, Prompted, Question
from stream.errors import UsageError
from stream.lifecycle import Tracks

SHOWN_FRAMES = 6
"""Frames that an error names."""


class Hands:
    """Carries out what a person asks for.

    Args:
        tracker: Takes the prompts.
        tracks: Its books.
        kept_frames: Frames gone by whose features the tracker keeps, the last one included.
        replay_steps: What an old prompt may cost (`engines.late.choose_catch_up`).
    """

    def __init__(
        self, tracker: Tracker, tracks: Tracks, kept_frames: int, replay_steps: int
    ) -> None:
        self._tracker = tracker
        self._tracks = tracks
        self._kept_frames = kept_frames
        self._replay_steps = replay_steps
        self._steps: OrderedDict[int, int] = OrderedDict()
        self._size = (0, 0)

    def tracked(self, frame_index: int, step: int, size: tuple[int, int]) -> None:
        """Note that a frame of the stream was tracked as this step."""
        self._size = size
        self._steps[frame_index] = step
        while len(self._steps) > self._kept_frames:
            self._steps.popitem(last=False)

    def clear(self) -> None:
        """Forget the frames: from now on they are others."""
        self._steps.clear()

    def prompt(self, prompt: HandPrompt, question: Question) -> Prompted:
        """Take a prompt.

        Args:
            prompt: What is said.
            question: What is asked for now; a new object is called by its first label.

        Raises:
            UsageError: It cannot be done as asked; nothing has changed.
        """
        frame_index, step = self._step_of(prompt.frame_index)
        said = self._checked(prompt)
        new = prompt.track_id is None
        track_id = self._tracks.next_id if prompt.track_id is None else prompt.track_id
        if not new:
            self._require(track_id)
        late = next(reversed(self._steps.values())) - step
        try:
            found = self._tracker.add_object(
                track_id,
                step,
                mask=said.mask,
                box=said.box,
                points=said.points,
                labels=said.labels,
                clear_old_points=not prompt.more,
                catch_up=choose_catch_up(late, 1, self._replay_steps),
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        if new:
            self._adopt(track_id, prompt.label or question.labels[0], found)
        else:
            self._tracks.take_over(track_id, prompt.label)
        mask, box = found.in_frame(self._size)
        return Prompted(track_id, frame_index, int(mask.sum()), box)

    def forget(self, track_id: int) -> None:
        """End a track.

        Raises:
            UsageError: There is no such track.
        """
        self._require(track_id)
        del self._tracks.tracks[track_id]
        self._tracker.remove_object(track_id)

    def _adopt(self, track_id: int, label: str, found: ObjectMask) -> None:
        """Start the books of an object that the tracker follows already."""
        started = self._tracks.adopt(label) if found.mask.any() else None
        if started is not None:
            if started[1] is not None:
                self._tracker.remove_object(started[1])
            return
        self._tracker.remove_object(track_id)
        if not found.mask.any():
            raise UsageError(
                "the prompt gives an empty mask; click inside of the object, or box it"
            )
        raise UsageError(
            f"there are {self._tracks.max_objects} objects made by hand already; forget one, or "
            "raise tracker.max_objects"
        )

    def _require(self, track_id: int) -> None:
        if track_id in self._tracks.tracks:
            return
        there = ", ".join(map(str, sorted(self._tracks.tracks))) or "none"
        raise UsageError(f"there is no object {track_id}; there are {there}")

    def _step_of(self, frame_index: int | None) -> tuple[int, int]:
        if not self._steps:
            raise UsageError("no frame has been tracked yet; wait for the first one")
        if frame_index is None:
            return next(reversed(self._steps.items()))
        step = self._steps.get(frame_index)
        if step is None:
            last = list(self._steps)[-SHOWN_FRAMES:]
            raise UsageError(
                f"frame {frame_index} is not kept, or was never tracked; the last that were are "
                f"{', '.join(map(str, last))}, the oldest kept is {next(iter(self._steps))}"
            )
        return frame_index, step

    def _checked(self, prompt: HandPrompt) -> Prompt:
        """Return what is said, if it lies in the frame."""
        height, width = self._size
        where = f"the frame is {width} x {height}"
        for x, y in prompt.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise UsageError(f"point {x:g},{y:g} is outside; {where}")
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise UsageError(
                    f"box {x0:g},{y0:g},{x1:g},{y1:g} is not accepted; {where}, and the first "
                    "corner is above and left of the second"
                )
        if prompt.mask is not None and prompt.mask.shape != self._size:
            rows, columns = prompt.mask.shape
            raise UsageError(f"the mask is {columns} x {rows}, but {where}")
        if prompt.mask is not None and not prompt.mask.any():
            raise UsageError("the mask is empty; there is nothing to follow")
        try:
            return Prompt(prompt.mask, prompt.box, prompt.points, prompt.labels)
        except ValueError as error:
            raise UsageError(str(error)) from error
