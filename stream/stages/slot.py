"""Between the thread that reads a source and the link to the tracker: newest frame, or a queue.

`latest` keeps the newest frame and counts those it passed over. `every` keeps a few and makes the
reading thread wait. Events keep their place: each rides on the frame that it stands before.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from stream.contracts import StreamEvent
from stream.frame import Frame

MOST_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Item:
    """A frame and the events just before it."""

    frame: Frame
    events: tuple[StreamEvent, ...]


class Intake:
    """Thread-safe; `fileno` can be read from (polled) while something waits in it."""

    def __init__(self, policy: Literal["latest", "every"], depth: int = 2) -> None:
        self._latest = policy == "latest"
        self._depth = 1 if self._latest else depth
        self._items: deque[Item] = deque()
        self._events: list[StreamEvent] = []
        self._changed = threading.Condition()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._finished = False
        self.read = 0
        """Frames that came in."""
        self.overrun = 0
        """Frames that a newer one replaced."""

    def fileno(self) -> int:
        """Return a descriptor that can be polled."""
        return self._bell

    @property
    def finished(self) -> bool:
        """Whether nothing more comes in."""
        return self._finished

    @property
    def empty(self) -> bool:
        """Whether no frame waits."""
        return not self._items

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        return len(self._items)

    def put(self, frame: Frame) -> bool:
        """Take in a frame; with `every` this waits for room.

        Returns:
            False when the intake was finished meanwhile; the frame does not count as read then.
        """
        with self._changed:
            while not self._latest and len(self._items) >= self._depth and not self._finished:
                self._changed.wait()
            if self._finished:
                return False
            self.read += 1
            if self._latest and self._items:
                self._events = [*self._items.pop().events, *self._events]
                self.overrun += 1
            self._items.append(Item(frame, tuple(_bounded(self._events))))
            self._events = []
            self._ring()
            return True

    def put_event(self, event: StreamEvent) -> None:
        """Take in an event that stands before the next frame."""
        with self._changed:
            self._events = _bounded([*self._events, event])

    def take(self) -> Item | None:
        """Return the oldest frame that waits, or None."""
        with self._changed:
            if not self._items:
                self._quiet()
                return None
            item = self._items.popleft()
            if not self._items and not self._finished:
                self._quiet()
            self._changed.notify_all()
            return item

    def rest(self) -> tuple[StreamEvent, ...]:
        """Return the events after the last frame."""
        with self._changed:
            return tuple(self._events)

    def discard(self) -> int:
        """Throw away the frames that wait.

        Returns:
            How many there were.
        """
        with self._changed:
            count = len(self._items)
            self._items.clear()
            return count

    def finish(self) -> None:
        """Say that nothing more comes in; frames that wait stay. May be called twice."""
        with self._changed:
            self._finished = True
            self._ring()
            self._changed.notify_all()

    def close(self) -> None:
        """Free the descriptor."""
        with self._changed:
            self._finished = True
            if self._bell >= 0:
                os.close(self._bell)
            self._bell = -1
            self._changed.notify_all()

    def _ring(self) -> None:
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    def _quiet(self) -> None:
        if self._bell >= 0 and not self._finished:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)


def _bounded(events: list[StreamEvent]) -> list[StreamEvent]:
    """Merge the oldest events of a flapping source, so that they stay few and no gap is lost."""
    events = list(events)
    while len(events) > MOST_EVENTS:
        first = events.pop(0)
        same = next((i for i, event in enumerate(events) if event.kind == first.kind), None)
        if same is not None:
            events[same] = replace(events[same], gap_s=events[same].gap_s + first.gap_s)
    return events
