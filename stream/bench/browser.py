"""A headless Chromium that shows the page while it is measured, driven by its own protocol.

Protocol: "Chrome DevTools Protocol" (Google), JSON messages over a websocket.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from stream.bench.paints import PageClock, Ping, clock_of
from stream.errors import MaskcastError, UsageError
from stream.pipeline import Observer, Snapshot

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # it opens our own page only, and containers allow it no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-port=0",
)
WINDOW: Final = (1280, 960)
START_S: Final = 60.0
ANSWER_S: Final = 20.0
PINGS: Final = 60
_LOOPBACK: Final = "127.0.0.1"


def find_browser() -> str:
    """Return the path of a Chromium.

    Raises:
        UsageError: There is none.
    """
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise UsageError(
        "--page needs Chromium, which is not installed: apt-get install chromium "
        f"(looked for {', '.join(NAMES)})"
    )


class Browser:
    """One page of a Chromium of its own; a context manager.

    Args:
        path: The executable.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = itertools.count(1)
        self._exit = contextlib.ExitStack()
        self._socket: ClientConnection | None = None
        self.version = ""

    def __enter__(self) -> Browser:
        with contextlib.ExitStack() as stack:
            folder = tempfile.mkdtemp(prefix="maskcast-page-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            size = f"--window-size={WINDOW[0]},{WINDOW[1]}"
            process = subprocess.Popen(
                [self._path, *FLAGS, size, f"--user-data-dir={folder}", "about:blank"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            stack.callback(_end, process)
            try:
                port = _port(process, Path(folder))
                address = _page_address(port)
                wire = socket.create_connection((_LOOPBACK, port), ANSWER_S)
                self._socket = stack.enter_context(connect(address, sock=wire, max_size=None))
            except (OSError, WebSocketException) as error:
                raise MaskcastError(f"{self._path} cannot be talked to: {error}") from error
            self.version = str(self.call("Browser.getVersion")["product"])
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser and wait for the answer.

        Raises:
            MaskcastError: It does not answer.
        """
        assert self._socket is not None
        number = self._send(method, parameters)
        try:
            while True:
                answer = json.loads(self._socket.recv(timeout=ANSWER_S))
                if answer.get("id") == number:
                    result: dict[str, Any] = answer.get("result", {})
                    return result
        except (OSError, WebSocketException) as error:
            raise MaskcastError(f"the browser does not answer {method}: {error}") from error

    def open(self, url: str) -> None:
        """Let the page go somewhere, without waiting until it is there."""
        self._send("Page.navigate", {"url": url})

    def read(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; None where it is undefined."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value")

    def paints(self) -> list[tuple[int, float]]:
        """Return what was painted since the page was opened: frame and `performance.now()`."""
        return [(int(frame), float(at)) for frame, at in self.read("window.paints") or []]

    def clock(self) -> PageClock:
        """Ask the page for its time, often."""
        pings = []
        for _ in range(PINGS):
            sent_ns = time.monotonic_ns()
            page_ms = float(self.read("performance.now()"))
            pings.append(Ping(sent_ns, page_ms, time.monotonic_ns()))
        return clock_of(pings)

    def _send(self, method: str, parameters: dict[str, Any]) -> int:
        assert self._socket is not None
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        return number


class Visitor(Observer):
    """Opens the page of a run once it is there."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def started(self, now: Snapshot) -> None:
        """See `Observer.started`."""
        self._browser.open(f"{now.sinks['web']['url']}?latency=1")


def _port(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Return where the browser listens; it writes that into its folder.

    Raises:
        MaskcastError: It ended, or did not come up in time.
    """
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise MaskcastError(f"the browser ended at once, with status {process.returncode}")
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((folder / "DevToolsActivePort").read_text().splitlines()[0])
        time.sleep(0.05)
    raise MaskcastError(f"the browser did not come up within {START_S:g} s")


def _page_address(port: int) -> str:
    """Return the path of the first page's websocket, as an address.

    Raises:
        MaskcastError: There is no page.
    """
    server = http.client.HTTPConnection(_LOOPBACK, port, timeout=ANSWER_S)
    try:
        give_up = time.monotonic() + ANSWER_S
        while time.monotonic() < give_up:
            server.request("GET", "/json/list")
            for target in json.loads(server.getresponse().read()):
                if target["type"] == "page":
                    path = urlsplit(str(target["webSocketDebuggerUrl"])).path
                    return f"ws://{_LOOPBACK}:{port}{path}"
            time.sleep(0.05)
    finally:
        server.close()
    raise MaskcastError("the browser has no page")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # it has children of its own
    process.wait()
