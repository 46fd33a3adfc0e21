"""Publishes every result on a ZeroMQ PUB socket: (topic, msgpack map), see `stream.wire`.

A PUB socket never waits: a subscriber that reads too slowly loses messages, the run does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import zmq

from stream import wire
from stream.endpoints import bind
from stream.errors import MaskcastError, SinkError
from stream.frame import Frame, Masks

LINGER_MS = 200


class PublisherSink:
    """Publishes masks; a frame's pixels are not sent.

    Attributes:
        endpoint: What was asked for; after `open` the real endpoint, with its port.
        published: Messages handed to ZeroMQ.
    """

    name = "publisher"

    def __init__(
        self,
        endpoint: str,
        stream: str,
        high_water_mark: int = 100,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.endpoint = endpoint
        self.published = 0
        self._stream = stream
        self._topic = wire.topic(stream)
        self._high_water_mark = high_water_mark
        self._clock_ns = clock_ns
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def open(self) -> None:
        """Bind.

        Raises:
            UsageError: The endpoint is not accepted.
            SinkError: The endpoint is in use or may not be bound.
        """
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, self._high_water_mark)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        try:
            self.endpoint = bind(self._socket, self.endpoint, "publish.endpoint")
        except MaskcastError:
            self.close()
            raise

    def write(self, frame: Frame, masks: Masks) -> None:
        """Publish one frame's masks; returns at once whoever listens.

        Raises:
            SinkError: The sink is not open, or ZeroMQ refused the message.
        """
        if self._socket is None:
            raise SinkError(f"{self.endpoint}: cannot publish, the socket is not open")
        message = wire.to_message(masks, self._stream)
        message = msgspec.structs.replace(message, published_ns=self._clock_ns())
        try:
            self._socket.send_multipart([self._topic, wire.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise SinkError(f"{self.endpoint}: cannot publish: {error.strerror}") from error
        self.published += 1

    def close(self) -> None:
        """Close the socket; what is queued still leaves within 0.2 s."""
        if self._socket is not None:
            self._socket.close(LINGER_MS)
            self._socket = None
        if self._context is not None:
            self._context.term()
            self._context = None
