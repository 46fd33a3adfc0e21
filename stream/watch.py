"""`maskcast watch`: subscribes to a publisher and shows what arrives."""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import zmq
from rich.console import Console
from zmq.utils.monitor import recv_monitor_message

from stream import wire
from stream.errors import SourceError, UsageError
from stream.watch_views import Arrival, JsonLines, LiveTable, PlainLines, Tally, View

HIGH_WATER_MARK = 100
ACCEPTED = "tcp://HOST:PORT and ipc://PATH"


def watch(
    endpoint: str,
    stream: str | None = None,
    frames: int | None = None,
    as_json: bool = False,
    timeout_s: float = 10.0,
    out: TextIO | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> int:
    """Show a published stream until it ends, `frames` were shown, or Ctrl-C.

    A terminal gets a live table, a pipe one line a frame. A publisher that goes away may come
    back within `timeout_s`; after that the stream counts as ended.

    Args:
        endpoint: `tcp://HOST:PORT` or `ipc://PATH` of a publisher.
        stream: Only this stream; None takes all.
        frames: End after so many frames.
        as_json: One JSON line a frame with the run lengths of the masks.
        timeout_s: Longest silence of a publisher that is not there.
        out: Where to write; standard output by default.
        clock_ns: Monotonic time, the clock of `captured_ns`.

    Returns:
        The exit status, 0.

    Raises:
        UsageError: The endpoint is not accepted.
        SourceError: Nothing arrived in time, or something that is no maskcast message.
    """
    out = out or sys.stdout
    with _subscriber(endpoint, stream) as (socket, monitor):
        view = _view(endpoint, as_json, out, clock_ns)
        shared_clock = is_same_host(endpoint)
        tallies: dict[str, Tally] = {}
        left = frames
        try:
            for message in _messages(socket, monitor, endpoint, stream, timeout_s, view):
                tally = tallies.setdefault(message.stream, Tally())
                tally.add(message)
                late = (clock_ns() - message.captured_ns) / 1e6 if shared_clock else None
                missed = sum(tally.missed for tally in tallies.values())
                view.show(Arrival(message, late, tally.received, missed))
                left = left - 1 if left is not None else None
                if left == 0:
                    break
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            _leave_broken_pipe(out)
        finally:
            view.close()
    return 0


def is_same_host(endpoint: str) -> bool:
    """Say whether a publisher at an endpoint shares this machine's monotonic clock."""
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _view(endpoint: str, as_json: bool, out: TextIO, clock_ns: Callable[[], int]) -> View:
    if as_json:
        return JsonLines(out, sys.stderr)
    if out.isatty():
        return LiveTable(Console(file=out), endpoint, lambda: clock_ns() / 1e9)
    return PlainLines(out, sys.stderr)


@contextmanager
def _subscriber(
    endpoint: str, stream: str | None
) -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    if not endpoint.startswith(("tcp://", "ipc://")):
        raise UsageError(f"endpoint {endpoint!r} is not accepted; accepted are {ACCEPTED}")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    try:
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        # A topic is a prefix for ZeroMQ; `_messages` leaves out `main-2` when `main` was asked for.
        socket.subscribe(wire.topic(stream or ""))
        monitor = socket.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise UsageError(
                f"endpoint {endpoint!r} is not accepted: {error.strerror}; accepted are {ACCEPTED}"
            ) from error
        yield socket, monitor
    finally:
        context.destroy(linger=0)


def _messages(
    socket: zmq.Socket[bytes],
    monitor: zmq.Socket[bytes],
    endpoint: str,
    stream: str | None,
    timeout_s: float,
    view: View,
) -> Iterator[wire.Message]:
    """Give messages until the publisher has been away for too long."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    received, connected = 0, False
    deadline_s = time.monotonic() + timeout_s
    while True:
        ready = dict(poller.poll(max(round((deadline_s - time.monotonic()) * 1000), 0)))
        if socket in ready:
            message = _decode(socket.recv_multipart(), endpoint)
            if stream is None or message.stream == stream:
                received += 1
                yield message
                deadline_s = time.monotonic() + timeout_s
            elif not received and time.monotonic() > deadline_s:
                raise SourceError(_silence(endpoint, stream, timeout_s, connected=True))
        elif monitor in ready:
            connected = recv_monitor_message(monitor)["event"] == zmq.EVENT_CONNECTED
            if received and not connected:
                deadline_s = time.monotonic() + timeout_s
                view.note(f"{endpoint}: the publisher is gone; waiting {timeout_s:g} s for it")
        elif received and connected:
            deadline_s = time.monotonic() + timeout_s
            view.note(f"{endpoint}: no frame for {timeout_s:g} s, the publisher is still there")
        elif received:
            view.note(f"{endpoint}: the stream ended after {received} frames")
            return
        else:
            raise SourceError(_silence(endpoint, stream, timeout_s, connected))


def _silence(endpoint: str, stream: str | None, timeout_s: float, connected: bool) -> str:
    if not connected:
        return (
            f"{endpoint}: nothing received within {timeout_s:g} s, nobody publishes there; start "
            "`maskcast run` or check its publish.endpoint"
        )
    wanted = f"stream {stream!r}" if stream else "any stream"
    return (
        f"{endpoint}: nothing received within {timeout_s:g} s; a publisher is there, but sends no "
        f"frame of {wanted}"
    )


def _decode(parts: list[bytes], endpoint: str) -> wire.Message:
    try:
        return wire.decode(parts[-1])
    except ValueError as error:
        raise SourceError(f"{endpoint}: {error}") from error


def _leave_broken_pipe(out: TextIO) -> None:
    """Keep the interpreter from flushing into a pipe that nobody reads."""
    try:
        out.close()
    except BrokenPipeError:
        sys.stderr.flush()
