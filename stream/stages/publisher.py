"""The publisher's shell: every result to every sink, and the figures of the run."""

from __future__ import annotations

import time
from typing import Any

from stream.contracts import RunInfo, Sink
from stream.errors import MaskcastError
from stream.frame import Masks
from stream.question import question_of
from stream.stages.base import IDLE_S, Stage, StageIo, credits_for
from stream.stages.tracker import PUBLISHER, RESULTS
from stream.stats import Age, Rate, Reservoir, Steps
from stream.transport import Halted, Inbox, StoreError
from stream.transport.codec import to_frame, to_masks, to_question
from stream.transport.headers import Asked, DataHeader, End, ResultHeader
from stream.vitals import Vitals

_DEFAULT_FPS = 30.0
_CLOSE_S = 0.7
"""Time that the sinks get to close, out of what a halt leaves."""
_FACTS = ("endpoint", "url", "folder")
"""Attributes of sinks that say where the results went."""


class Publisher(Stage):
    """Writes each frame with its masks to all sinks, in order."""

    name = PUBLISHER

    def __init__(self, io: StageIo) -> None:
        super().__init__(io)
        self._sinks: list[Sink] = []
        self._inbox: Inbox | None = None
        self._info: RunInfo | None = None
        self._ended = False
        self._published = 0
        self._last_frame: int | None = None
        self._bad = 0
        self._latency_ms = Reservoir()
        self._recent_ms = Reservoir(capacity=256)
        self._steps = Steps()
        self._rate = Rate()
        self._age = Age(int(1e9 / _DEFAULT_FPS))
        config = io.config
        self._vitals = Vitals(config.stream, config.tracker.model, config.metrics.hung_after_s)

    def prepare(self) -> dict[str, Any]:
        """Wait for what the source is, then open the sinks.

        Returns:
            Where the results go, by sink and attribute.
        """
        while self.io.control.facts is None:
            self.io.control.wait(IDLE_S)
        facts = self.io.control.facts
        self._age = Age(int(1e9 / (facts["fps"] or _DEFAULT_FPS)))
        config = self.io.config
        self._info = info = RunInfo(
            stream=config.stream,
            source=facts["name"],
            texts=list(question_of(config).labels),
            model=config.tracker.model,
            fps=facts["fps"],
            live=facts["live"],
            control=config.control.endpoint,
            vitals=self._vitals,
        )
        for sink in self.io.parts.sinks(config, info):
            self._sinks.append(sink)
            sink.open()
        return {"sinks": {sink.name: _facts_of(sink) for sink in self._sinks}}

    def work(self) -> None:
        """Publish until the tracker says that nothing more comes."""
        assert self.io.control.facts is not None
        self._inbox = Inbox(self.io.connect(RESULTS))
        _, ahead = credits_for(self.io.control.facts["policy"], self.io.config.transport.ring_slots)
        self._inbox.grant(ahead)
        try:
            while not self._ended:
                self.io.control.wait(IDLE_S, self._inbox.socket)
                self._hear()
                self._take(self._inbox.receive())
                self.tell()
        except Halted:
            self._drain()

    def close(self) -> None:
        """Close all sinks, the last error of one does not keep the others open."""
        errors: list[MaskcastError] = []
        for sink in self._sinks:
            try:
                sink.close()
            except MaskcastError as error:
                errors.append(error)
        self._sinks = []
        if errors:
            raise errors[0]

    def report(self) -> dict[str, Any]:
        """Return `published`, the last frame, latency, age and step times."""
        return {
            "published": self._published,
            "last_frame": self._last_frame,
            "unreadable": self._bad,
            "latency_ms": self._latency_ms.percentiles(),
            "age_ms": self._age.ages_ms.percentiles(),
            "steps": self._steps.percentiles(),
        }

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return the figures of the live line; latency is that of the last frames."""
        self._age.advance(now_ns)
        recent, self._recent_ms = self._recent_ms, Reservoir(capacity=256)
        return {
            "published": self._published,
            "last_frame": self._last_frame,
            "fps": round(self._rate.per_second(now_ns), 2),
            "latency_p50_ms": recent.percentiles()["p50"],
        }

    def idle(self) -> None:
        """Say how the run is, from the very beginning."""
        self._hear()

    def tell(self) -> None:
        """See `Stage.tell`; who asks here for the publisher's health need not wait for it."""
        self._vitals.beat(self.io.clock())
        super().tell()

    def _hear(self) -> None:
        """Take what the supervisor told: how the run is, and maybe another question to show."""
        self._vitals.beat(self.io.clock())
        if (told := self.io.control.vitals) is not None:
            self.io.control.vitals = None
            self._vitals.hear(told.state, told.pulses)
            if self._info is not None:
                self._info.extra["state"] = "reconnecting" if self._vitals.reconnecting else ""
        orders = self.io.control.orders
        while orders:
            order = orders.popleft()
            if isinstance(order, Asked) and self._info is not None:
                self._info.texts[:] = to_question(order.question).labels

    def _take(self, header: DataHeader | None) -> None:
        assert self._inbox is not None
        if isinstance(header, End):
            self._ended = True
            self._age.advance(self.io.clock())
        elif isinstance(header, ResultHeader):
            self._publish(header)
            self._inbox.grant()

    def _publish(self, header: ResultHeader) -> None:
        ref = header.frame.ref
        masks = to_masks(header)
        masks.stamps["received"] = self.io.clock()
        try:
            frame = to_frame(header.frame, self.io.frames.get(ref, PUBLISHER))
        except StoreError:
            self._bad += 1
            return
        frame.stamps = masks.stamps
        published_ns = 0
        try:
            for sink in self._sinks:
                sink.write(frame, masks)
                published_ns = published_ns or self.io.clock()
        finally:
            self._bad += not self.io.frames.release(ref, PUBLISHER)
            if published_ns or not self._sinks:  # a later sink may have failed
                self._count(masks, published_ns or self.io.clock())

    def _count(self, masks: Masks, published_ns: int) -> None:
        """Take a frame into the figures; it counts as published when the first sink had it."""
        self._published += 1
        self._last_frame = masks.frame_index
        latency_ms = (published_ns - masks.captured_ns) / 1e6
        self._latency_ms.add(latency_ms)
        self._recent_ms.add(latency_ms)
        self._age.published(published_ns, masks.captured_ns)
        self._rate.add(published_ns)
        self._steps.add_stamps(masks.captured_ns, {**masks.stamps, "published": published_ns})
        self._vitals.published(masks.captured_ns, masks.stamps, published_ns)

    def _drain(self) -> None:
        """Publish what was tracked before the halt; then the files are complete."""
        assert self._inbox is not None
        control = self.io.control
        while not self._ended:
            left_s = control.halted_until - _CLOSE_S - time.monotonic()
            if left_s <= 0:
                return
            if control.wait(min(left_s, IDLE_S), self._inbox.socket, raise_halted=False):
                self._take(self._inbox.receive())
            self.tell()


def _facts_of(sink: Sink) -> dict[str, str]:
    return {name: str(getattr(sink, name)) for name in _FACTS if getattr(sink, name, None)}
