"""Asking from the page, in a real browser, of a run that answers at a real door."""

import json
import threading
import time

import pytest

from stream.contracts import RunInfo
from stream.remote.requests import Add, Edit, Forget, Get, Prompt, Remove
from stream.web import WebSink

pytestmark = pytest.mark.browser

SIZE = (48, 64)
AREA = """(() => {
  const picture = document.querySelector('#picture');
  picture.scrollIntoView({ block: 'nearest' });
  const box = picture.getBoundingClientRect();
  const scale = Math.min(box.width / 64, box.height / 48);
  return [box.left + (box.width - 64 * scale) / 2, box.top + (box.height - 48 * scale) / 2, scale];
})()"""
LABELS = "[...document.querySelectorAll('.count')].map(card => card.dataset.label)"
KEYS = {"Enter": 13, "Escape": 27, "Delete": 46}
SHIFT = 8


class Page:
    """The page of a fake run, used by mouse and keys."""

    def __init__(self, browser, fake_run, result) -> None:
        self.browser, self.run = browser, fake_run
        self.info = RunInfo("main", "film", ["cell"], live=True, control=fake_run.endpoint)
        self.sink = WebSink(port=0, max_fps=50, info=self.info)
        self.sink.open()
        self._result = result
        self._frame = 0
        self._done = threading.Event()
        self._still = threading.Event()
        self._thread = threading.Thread(target=self._film)
        self._thread.start()

    def _film(self) -> None:
        """Give the same two discs again and again; frame numbers stand while the film is still."""
        while not self._done.wait(0.03):
            self.info.texts[:] = self.run.book.question.labels
            frame, masks = self._result(0, SIZE)
            frame.index = masks.frame_index = self._frame
            frame.captured_ns = masks.captured_ns = time.monotonic_ns()
            self.sink.write(frame, masks)
            self._frame += not self._still.is_set()

    def resize(self, width: int, height: int) -> None:
        self.browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def open(self) -> None:
        self.resize(1440, 900)
        self.browser.call("Page.navigate", url=self.sink.url)
        self.browser.wait("document.querySelectorAll('.name').length", lambda n: n == 1)
        self.browser.wait("Number(document.querySelector('#frame').textContent)", lambda n: n > 3)

    def stand_still(self) -> int:
        """Let the frame number stand, and return it when the page shows it."""
        self._still.set()
        time.sleep(0.1)
        text = "Number(document.querySelector('#frame').textContent)"
        self.browser.wait(text, lambda number: number == self._frame)
        return self._frame

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self.sink.close()

    def asked(self, request) -> None:
        """Wait until the run was asked something, and check what; what it is asked for apart."""
        give_up = time.monotonic() + 10
        while not (found := [i for i in self.run.asked if not isinstance(i, Get)]):
            assert time.monotonic() < give_up, self.browser.complaints
            time.sleep(0.02)
        self.run.asked.clear()
        (one,) = found
        if isinstance(request, Prompt):
            exact = [getattr(one, key) for key in ("frame", "id", "labels", "more", "like", "rle")]
            assert exact == [
                getattr(request, key) for key in ("frame", "id", "labels", "more", "like", "rle")
            ]
            assert one.box == (request.box and pytest.approx(request.box, abs=1))
            assert len(one.points) == len(request.points)
            for point, wanted in zip(one.points, request.points, strict=True):
                assert point == pytest.approx(wanted, abs=1)
        else:
            assert one == request

    def words(self, selector: str) -> str:
        return self.browser.read(f"document.querySelector({json.dumps(selector)}).textContent")

    def press(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.browser.read(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({ block: 'nearest' }); const box = found.getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        self._mouse("mousePressed", x, y)
        self._mouse("mouseReleased", x, y)

    def click(self, x: float, y: float, modifiers: int = 0) -> None:
        """Click at a place in frame pixels."""
        place = self._on_screen(x, y)
        self._mouse("mousePressed", *place, modifiers)
        self._mouse("mouseReleased", *place, modifiers)

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        (ax, ay), (bx, by) = self._on_screen(x0, y0), self._on_screen(x1, y1)
        self._mouse("mousePressed", ax, ay)
        for part in (0.3, 0.7, 1.0):
            self._mouse("mouseMoved", ax + part * (bx - ax), ay + part * (by - ay))
        self._mouse("mouseReleased", bx, by)

    def tap(self, x: float, y: float) -> None:
        place = dict(zip("xy", self._on_screen(x, y), strict=True))
        for kind, points in (("touchStart", [place]), ("touchEnd", [])):
            self.browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def write(self, text: str, key: str = "Enter") -> None:
        self.browser.call("Input.insertText", text=text)
        self.key(key)

    def key(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        for kind, more in (("keyDown", text), ("keyUp", {})):
            self.browser.call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], **more,
            )  # fmt: skip

    def _on_screen(self, x: float, y: float) -> tuple[float, float]:
        left, top, scale = self.browser.read(AREA)
        return left + x * scale, top + y * scale

    def _mouse(self, kind: str, x: float, y: float, modifiers: int = 0) -> None:
        self.browser.call(
            "Input.dispatchMouseEvent",
            type=kind, x=x, y=y, button="left", buttons=1, clickCount=1, modifiers=modifiers,
        )  # fmt: skip


@pytest.fixture
def page(browser, fake_run, result):
    page = Page(browser, fake_run, result)
    page.open()
    yield page
    page.close()
    assert [text for text in browser.complaints if "exception" in text.lower()] == []


def test_texts_are_added_edited_and_removed(page):
    browser = page.browser
    page.press("#add-text")
    page.write("red blood cell")
    page.asked(Add("red blood cell"))
    browser.wait(LABELS, lambda found: found == ["cell", "red blood cell"])
    assert browser.read("document.querySelector('#add-text').value") == ""

    page.press(".count .name")
    page.write("no", "Escape")
    browser.wait("document.querySelectorAll('.count input').length", lambda n: n == 0)
    page.press(".count .name")
    page.write("大細胞")  # what was there is selected, so it is written over
    page.asked(Edit("cell", "大細胞"))
    browser.wait(LABELS, lambda found: found[:2] == ["大細胞", "red blood cell"])
    assert browser.read("document.activeElement.textContent") == "大細胞"

    page.press(".count:nth-child(2) .x")
    page.asked(Remove("red blood cell"))
    browser.wait(LABELS, lambda found: "red blood cell" not in found)

    page.press("#add-negative-text")
    page.write("dust")
    page.asked(Add("dust", negative=True))
    browser.wait("document.querySelectorAll('#negatives li').length", lambda n: n == 1)
    page.press("#negatives .x")
    page.asked(Remove("dust", negative=True))
    browser.wait("document.querySelectorAll('#negatives li').length", lambda n: n == 0)


def test_a_refusal_is_said_and_nothing_is_lost(page):
    page.press("#add-text")
    page.write("; ;")
    page.asked(Add("; ;"))
    said = page.browser.wait("document.querySelector('#refused').textContent", bool)
    assert said == "'; ;' is not accepted; a text must contain at least one word"
    assert page.browser.read("document.querySelector('#add-text').value") == "; ;"
    page.press(".count .x")
    page.asked(Remove("cell"))
    page.browser.wait(
        "document.querySelector('#refused').textContent",
        lambda text: text == "nothing would be asked for; add another text first",
    )
    assert page.browser.read(LABELS) == ["cell"]
    page.press(".count .name")
    page.write(". .")
    page.asked(Edit("cell", ". ."))
    page.browser.wait(
        "document.querySelector('#refused').textContent", lambda text: text.startswith("'. .'")
    )
    assert page.browser.read("document.querySelector('.count input').value") == ". ."


@pytest.mark.parametrize("viewport", [(1440, 900), (390, 844)], ids=["letterboxed", "phone"])
def test_clicks_select_add_and_take_away(page, viewport):
    page.resize(*viewport)
    frame = page.stand_still()
    page.click(50, 10)  # where nothing is
    page.asked(Prompt(frame=frame, points=((50, 10),), labels=(1,)))
    page.browser.wait("document.querySelectorAll('tr.selected').length", lambda n: n == 0)
    page.click(21, 17)  # the first disc is around (21, 16)
    page.browser.wait("document.querySelector('tr.selected')?.dataset.id", lambda i: i == "1")
    assert page.words("#hint").startswith("Object 1: click adds to it")
    page.press("#add-text")
    page.key("Delete")  # which is about the text
    page.click(25, 14)
    page.asked(Prompt(frame=frame, id=1, points=((25, 14),), labels=(1,), more=True))
    page.click(60, 40, SHIFT)
    page.asked(Prompt(frame=frame, id=1, points=((60, 40),), labels=(0,), more=True))
    page.key("Escape")
    page.browser.wait("document.querySelectorAll('tr.selected').length", lambda n: n == 0)
    page.click(43, 32)
    page.browser.wait("document.querySelector('tr.selected')?.dataset.id", lambda i: i == "2")
    page.key("Delete")
    page.asked(Forget(2))
    page.browser.wait("document.querySelectorAll('tr.selected').length", lambda n: n == 0)
    page.press("#rows tr button")
    page.browser.wait("document.querySelector('tr.selected')?.dataset.id", lambda i: i == "1")
    page.press("#forget")
    page.asked(Forget(1))


def test_a_box_is_dragged_and_others_like_it_are_found(page):
    frame = page.stand_still()
    page.drag(40, 30, 10.5, 5)
    page.asked(Prompt(frame=frame, box=(10.5, 5, 40, 30)))
    page.drag(30, 20, 80, 40)  # out of the picture: the box ends at its edge
    page.asked(Prompt(frame=frame, box=(30, 20, 64, 40)))
    page.press("#like")
    assert page.browser.read("document.querySelector('#like').ariaPressed") == "true"
    page.drag(40, 4, 60, 14)
    page.asked(Prompt(frame=frame, box=(40, 4, 60, 14), like=True))
    page.browser.wait(LABELS, lambda found: "like this 1" in found)
    assert page.browser.read("document.querySelector('#like').ariaPressed") == "false"
    page.press(".count:nth-child(2) .x")
    page.asked(Remove("like this 1"))
    page.browser.wait(LABELS, lambda found: found == ["cell"])


def test_a_tap_is_a_click(page):
    frame = page.stand_still()
    page.tap(50, 10)
    page.asked(Prompt(frame=frame, points=((50, 10),), labels=(1,)))


def test_the_picture_stands_while_the_mouse_is_pressed(page):
    page._mouse("mousePressed", *page._on_screen(50, 10))
    before = page.browser.read("Number(frame.textContent)")
    page.browser.wait("Number(frame.textContent)", lambda number: number > before + 5)
    page._mouse("mouseReleased", *page._on_screen(50, 10))
    give_up = time.monotonic() + 5
    while not [i for i in page.run.asked if isinstance(i, Prompt)]:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    (prompt,) = (i for i in page.run.asked if isinstance(i, Prompt))
    assert prompt.frame <= before


def test_without_a_run_that_listens_there_are_no_inputs(page):
    page.info.control = None
    page.browser.wait("document.querySelector('#ask').hidden", bool)
    assert page.browser.read("document.querySelector('#tools').hidden") is True
    assert page.browser.read("document.querySelectorAll('.name, .x').length") == 0
    page.run.asked.clear()
    page.click(50, 10)
    page.drag(10, 10, 30, 30)
    time.sleep(0.3)
    assert page.run.asked == []
