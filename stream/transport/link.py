"""A link between two stages: headers one way, credits the other.

The consumer grants as many messages as it is ready to take, and grants one more for each that it
has done with. So at most the granted number is on its way, whatever the sockets' own queues
would hold: a live source with a credit of one always gets the newest frame through.

One side binds and can say nothing before the other has connected. So each producer first waits
for the consumer's first credit.

Sending never blocks: credits keep the queues far from full, so only a peer that is gone can
refuse a message. It is lost then, as it would be a moment earlier; the supervisor sees the death.
"""

from __future__ import annotations

import contextlib
from typing import Any

import zmq

from stream.transport.headers import Credit, DataHeader, End, decode_data, encode


class Outbox:
    """The producer's end."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self.socket = socket
        self._credit = 0

    @property
    def credit(self) -> int:
        """Messages that the consumer can take now."""
        while (header := _receive(self.socket)) is not None:
            if not isinstance(header, Credit):
                raise ValueError(
                    f"a consumer sent {type(header).__name__}; only Credit is its word"
                )
            self._credit += header.n
        return self._credit

    def send(self, header: DataHeader) -> None:
        """Send a message; it uses one credit. `End` needs none.

        Raises:
            ValueError: There is no credit.
        """
        if not isinstance(header, End):
            if self.credit < 1:
                raise ValueError(f"no credit for {type(header).__name__}")
            self._credit -= 1
        _send(self.socket, header)

    def close(self) -> None:
        """Close the socket; what was sent lingers for a bounded time."""
        self.socket.close()


class Inbox:
    """The consumer's end."""

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self.socket = socket

    def grant(self, n: int = 1) -> None:
        """Tell the producer that `n` more can come."""
        _send(self.socket, Credit(n))

    def receive(self) -> DataHeader | None:
        """Return the next message, or None when there is none now.

        Raises:
            ValueError: Something that is not a header came.
        """
        return _receive(self.socket)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class Exchange:
    """One end of a link for questions and answers; the answer is the credit for the next.

    The side that answers begins with a `Credit`.
    """

    def __init__(self, socket: zmq.Socket[Any]) -> None:
        self.socket = socket

    def send(self, header: DataHeader) -> None:
        """Send a question, or an answer."""
        _send(self.socket, header)

    def receive(self) -> DataHeader | None:
        """Return the next message, or None when there is none now."""
        return _receive(self.socket)

    def close(self) -> None:
        """Close the socket; what was sent lingers for a bounded time."""
        self.socket.close()


def _send(socket: zmq.Socket[Any], header: DataHeader) -> None:
    with contextlib.suppress(zmq.Again):
        socket.send(encode(header), zmq.NOBLOCK)


def _receive(socket: zmq.Socket[Any]) -> DataHeader | None:
    try:
        data = socket.recv(zmq.NOBLOCK)
    except zmq.Again:
        return None
    return decode_data(data)
