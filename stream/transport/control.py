"""The control link: each stage talks to the supervisor, the supervisor to each stage."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import zmq

from stream.transport.headers import (
    Asked,
    ControlHeader,
    Facts,
    Forget,
    Halt,
    Hand,
    Order,
    Start,
    Stop,
    Vitals,
    decode_control,
    encode,
)
from stream.transport.place import Place

_NAME = "control"


class Halted(Exception):  # noqa: N818 - it is an order, not an error
    """The supervisor wants this stage to end now."""


class Control:
    """A stage's end. All waiting of a stage goes through `wait`, so that orders always arrive.

    Attributes:
        stopping: The reader is to read no more.
        halted: The stage is to end at the next frame.
        halted_until: When it is killed if it still runs, on the clock of `time.monotonic()`.
        facts: What the opened source is, once known.
        start: The order to begin, once given.
        orders: What people want, to be taken by the stage in its own time.
        vitals: What the supervisor last told of all stages; only the publisher is told.
    """

    def __init__(self, context: zmq.Context[Any], place: Place, stage: str) -> None:
        self._socket = place.socket(context, zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, stage.encode())
        self._socket.connect(place.endpoint(_NAME))
        self.stage = stage
        self.stopping = False
        self.halted = False
        self.halted_until = float("inf")
        self.facts: dict[str, Any] | None = None
        self.start: Start | None = None
        self.orders: deque[Order] = deque()
        self.vitals: Vitals | None = None

    def send(self, header: ControlHeader) -> None:
        """Tell the supervisor; when it is gone, this stage is to end."""
        try:
            self._socket.send(encode(header), zmq.NOBLOCK)
        except zmq.Again:
            self.halt(0.0)

    def halt(self, grace_s: float) -> None:
        """Note the order to end; may be called from another thread."""
        self.halted_until = min(self.halted_until, time.monotonic() + grace_s)
        self.stopping = self.halted = True

    def wait(self, timeout_s: float, *others: Any, raise_halted: bool = True) -> bool:
        """Wait until one of the other sockets (or descriptors) can be read, or an order came.

        Args:
            timeout_s: Longest wait in seconds; 0 does not wait.
            others: ZeroMQ sockets or objects with a file descriptor.
            raise_halted: False for what is to be done even when the stage is to end.

        Returns:
            Whether one of `others` can be read.

        Raises:
            Halted: The supervisor ordered the end.
        """
        if self.halted and raise_halted:
            raise Halted
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        for other in others:
            poller.register(other, zmq.POLLIN)
        events = poller.poll(max(0, int(timeout_s * 1000)))
        ready = len(events)
        if any(source is self._socket for source, _ in events):
            ready -= 1
            self.pump()
        if self.halted and raise_halted:
            raise Halted
        return ready > 0

    def pump(self) -> None:
        """Take in all orders that have come."""
        while True:
            try:
                header = decode_control(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return
            self._take(header)

    def close(self) -> None:
        """Close the socket; what was sent lingers for a bounded time."""
        self._socket.close()

    def _take(self, header: ControlHeader) -> None:
        match header:
            case Stop():
                self.stopping = True
            case Halt():
                self.halt(header.grace_s)
            case Facts():
                self.facts = header.source
            case Start():
                self.start = header
            case Vitals():
                self.vitals = header
            case Asked() | Hand() | Forget():
                self.orders.append(header)
            case _:
                raise ValueError(f"{type(header).__name__} is not an order")


class Hub:
    """The supervisor's end."""

    def __init__(self, context: zmq.Context[Any], place: Place) -> None:
        self._socket = place.socket(context, zmq.ROUTER)
        self._socket.bind(place.endpoint(_NAME))

    def receive(self, timeout_s: float) -> list[ControlHeader]:
        """Return what the stages said, waiting at most this long for the first word."""
        found: list[ControlHeader] = []
        if not self._socket.poll(max(0, int(timeout_s * 1000))):
            return found
        while True:
            try:
                _, data = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return found
            found.append(decode_control(data))

    def send(self, stage: str, header: ControlHeader) -> None:
        """Order a stage; lost without a word when it is gone."""
        self._socket.send_multipart([stage.encode(), encode(header)], zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket; the last orders linger for a bounded time."""
        self._socket.close()
