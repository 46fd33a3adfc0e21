"""The reader: one thread reads the source, the stage's own thread sends what it read."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from stream.contracts import StreamEvent
from stream.errors import MaskcastError
from stream.frame import Frame
from stream.stages.base import IDLE_S, Stage, StageIo, credits_for
from stream.stages.slot import Intake, Item
from stream.transport import Outbox
from stream.transport.codec import frame_arrays, from_event, from_frame
from stream.transport.headers import End, Ending, Note

FRAMES = "frames"
TRACKER = "tracker"
_JOIN_S = 0.4
_SLOT_WAIT_S = 0.001


class Reader(Stage):
    """Reads until the stream, the wanted frames or the wanted seconds end, or it is stopped."""

    name = "reader"

    def __init__(self, io: StageIo) -> None:
        super().__init__(io)
        self._source = io.parts.source(io.config)
        self._stop = threading.Event()
        self._begin = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)
        self._error: BaseException | None = None
        self._ended = ""
        self._deadline_ns: int | None = None
        self._intake: Intake | None = None
        self._outbox: Outbox | None = None
        self._shutdown = 0
        self._ahead = 0
        self._events: Counter[str] = Counter()
        self._reading_ns: int | None = None

    def bind(self) -> dict[str, str]:
        """Bind the link to the tracker."""
        socket, endpoint = self.io.bind(FRAMES)
        self._outbox = Outbox(socket)
        return {FRAMES: endpoint}

    def prepare(self) -> dict[str, Any]:
        """Open the source in its thread.

        Returns:
            Its `name`, `live`, `fps`, `frames_total`, and the `policy` that follows.
        """
        self._thread.start()
        while not self._opened.wait(0.02):
            self.io.control.wait(0)
        if self._error is not None:
            raise self._error
        policy = self.io.config.source.policy
        if policy == "auto":
            policy = "latest" if self._source.live else "every"
        self._intake = Intake(policy)
        self._ahead, _ = credits_for(policy, self.io.config.transport.ring_slots)
        return {
            "name": self._source.name,
            "live": self._source.live,
            "fps": self._source.fps,
            "frames_total": self._source.frames_total,
            "policy": policy,
        }

    def work(self) -> None:
        """Send frames as the tracker asks for them; always ends with `End`."""
        assert self._intake is not None
        assert self._outbox is not None
        while self._outbox.credit < 1:
            self.io.control.wait(IDLE_S, self._outbox.socket)
            self.tell()
        self._begin.set()
        try:
            while not self._drained():
                self._watch_limits()
                self._wait()
                self._send_ready()
                self.tell()
        finally:
            self._intake.finish()
            self._shutdown += self._intake.discard()
            self._outbox.send(End(tuple(from_event(e) for e in self._intake.rest())))
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop the thread; it closes the source. A read that blocks is left behind."""
        self._stop.set()
        self._begin.set()
        if self._intake is not None:
            self._intake.finish()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        if self._intake is not None:
            self._intake.close()

    def report(self) -> dict[str, Any]:
        """Return `read`, `dropped` by cause, and the source's own counters."""
        return {
            "read": self._intake.read if self._intake else 0,
            "dropped": self._dropped(),
            "source": {
                "counters": dict(self._source.counters),
                **getattr(self._source, "report", dict)(),
            },
        }

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return the report, and what live metrics want beside it."""
        assert self._intake is not None
        assert self._outbox is not None
        return self.report() | {
            "reconnecting": self._reconnecting,
            "events": dict(self._events),
            "queues": {
                "intake": self._intake.waiting,
                "frames": max(self._ahead - self._outbox.credit, 0),
            },
            "rings": {"frames": self.io.frames.usage()},
        }

    def beat_ns(self, now_ns: int) -> int:
        """Return until when it was at work: a source that does not come back from a read hangs.

        One that is opened again says so, and has its own limits; one of few frames has a period.
        """
        reading_ns = self._reading_ns
        if reading_ns is None or self._reconnecting:
            return now_ns
        period_ns = int(1e9 / self._source.fps) if self._source.fps else 0
        return min(now_ns, reading_ns + period_ns)

    @property
    def _reconnecting(self) -> bool:
        return bool(getattr(self._source, "reconnecting", False))

    def _dropped(self) -> dict[str, int]:
        dropped = {"overrun": self._intake.overrun if self._intake else 0}
        return dropped | {"shutdown": self._shutdown}

    # -- the stage's own thread ------------------------------------------------------------------

    def _drained(self) -> bool:
        assert self._intake is not None
        return self._intake.finished and self._intake.empty

    def _watch_limits(self) -> None:
        assert self._intake is not None
        if self.io.control.stopping:
            self._end("stop")
        if self._deadline_ns is not None and self.io.clock() >= self._deadline_ns:
            self._end("seconds")

    def _wait(self) -> None:
        """Wait for what is missing: a frame, or a credit for it."""
        assert self._intake is not None
        assert self._outbox is not None
        timeout_s = IDLE_S
        if self._deadline_ns is not None and not self._ended:
            left_s = (self._deadline_ns - self.io.clock()) / 1e9
            timeout_s = min(IDLE_S, max(0.0, left_s) + 0.001)
        credit = self._outbox.credit > 0
        self.io.control.wait(timeout_s, self._intake if credit else self._outbox.socket)

    def _send_ready(self) -> None:
        assert self._intake is not None
        assert self._outbox is not None
        while self._outbox.credit > 0 and (item := self._intake.take()) is not None:
            try:
                self._send(item)
            except BaseException:
                self._shutdown += 1
                raise

    def _send(self, item: Item) -> None:
        assert self._outbox is not None
        item.frame.stamps["picked"] = self.io.clock()
        arrays = frame_arrays(item.frame)
        while (ref := self.io.frames.put(arrays, TRACKER)) is None:
            self.io.control.wait(_SLOT_WAIT_S)
            self.tell()
        item.frame.stamps["sent"] = self.io.clock()
        for event in item.events:
            self._events[event.kind] += 1
            self.io.control.send(Note(self.name, f"{event.kind}: {event.detail}"))
        events = tuple(from_event(event) for event in item.events)
        self._outbox.send(from_frame(item.frame, ref, events, self._dropped()))

    def _end(self, reason: str) -> None:
        """Read no more, for the first reason that comes up."""
        assert self._intake is not None
        if not self._ended:
            self._ended = reason
            self.io.control.send(Ending(reason))
        self._stop.set()
        self._intake.finish()

    # -- the source's thread ---------------------------------------------------------------------

    def _read(self) -> None:
        try:
            self._source.open()
            self._opened.set()
            self._begin.wait()
            if not self._stop.is_set():
                self._read_on()
        except BaseException as error:
            self._error = error
        finally:
            self._opened.set()
            if self._intake is not None:
                self._intake.finish()
            self._close_source()

    def _read_on(self) -> None:
        assert self._intake is not None
        limits = self.io.config
        while not self._stop.is_set():
            self._reading_ns = self.io.clock()
            found = self._source.read(self._stop)
            self._reading_ns = None
            if found is None:
                return
            if isinstance(found, StreamEvent):
                self._intake.put_event(found)
                continue
            self._stamp(found)
            if not self._intake.put(found):
                return
            if limits.frames is not None and self._intake.read >= limits.frames:
                return

    def _stamp(self, frame: Frame) -> None:
        now_ns = self.io.clock()
        frame.stamps["read"] = now_ns
        if self._deadline_ns is None and self.io.config.seconds is not None:
            self._deadline_ns = now_ns + int(self.io.config.seconds * 1e9)

    def _close_source(self) -> None:
        try:
            self._source.close()
        except MaskcastError as error:
            self._error = self._error or error
