"""Endpoints that a run binds for others: which are accepted, and what keeps them from being bound.

Without keys nothing is open to the network: loopback and IPC sockets only.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Any

import zmq

from stream.errors import SinkError, UsageError

ACCEPTED = "tcp://127.0.0.1:PORT (or :* for a free port) and ipc://PATH"


def check_endpoint(endpoint: str, key: str = "publish.endpoint") -> str:
    """Check an endpoint to bind, and bring it into the form that ZeroMQ takes.

    Args:
        endpoint: `tcp://HOST:PORT` with a loopback host, or `ipc://PATH`.
        key: What it is called in the configuration.

    Returns:
        The endpoint with numeric host and `*` for a free port.

    Raises:
        UsageError: Another transport, a host that is not loopback, or a port that is none.
    """
    kind, _, address = endpoint.partition("://")
    if kind == "ipc" and address:
        return endpoint
    if kind != "tcp" or ":" not in address:
        raise UsageError(f"{key} {endpoint!r} is not accepted; accepted are {ACCEPTED}")
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not _is_loopback(host):
        raise UsageError(
            f"{key} {endpoint!r} is open to the network; that needs CURVE keys, which "
            f"the configuration does not support yet; accepted are {ACCEPTED}"
        )
    if port not in ("*", "0") and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(
            f"{key} {endpoint!r}: port {port!r} is not accepted; it must be 1 to 65535, "
            "or * for a free one"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"tcp://{shown}:{'*' if port == '0' else port}"


def bind(socket_: zmq.Socket[Any], endpoint: str, key: str) -> str:
    """Bind a socket.

    Args:
        socket_: Not bound yet.
        endpoint: See `check_endpoint`.
        key: What it is called in the configuration.

    Returns:
        Where it is bound, with the port.

    Raises:
        UsageError: The endpoint is not accepted.
        SinkError: The endpoint is in use or may not be bound.
    """
    checked = check_endpoint(endpoint, key)
    if checked.startswith("ipc://"):
        _check_ipc_path(Path(checked.removeprefix("ipc://")), key)
    socket_.setsockopt(zmq.IPV6, int("[" in checked))
    try:
        socket_.bind(checked)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise _in_use(endpoint, key, "tcp://127.0.0.1:* for a free port") from error
        raise SinkError(
            f"{endpoint}: cannot be bound: {error.strerror}; choose another {key}"
        ) from error
    return socket_.getsockopt_string(zmq.LAST_ENDPOINT)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_ipc_path(path: Path, key: str) -> None:
    """Refuse a path that ZeroMQ would delete although somebody uses it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SinkError(
            f"ipc://{path}: cannot be bound: {error.strerror}; choose another {key}"
        ) from error
    if not stat.S_ISSOCK(mode):
        raise SinkError(
            f"ipc://{path} is a file that is not a socket, it is left alone; choose another {key}"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # Nobody listens on a socket that a killed run left behind.
        if probe.connect_ex(os.fspath(path)) not in (errno.ECONNREFUSED, errno.ENOENT):
            raise _in_use(f"ipc://{path}", key, "ipc:///tmp/maskcast-2")


def _in_use(endpoint: str, key: str, example: str) -> SinkError:
    return SinkError(
        f"{endpoint} is in use; choose another {key}, for example {example}, "
        "or stop the program that uses it"
    )
