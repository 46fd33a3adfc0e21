"""The sink that serves the live page, from a thread of the publisher's process."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from stream.contracts import RunInfo
from stream.frame import Frame, Masks
from stream.web.app import make_app
from stream.web.asking import Asking
from stream.web.board import Board
from stream.web.guard import LOOPBACK_NAMES
from stream.web.hub import Hub
from stream.web.machines import machine_routes
from stream.web.server import Server

FAREWELL_S = 0.5


class WebSink:
    """Serves the page at `url`.

    Attributes:
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
        metrics: bool = True,
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
            metrics: Whether `/metrics` is answered, too.
        """
        self._host = host
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._info = info = info or RunInfo(stream="main", source="", texts=[])
        self._may_ask = host in LOOPBACK_NAMES if control is None else control
        self.hub = Hub(Board(info, self._may_ask), max_fps, jpeg_quality, clock_ns)
        self.asking = Asking(info, self._may_ask, self.hub.until_closed)
        self._server = Server(host, port, "web")

    @property
    def url(self) -> str:
        """Where the page is; final after `open`, which fills in a free port."""
        return self._server.url

    def open(self) -> None:
        """Bind and start to serve.

        Raises:
            SinkError: The port is in use or may not be bound.
            UsageError: The host is not one of this machine.
        """
        routes = machine_routes(self._info.vitals, metrics=self._metrics, clock_ns=self._clock_ns)
        app = make_app(self.hub, self.asking, self._host, routes)
        self._server.open(app, self.hub.attach, self._ended)
        if self._host not in LOOPBACK_NAMES:
            structlog.get_logger().warning(
                "the page is open to everyone who reaches this address",
                url=self.url,
                control=self._may_ask,
            )

    def write(self, frame: Frame, masks: Masks) -> None:
        """Take one result; a picture is made only when a page waits for one."""
        if not self.hub.closed:
            self.hub.offer(frame, masks)

    def close(self) -> None:
        """Tell the pages that the stream ended, and stop serving within a second."""
        self.hub.finish()
        if not self._server.running:
            return
        self.hub.wait_empty(FAREWELL_S)
        # Whoever is still there does not read any more.
        self._server.stop(force=not self.hub.wait_empty(0.0))

    def _ended(self) -> None:
        self.asking.close()
        self.hub.detach()
