"""What all stages have in common: where they get things from, and the order of their life."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import zmq

from stream.config import Config
from stream.contracts import DetectorCore, RunInfo, Sink, Source, TrackerCore
from stream.transport import Control, Halted, Place, Store
from stream.transport.headers import Done, Hello, Ready, Status

STATUS_NS = 250_000_000
IDLE_S = 0.25
DRAIN_S = 0.3
"""How long a halted stage waits for the word that nothing more comes."""


class Parts(Protocol):
    """Makes what the stages carry; the real ones are in `stream.stages.parts`, tests have fakes."""

    def source(self, config: Config) -> Source:
        """Make the source."""

    def tracker(self, config: Config) -> TrackerCore:
        """Make the tracker's core."""

    def detector(self, config: Config) -> DetectorCore:
        """Make the detector's core."""

    def sinks(self, config: Config, info: RunInfo) -> list[Sink]:
        """Make the sinks, the one that publishes first."""


@dataclass(slots=True)
class StageIo:
    """What a stage gets from the outside."""

    config: Config
    parts: Parts
    control: Control
    place: Place
    context: zmq.Context[Any]
    frames: Store
    jobs: Store
    clock: Callable[[], int] = time.monotonic_ns
    sockets: list[zmq.Socket[Any]] = field(default_factory=list)

    def bind(self, link: str) -> tuple[zmq.Socket[Any], str]:
        """Bind a link."""
        socket, endpoint = self.place.bind(self.context, link)
        self.sockets.append(socket)
        return socket, endpoint

    def connect(self, link: str) -> zmq.Socket[Any]:
        """Connect to a link that another stage bound."""
        assert self.control.start is not None
        socket = self.place.connect(self.context, self.control.start.endpoints[link])
        self.sockets.append(socket)
        return socket


class Stage:
    """Life of a stage: `bind`, `prepare`, wait for the start, `work`, `close`, last report."""

    name = ""

    def __init__(self, io: StageIo) -> None:
        self.io = io
        self._status_ns = 0

    def run(self) -> None:
        """Go through the whole life; errors go to the caller, after everything was closed.

        A stage that is halted leaves early, wherever it waits, and still reports.
        """
        control = self.io.control
        try:
            control.send(Hello(self.name, os.getpid(), self.bind()))
            control.send(Ready(self.name, self.prepare()))
            while control.start is None:
                control.wait(IDLE_S)
                self.idle()
            self.work()
        except Halted:
            pass
        finally:
            self.close()
            for socket in self.io.sockets:
                socket.close()
        control.send(Done(self.name, self.report()))

    def bind(self) -> dict[str, str]:
        """Bind this stage's sockets; return their endpoints by link."""
        return {}

    def prepare(self) -> dict[str, Any]:
        """Load models, open sources or sinks; return facts for the supervisor."""
        return {}

    def idle(self) -> None:
        """Called while the stage waits for the start."""

    def work(self) -> None:
        """Do the work until the stream ends or the stage is halted."""
        raise NotImplementedError

    def close(self) -> None:
        """Free everything; called once, whatever happened before."""

    def report(self) -> dict[str, Any]:
        """Return the counters for the run's report."""
        return {}

    def tell(self) -> None:
        """Send the counters to the supervisor when it is time to.

        Call it wherever the stage may wait for long: a stage that does not tell anything hangs.
        """
        now_ns = self.io.clock()
        if now_ns - self._status_ns >= STATUS_NS:
            self._status_ns = now_ns
            self.io.control.send(Status(self.name, self.status(now_ns), self.beat_ns(now_ns)))

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return the counters for the live line and the live metrics."""
        return self.report()

    def beat_ns(self, now_ns: int) -> int:
        """Return until when all of the stage was at work."""
        return now_ns


def credits_for(policy: str, slots: int) -> tuple[int, int]:
    """Return how many frames may be on the way to the tracker, and to the publisher.

    Both together leave one slot of the ring for the frame that is being tracked, whose credit is
    given back when its turn begins: `every` never waits for a slot while it has a credit.

    Args:
        policy: `latest` or `every`.
        slots: Slots of the ring.
    """
    if policy == "latest":
        return 1, min(2, slots - 2)
    each = max(1, min(4, (slots - 1) // 2))
    return each, each
