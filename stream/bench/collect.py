"""A subscriber of the run that is measured: what it received, and when."""

from __future__ import annotations

import threading
import time
from typing import Any

import zmq

from stream import wire
from stream.bench.samples import Sample, to_sample

HIGH_WATER_MARK = 10_000
_POLL_MS = 50
_RECONNECT_MS = 10
DRAIN_S = 0.3
"""How long a message that was published may take."""


class Collector:
    """Subscribes in a thread of its own; a context manager.

    Args:
        endpoint: Where the run publishes; it need not be there yet.
        stream: Name of the stream.
    """

    def __init__(self, endpoint: str, stream: str) -> None:
        self._endpoint = endpoint
        self._topic = wire.topic(stream)
        self._raw: list[tuple[int, bytes]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="subscriber", daemon=True)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def received(self) -> int:
        """Messages so far."""
        return len(self._raw)

    def samples(self) -> list[Sample]:
        """Return what was received, in the order of frames. Messages are decoded only now."""
        found = {}
        for at_ns, data in self._raw:
            sample = to_sample(wire.decode(data), at_ns)
            found[sample.frame] = sample
        return [found[frame] for frame in sorted(found)]

    def _receive(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        socket = context.socket(zmq.SUB)
        try:
            socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
            socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
            socket.subscribe(self._topic)
            socket.connect(self._endpoint)
            until = float("inf")
            while time.monotonic() < until:
                if socket.poll(_POLL_MS):
                    parts = socket.recv_multipart()
                    self._raw.append((time.monotonic_ns(), parts[-1]))
                elif self._done.is_set():
                    until = min(until, time.monotonic() + DRAIN_S)
        finally:
            context.destroy(linger=0)
