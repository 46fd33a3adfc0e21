"""Paints of the page in a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.bench.browser import Browser, find_browser
from stream.contracts import RunInfo
from stream.errors import MaskcastError, UsageError
from stream.frame import Frame, Masks
from stream.web import WebSink

pytestmark = pytest.mark.browser

SLOW_MS = 250
SLOW_PICTURES = f"""(() => {{
  const decode = createImageBitmap;
  window.createImageBitmap = async (blob) => {{
    await new Promise((done) => setTimeout(done, {SLOW_MS}));
    return decode(blob);
  }};
  return true;
}})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        path = find_browser()
    except UsageError as error:
        pytest.skip(str(error))
    with Browser(path) as found:
        yield found


class Film:
    """A page with a new frame every 40 ms; remembers when each was given to it."""

    def __init__(self) -> None:
        info = RunInfo("main", "film", ["cell"], fps=25, live=True)
        self.sink = WebSink(port=0, max_fps=25, info=info)
        self.given_ns: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Film:
        self.sink.open()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.sink.close()

    def _run(self) -> None:
        index = 0
        while not self._stop.wait(0.04):
            now_ns = self.given_ns[index] = time.monotonic_ns()
            image = np.full((96, 128, 3), index % 200, np.uint8)
            masks = Masks(index, (96, 128), index / 25, now_ns)
            self.sink.write(Frame(index, image, index / 25, now_ns), masks)
            index += 1


def late_ms(browser: Browser, film: Film, count: int) -> list[float]:
    """How long after it was given each of the last pictures was painted."""
    give_up, seen = time.monotonic() + 30, len(browser.paints())
    while len(browser.paints()) < seen + count:
        assert time.monotonic() < give_up, "nothing is painted"
        time.sleep(0.1)
    clock, paints = browser.clock(), browser.paints()
    frames = [frame for frame, _ in paints]
    assert frames == sorted(set(frames))
    assert clock.error_ns < 20_000_000
    return [
        (clock.ours_ns(at) - film.given_ns[frame] + clock.error_ns) / 1e6
        for frame, at in paints[seen:]
    ]


def test_paints_come_after_their_frames_and_a_slow_picture_is_painted_late(
    browser: Browser,
) -> None:
    with Film() as film:
        browser.open(f"{film.sink.url}?latency=1")
        quick = late_ms(browser, film, 10)
        assert min(quick) > 0
        assert browser.read(SLOW_PICTURES) is True
        late_ms(browser, film, 2)  # one was under way
        slow = late_ms(browser, film, 4)
    assert min(slow) >= SLOW_MS
    assert min(quick) < SLOW_MS


def test_a_page_that_nobody_measures_keeps_no_times(browser: Browser) -> None:
    with Film() as film:
        browser.open(film.sink.url)
        give_up = time.monotonic() + 30
        while not str(browser.read("document.querySelector('#frame')?.textContent")).isdigit():
            assert time.monotonic() < give_up
            time.sleep(0.1)
        assert browser.read("window.paints === undefined") is True
        assert browser.paints() == []


def test_what_is_no_browser_is_said(tmp_path: Path) -> None:
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    with pytest.raises(MaskcastError, match="ended at once, with status 3"), Browser(str(fake)):
        pass
