"""Asks something of a run that goes on."""

from __future__ import annotations

from typing import Any

import zmq

from stream.errors import MaskcastError, UsageError
from stream.remote.requests import Reply, Request, decode_reply, encode

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5561"
TIMEOUT_S = 10.0


class Client:
    """One connection; a request at a time.

    Args:
        endpoint: Where the run listens: `control.endpoint` of its configuration.
        timeout_s: Time for an answer.
    """

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, timeout_s: float = TIMEOUT_S) -> None:
        self.endpoint = endpoint
        self._timeout_ms = round(timeout_s * 1000)
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[Any] | None = None

    def ask(self, request: Request) -> Reply:
        """Send a request and wait for its reply.

        Raises:
            UsageError: The request cannot be written down.
            MaskcastError: Nobody answers, or the endpoint is none.
        """
        try:
            data = encode(request)
        except UnicodeEncodeError as error:
            raise UsageError(f"{error.object!r} is not accepted; it must be valid UTF-8") from error
        data = self.exchange(data)
        try:
            return decode_reply(data)
        except ValueError as error:
            raise MaskcastError(f"{self.endpoint} does not speak as a run does: {error}") from error

    def exchange(self, data: bytes) -> bytes:
        """Send an encoded request; return the encoded reply; raises as `ask`."""
        socket = self._connected()
        socket.send(data)
        if not socket.poll(self._timeout_ms):
            # A REQ socket that still waits can send nothing else.
            self._disconnect()
            raise MaskcastError(
                f"nobody answers at {self.endpoint}; is a run going on there? Its control.endpoint "
                "is what to name here"
            )
        reply: bytes = socket.recv()
        return reply

    def close(self) -> None:
        """Free the socket; may be called twice."""
        self._disconnect()
        self._context.term()

    def __enter__(self) -> Client:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _connected(self) -> zmq.Socket[Any]:
        if self._socket is None:
            socket = self._context.socket(zmq.REQ)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDTIMEO, self._timeout_ms)
            socket.setsockopt(zmq.IPV6, int("[" in self.endpoint))
            self._socket = socket
            try:
                socket.connect(self.endpoint)
            except zmq.ZMQError as error:
                raise MaskcastError(
                    f"{self.endpoint} is not an endpoint: {error.strerror}; it looks like "
                    f"{DEFAULT_ENDPOINT}"
                ) from error
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
