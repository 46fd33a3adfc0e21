"""Publishes every result on a ZeroMQ PUB socket: (topic, msgpack map), see `stream.wire`.

A PUB socket never waits: a subscriber that reads too slowly loses messages, the run does not.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from stream import wire
from stream.errors import SinkError, UsageError
from stream.frame import Frame, Masks

LINGER_MS = 200
ACCEPTED = "tcp://127.0.0.1:PORT (or :* for a free port) and ipc://PATH"


def check_endpoint(endpoint: str) -> str:
    """Check an endpoint to bind, and bring it into the form that ZeroMQ takes.

    Args:
        endpoint: `tcp://HOST:PORT` with a loopback host, or `ipc://PATH`.

    Returns:
        The endpoint with numeric host and `*` for a free port.

    Raises:
        UsageError: Another transport, a host that is not loopback, or a port that is none.
    """
    kind, _, address = endpoint.partition("://")
    if kind == "ipc" and address:
        return endpoint
    if kind != "tcp" or ":" not in address:
        raise UsageError(f"publish.endpoint {endpoint!r} is not accepted; accepted are {ACCEPTED}")
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not _is_loopback(host):
        raise UsageError(
            f"publish.endpoint {endpoint!r} is open to the network; that needs CURVE keys, which "
            f"the configuration does not support yet; accepted are {ACCEPTED}"
        )
    if port not in ("*", "0") and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(
            f"publish.endpoint {endpoint!r}: port {port!r} is not accepted; it must be 1 to 65535, "
            "or * for a free one"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"tcp://{shown}:{'*' if port == '0' else port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
        endpoint = check_endpoint(self.endpoint)
        if endpoint.startswith("ipc://"):
            _check_ipc_path(Path(endpoint.removeprefix("ipc://")))
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, self._high_water_mark)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise _bind_error(self.endpoint, error) from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

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


def _check_ipc_path(path: Path) -> None:
    """Refuse a path that ZeroMQ would delete although somebody uses it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SinkError(
            f"ipc://{path}: cannot be bound: {error.strerror}; choose another publish.endpoint"
        ) from error
    if not stat.S_ISSOCK(mode):
        raise SinkError(
            f"ipc://{path} is a file that is not a socket, it is left alone; choose another "
            "publish.endpoint"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Nobody listens on a socket that a killed run left behind.
        if probe.connect_ex(os.fspath(path)) not in (errno.ECONNREFUSED, errno.ENOENT):
            raise _in_use(f"ipc://{path}", "ipc:///tmp/maskcast-2")


def _bind_error(endpoint: str, error: zmq.ZMQError) -> SinkError:
    if error.errno == zmq.EADDRINUSE:
        return _in_use(endpoint, "tcp://127.0.0.1:* for a free port")
    return SinkError(
        f"{endpoint}: cannot be bound: {error.strerror}; choose another publish.endpoint"
    )


def _in_use(endpoint: str, example: str) -> SinkError:
    return SinkError(
        f"{endpoint} is in use; choose another publish.endpoint, for example {example}, "
        "or stop the program that uses it"
    )
