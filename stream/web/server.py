"""An HTTP server in a thread of its own, bound before it is said to be there."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from stream.errors import SinkError, UsageError

START_TIMEOUT_S = 5.0
STOP_S = 0.25


class Server:
    """Serves an application at `url`.

    Args:
        host: Address or name to bind.
        port: Port, 0 for a free one.
        section: Section of the configuration that host and port come from, for messages.

    Attributes:
        url: Where it is; final after `open`, which fills in a free port.
    """

    def __init__(self, host: str, port: int, section: str) -> None:
        self.url = _url(host, port)
        self._host = host
        self._port = port
        self._section = section
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def open(
        self,
        app: ASGIApp,
        begun: Callable[[asyncio.AbstractEventLoop], None] = lambda _: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Bind and start to serve.

        Args:
            app: What answers.
            begun: Called in the server's thread with its loop.
            ended: Called in the server's thread after its loop has ended.

        Raises:
            SinkError: The port is in use or may not be bound.
            UsageError: The host is not one of this machine.
        """
        listener = self._bind()
        self.url = _url(self._host, listener.getsockname()[1])
        config = uvicorn.Config(
            app,
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
        self._server = server = uvicorn.Server(config)
        ready = threading.Event()

        async def serve() -> None:
            begun(asyncio.get_running_loop())
            ready.set()  # The socket listens already; connections wait in its backlog.
            await server.serve([listener])

        def run() -> None:
            try:
                asyncio.run(serve())
            finally:
                ended()
                listener.close()

        self._thread = threading.Thread(target=run, name=self._section, daemon=True)
        self._thread.start()
        if not ready.wait(START_TIMEOUT_S):
            raise SinkError(f"{self.url}: the server did not start within {START_TIMEOUT_S} s")

    @property
    def running(self) -> bool:
        """Whether it was opened and not yet stopped."""
        return self._server is not None

    def stop(self, *, force: bool) -> None:
        """Stop to serve, within a moment.

        Args:
            force: Do not wait for connections that are still open.
        """
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return
        server.should_exit = True
        server.force_exit = force
        thread.join(STOP_S)

    def _bind(self) -> socket.socket:
        try:
            family, kind, number, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except socket.gaierror as error:
            raise UsageError(
                f"{self._section}.host {self._host!r} cannot be resolved; it must be an address of "
                "this machine, for example 127.0.0.1"
            ) from error
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(32)
        except OSError as error:
            listener.close()
            raise self._bind_error(error) from error
        listener.setblocking(False)
        return listener

    def _bind_error(self, error: OSError) -> Exception:
        section = self._section
        if error.errno == errno.EADDRINUSE:
            return SinkError(
                f"{self.url} is in use; choose another {section}.port, or 0 for a free one"
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return UsageError(
                f"{section}.host {self._host!r} is not an address of this machine; use for example "
                "127.0.0.1"
            )
        return SinkError(
            f"{self.url} cannot be bound: {error.strerror}; choose another {section}.port"
        )


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
