"""Where requests come in. Bound to loopback; requests are small, answers go to who asked."""

from __future__ import annotations

from typing import Any

import zmq

from stream.endpoints import bind
from stream.errors import MaskcastError
from stream.remote.requests import MAX_BYTES, Reply, Request, decode_request, encode

KEY = "control.endpoint"
LINGER_MS = 200
HIGH_WATER_MARK = 64
MOST_AT_ONCE = 16


class Door:
    """A run's end of the conversation.

    Args:
        context: ZeroMQ context.
        endpoint: Where to bind.

    Raises:
        UsageError: The endpoint is not accepted.
        SinkError: It is in use or may not be bound.
    """

    def __init__(self, context: zmq.Context[Any], endpoint: str) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        try:
            self.endpoint = bind(self._socket, endpoint, KEY)
        except MaskcastError:
            self._socket.close()
            raise

    def receive(self) -> list[tuple[bytes, Request]]:
        """Return what was asked since the last call, with the address of who asked.

        What is no request is answered here.
        """
        found: list[tuple[bytes, Request]] = []
        for _ in range(MOST_AT_ONCE):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(parts) != 3 or parts[1]:
                continue  # not the envelope of a REQ socket: there is nobody to answer
            try:
                found.append((parts[0], decode_request(parts[2])))
            except ValueError as error:
                self.reply(parts[0], Reply(False, error=str(error)))
        return found

    def reply(self, client: bytes, reply: Reply) -> None:
        """Answer; lost without a word when the client is gone or does not read."""
        try:
            self._socket.send_multipart([client, b"", encode(reply)], zmq.NOBLOCK)
        except zmq.Again:
            return

    def close(self) -> None:
        """Close; answers on their way still leave."""
        self._socket.close()
