"""The next frame, received and prepared by another thread while its stage works on this one.

The image encoder needs nothing of what the tracker remembers. So a frame is encoded on one core
while the frame before it is tracked on another, and a stream is as fast as the slower of the two,
not as both together.

A frame that was taken too early waits and grows old. `Pace` says when to begin.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq

from stream.frame import Frame
from stream.transport import Inbox
from stream.transport.headers import DataHeader, End

_POLL_MS: Final = 100
_WEIGHT: Final = 0.2
"""Of the newest time in the average of those before."""
_EARLY: Final = 1.25
"""A frame is begun with so many times as early as it takes: times vary."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the thread made of a message."""

    header: DataHeader
    frame: Frame | None = None
    """None at the end of the stream, and where the pixels are gone."""
    error: Exception | None = None
    """What happened while the frame was prepared; it is raised when its turn comes."""


class Pace:
    """When to begin with the next frame, so that it is ready when its turn comes, and not old.

    Where a stage keeps up with its stream, frames are taken as they come: none waits for long, and
    a turn that is longer than usual costs none. Where it does not, each is begun with so late that
    its turn follows.

    Args:
        period_ns: From one frame of the stream to the next; 0 where nobody knows.
    """

    def __init__(self, period_ns: int = 0) -> None:
        self._period_ns = period_ns
        self._turn_ns = 0.0
        self._ahead_ns = 0.0

    def turn(self, took_ns: int) -> None:
        """Note how long the stage worked on a frame that was prepared."""
        self._turn_ns = _averaged(self._turn_ns, took_ns)

    def ahead(self, took_ns: int) -> None:
        """Note how long it took to prepare one."""
        self._ahead_ns = _averaged(self._ahead_ns, took_ns)

    def due_ns(self, begun_ns: int) -> int:
        """Return when to begin with the next frame, if the turn of this one began then."""
        if self._turn_ns <= self._period_ns:
            return begun_ns
        return begun_ns + max(0, int(self._turn_ns - _EARLY * self._ahead_ns))


class Ahead:
    """Receives and prepares one frame at a time, each when it is called for.

    The inbox belongs to the thread until `close`.

    Args:
        inbox: Where frames come from. The first one's credit is granted by the caller.
        prepare: Makes an arrival of a message; runs in the thread.
        clock: Monotonic time in nanoseconds.
    """

    def __init__(
        self, inbox: Inbox, prepare: Callable[[DataHeader], Arrival], clock: Callable[[], int]
    ) -> None:
        self._inbox = inbox
        self._prepare = prepare
        self._clock = clock
        self._changed = threading.Condition()
        self._due_ns: int | None = clock()
        self._arrivals: deque[Arrival] = deque()
        self._stopped = False
        self._busy_ns: int | None = None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that can be polled: an arrival waits."""
        return self._bell

    @property
    def busy_since_ns(self) -> int | None:
        """Since when a frame is being prepared; None while none is."""
        return self._busy_ns

    def call(self, due_ns: int) -> None:
        """Let the next frame come, from that time on."""
        with self._changed:
            self._due_ns = due_ns
            self._changed.notify()

    def hurry(self) -> None:
        """Let a frame that was called for come at once: nothing else is to be done."""
        with self._changed:
            if self._due_ns is not None:
                self._due_ns = 0
                self._changed.notify()

    def take(self) -> Arrival | None:
        """Return what has come, or None."""
        with self._changed:
            if not self._arrivals:
                return None
            arrival = self._arrivals.popleft()
            if not self._arrivals:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
            return arrival

    def close(self) -> list[Arrival]:
        """End the thread; return what was not taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        os.close(self._bell)
        return list(self._arrivals)

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        first = True
        while self._called():
            if not first:
                self._inbox.grant()
            first = False
            header = self._received()
            if header is None:
                return
            self._busy_ns = self._clock()
            try:
                arrival = self._prepare(header)
            except Exception as error:  # raised by whoever takes it
                arrival = Arrival(header, error=error)
            self._busy_ns = None
            with self._changed:
                self._arrivals.append(arrival)
                os.eventfd_write(self._bell, 1)
            if isinstance(header, End):
                return

    def _called(self) -> bool:
        """Wait for a call and its time; False when it is over."""
        with self._changed:
            while not self._stopped:
                if self._due_ns is None:
                    self._changed.wait()
                    continue
                left_ns = self._due_ns - self._clock()
                if left_ns <= 0:
                    self._due_ns = None
                    return True
                self._changed.wait(left_ns / 1e9)
        return False

    def _received(self) -> DataHeader | None:
        poller = zmq.Poller()
        poller.register(self._inbox.socket, zmq.POLLIN)
        while not self._stopped:
            if poller.poll(_POLL_MS) and (header := self._inbox.receive()) is not None:
                return header
        return None


def _averaged(before_ns: float, took_ns: int) -> float:
    return before_ns + _WEIGHT * (took_ns - before_ns) if before_ns else float(took_ns)
