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

import numpy as np
import pytest
import zmq
from websockets.sync.client import ClientConnection, connect

from stream.contracts import Question
from stream.errors import UsageError
from stream.frame import Frame, Masks, TrackedObject, crop_mask
from stream.remote import Door, QuestionBook, Reply, Request
from stream.remote.requests import Forget, Prompt

Result = tuple[Frame, Masks]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0"
)


def _result(
    index: int = 0,
    size: tuple[int, int] = (48, 64),
    objects: int = 2,
    state: str = "confirmed",
    pts_s: float | None = None,
) -> Result:
    height, width = size
    rows, cols = np.mgrid[:height, :width]
    items = []
    for number in range(1, objects + 1):
        centre = (height * number / (objects + 1), (width * number / (objects + 1) + index) % width)
        disc = (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 <= 36
        mask, box = crop_mask(disc)
        items.append(TrackedObject(number, "cell", 0.9, state, mask, box, int(mask.sum())))  # type: ignore[arg-type]
    pts = index / 10 if pts_s is None else pts_s
    image = np.full((*size, 3), 80 + index % 100, dtype=np.uint8)
    frame = Frame(index, image, pts, captured_ns=1_000_000 * (index + 1))
    masks = Masks(
        index, size, pts, frame.captured_ns, tuple(items), {"tracked": 5}, {"overrun": index}
    )
    return frame, masks


@pytest.fixture
def result() -> Callable[..., Result]:
    """Makes a frame with discs and its masks."""
    return _result


class FakeRun:
    """Answers at a real door: the question as a run does, prompts with object 7 and a box."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.silent = False
        self.book = QuestionBook(Question(("cell",)))
        self._context = zmq.Context()
        self._door = Door(self._context, "tcp://127.0.0.1:*")
        self.endpoint = self._door.endpoint
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            for client, request in self._door.receive():
                self.asked.append(request)
                if not self.silent:
                    self._door.reply(client, self._reply(request))

    def _reply(self, request: Request) -> Reply:
        found = {}
        try:
            if isinstance(request, Prompt):
                if request.like:
                    self.book.show(request.label)
                found = {"id": request.id or 7, "frame": request.frame, "box": (8, 8, 24, 20)}
            elif isinstance(request, Forget):
                found = {"id": request.id}
            else:
                self.book.change(request)
        except UsageError as error:
            return Reply(False, error=str(error))
        asked = self.book.question
        kinds = (asked.texts, asked.negatives, asked.exemplars)
        return Reply(True, "", self.book.revision, *kinds, **found)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._door.close()
        self._context.term()


@pytest.fixture
def fake_run() -> Iterator[FakeRun]:
    """A run that listens; `asked` holds what reached it."""
    run = FakeRun()
    yield run
    run.close()


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
        """Return the value of an expression; None where it is undefined."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

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
