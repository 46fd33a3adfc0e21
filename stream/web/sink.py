"""The sink that serves the live page, from a thread of the publisher's process."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Callable

import structlog
import uvicorn

from stream.contracts import RunInfo
from stream.errors import SinkError, UsageError
from stream.frame import Frame, Masks
from stream.web.app import make_app
from stream.web.asking import Asking
from stream.web.board import Board
from stream.web.guard import LOOPBACK_NAMES
from stream.web.hub import Hub

START_TIMEOUT_S = 5.0
FAREWELL_S = 0.5
STOP_S = 0.25


class WebSink:
    """Serves the page at `url`.

    Attributes:
        url: Where the page is; final after `open`, which fills in a free port.
        hub: Views and clients, for tests and figures.
        asking: What passes requests on to the run.
    """

    name = "web"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        max_fps: float = 15.0,
        jpeg_quality: int = 80,
        info: RunInfo | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        control: bool | None = None,
    ) -> None:
        """Prepare; nothing is bound yet.

        Args:
            host: Address or name to bind; loopback unless the page is meant for the network.
            port: Port, 0 for a free one.
            max_fps: Pictures a second at most.
            jpeg_quality: 1 to 95.
            info: What the page says about the run; read again for every picture.
            clock_ns: Monotonic time, the clock of `captured_ns`.
            control: Whether the page may change what the run looks for; None: on loopback only.
        """
        self.url = _url(host, port)
        self._host = host
        self._port = port
        info = info or RunInfo(stream="main", source="", texts=[])
        self._may_ask = host in LOOPBACK_NAMES if control is None else control
        self.hub = Hub(Board(info, self._may_ask), max_fps, jpeg_quality, clock_ns)
        self.asking = Asking(info, self._may_ask, self.hub.until_closed)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Bind and start to serve.

        Raises:
            SinkError: The port is in use or may not be bound.
            UsageError: The host is not one of this machine.
        """
        listener = _bind(self._host, self._port)
        self.url = _url(self._host, listener.getsockname()[1])
        if self._host not in LOOPBACK_NAMES:
            structlog.get_logger().warning(
                "the page is open to everyone who reaches this address",
                url=self.url,
                control=self._may_ask,
            )
        config = uvicorn.Config(
            make_app(self.hub, self.asking, self._host),
            log_config=None,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=1024,
            ws_per_message_deflate=False,
            server_header=False,
            backlog=32,
        )
        self._server = uvicorn.Server(config)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener, ready), name="web", daemon=True
        )
        self._thread.start()
        if not ready.wait(START_TIMEOUT_S):
            raise SinkError(f"{self.url}: the page did not start within {START_TIMEOUT_S} s")

    def write(self, frame: Frame, masks: Masks) -> None:
        """Take one result; a picture is made only when a page waits for one."""
        if not self.hub.closed:
            self.hub.offer(frame, masks)

    def close(self) -> None:
        """Tell the pages that the stream ended, and stop serving within a second."""
        self.hub.finish()
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return
        self.hub.wait_empty(FAREWELL_S)
        server.should_exit = True
        # Whoever is still there does not read any more.
        server.force_exit = not self.hub.wait_empty(0.0)
        thread.join(STOP_S)

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        assert self._server is not None
        server = self._server

        async def serve() -> None:
            self.hub.attach(asyncio.get_running_loop())
            ready.set()  # The socket listens already; connections wait in its backlog.
            await server.serve([listener])

        try:
            asyncio.run(serve())
        finally:
            self.asking.close()
            self.hub.detach()
            listener.close()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(
            f"web.host {host!r} cannot be resolved; it must be an address of this machine, for "
            "example 127.0.0.1"
        ) from error
    listener = socket.socket(family, kind, number)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(32)
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, error) from error
    listener.setblocking(False)
    return listener


def _bind_error(host: str, port: int, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return SinkError(
            f"{_url(host, port)} is in use; choose another web.port, or 0 for a free one"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"web.host {host!r} is not an address of this machine; use for example 127.0.0.1"
        )
    return SinkError(
        f"{_url(host, port)} cannot be bound: {error.strerror}; choose another web.port"
    )


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
