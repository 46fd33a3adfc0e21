"""The page in a real browser, driven through Chromium's own debugging protocol."""

import threading
import time

import pytest

from stream.contracts import RunInfo
from stream.web import WebSink

pytestmark = pytest.mark.browser

SLOW_PICTURES = """(() => {
  const decode = createImageBitmap;
  window.createImageBitmap = async (blob) => {
    await new Promise((done) => setTimeout(done, 200));
    return decode(blob);
  };
  return true;
})()"""


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
