"""The page in a real browser, driven through Chromium's own debugging protocol."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from stream.contracts import RunInfo
from stream.web import WebSink

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SLOW_PICTURES = """(() => {
  const decode = createImageBitmap;
  window.createImageBitmap = async (blob) => {
    await new Promise((done) => setTimeout(done, 200));
    return decode(blob);
  };
  return true;
})()"""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0"
)


class Browser:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=20))
            if answer.get("id") == number:
                return answer["result"]
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(answer["params"]))

    def read(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"][
            "value"
        ]

    def wait(self, expression: str, wanted: Callable[[Any], bool]) -> Any:
        give_up = time.monotonic() + 15
        while not wanted(value := self.read(expression)):
            assert time.monotonic() < give_up, f"{expression} stayed {value!r}; {self.complaints}"
            time.sleep(0.05)
        return value


@pytest.fixture
def browser(tmp_path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS.split(), f"--user-data-dir={tmp_path}/profile", "about:blank"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        port = next(
            found[1]
            for line in process.stderr
            if (found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line))
        )
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        address = pages[0]["webSocketDebuggerUrl"]
        with connect(address, max_size=None) as socket:
            yield Browser(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_page_shows_pictures_figures_and_the_end(browser, result):
    info = RunInfo("main", "film", ["cell", "<b>dust</b>"], model="micro", fps=50, live=True)
    sink = WebSink(port=0, max_fps=50, info=info)
    sink.open()
    done = threading.Event()

    def run() -> None:
        index = 0
        while not done.wait(0.02):
            frame, masks = result(index, (96, 128), objects=3)
            masks.captured_ns = time.monotonic_ns() - 12_000_000
            sink.write(frame, masks)
            index += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        browser.call("Page.navigate", url=sink.url)
        browser.wait("document.title", lambda title: title == "3 cell, 0 <b>dust</b> · maskcast")
        first = int(browser.wait("frame.textContent", str.isdigit))
        browser.wait(
            "Number(document.querySelector('#frame').textContent)", lambda n: n > first + 9
        )
        assert browser.read("document.body.dataset.state") == "live"
        assert browser.read("[picture.width, picture.height]") == [128, 96]
        colours = "new Set(picture.getContext('2d').getImageData(0, 0, 128, 96).data).size"
        assert browser.read(colours) > 20
        assert browser.read(
            "[...document.querySelectorAll('.count strong')].map(c => c.textContent)"
        ) == ["3", "0"]
        assert browser.read("document.querySelectorAll('#rows tr').length") == 3
        late_ms = float(browser.read("document.querySelector('#p50').textContent"))
        assert late_ms >= 12
        browser.wait("document.querySelectorAll('.spark path').length", lambda n: n == 6)
        assert browser.read("document.documentElement.scrollWidth <= innerWidth") is True
        browser.read(SLOW_PICTURES)  # the end arrives while a picture is still being decoded
        time.sleep(0.3)
    finally:
        done.set()
        thread.join()
        sink.close()
    browser.wait("document.body.dataset.state", lambda state: state == "ended")
    assert [text for text in browser.complaints if "exception" in text.lower()] == []
