import json
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from stream.contracts import RunInfo
from stream.errors import SinkError, UsageError
from stream.web import WebSink
from stream.web.app import STATIC, unpack


class Show:
    """A sink with frames coming in until it is stopped."""

    def __init__(self, result) -> None:
        self.info = RunInfo("main", "film", ["cell"], model="micro", fps=100, live=True)
        self.sink = WebSink(port=0, max_fps=100, info=self.info)
        self.sink.open()
        self._result = result
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        index = 0
        while not self._stop.wait(0.01):
            frame, masks = self._result(index)
            frame.captured_ns = masks.captured_ns = time.monotonic_ns()
            self.sink.write(frame, masks)
            index += 1

    def pause(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def ws(self) -> str:
        return self.sink.url.replace("http", "ws") + "ws"


@pytest.fixture
def show(result):
    show = Show(result)
    yield show
    show.pause()
    show.sink.close()


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def next_picture(page) -> tuple[dict, bytes]:
    while isinstance(message := page.recv(timeout=5), str):
        pass
    return unpack(message)


def test_page_files_and_headers(show):
    status, headers, body = get(show.sink.url)
    assert status == 200
    assert b'<canvas id="picture"' in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    scripts = [(path.name, "javascript") for path in STATIC.glob("*.js")]
    assert len(scripts) > 1
    for name, kind in [*scripts, ("style.css", "css"), ("icon.svg", "svg")]:
        status, headers, body = get(f"{show.sink.url}static/{name}")
        assert (status, kind in headers["content-type"]) == (200, True)
        assert b"http://" not in body.replace(b"http://www.w3.org/", b"")
    assert get(f"{show.sink.url}static/../sink.py")[0] == 404


def test_pictures_with_their_figures(show):
    with connect(show.ws) as page:
        header, jpeg = next_picture(page)
        page.send(f"ack {header['number']}")
        later, _ = next_picture(page)
    assert jpeg.startswith(b"\xff\xd8")
    assert jpeg.endswith(b"\xff\xd9")
    assert later["frame"] > header["frame"]
    assert later["counts"] == {"cell": 2}
    assert [row["id"] for row in later["objects"]] == [1, 2]
    assert later["dropped"] == {"overrun": later["frame"]}
    assert later["state"] == "live"
    assert "history" in header


def test_nothing_is_sent_before_the_ack_and_then_the_newest(show):
    with connect(show.ws) as page:
        header, _ = next_picture(page)
        with pytest.raises(TimeoutError):
            page.recv(timeout=0.7)
        page.send(f"ack {header['number']}")
        later, _ = next_picture(page)
        assert later["frame"] >= header["frame"] + 30
        assert later["age_ms"] < 300


@pytest.mark.parametrize(
    ("answer", "code"),
    [("give me everything", 1008), ("ack 999999", 1008), (b"ack", 1008), ("x" * 5000, 1009)],
    ids=["words", "another number", "binary", "too long"],
)
def test_a_page_that_answers_wrongly_is_closed(show, answer, code, caplog):
    with connect(show.ws) as page:
        next_picture(page)
        page.send(answer)
        with pytest.raises(ConnectionClosed) as caught:
            page.recv(timeout=5)
    assert caught.value.rcvd.code == code
    assert not caplog.records


def test_a_page_that_goes_away_is_forgotten(show):
    with connect(show.ws) as page, connect(show.ws) as other:
        next_picture(page)
        page.socket.shutdown(socket.SHUT_RDWR)
        next_picture(other)
    give_up = time.monotonic() + 5
    while show.sink.hub.clients and time.monotonic() < give_up:
        time.sleep(0.01)
    assert show.sink.hub.clients == 0


def test_nothing_is_encoded_without_a_page(show):
    assert get(f"{show.sink.url}healthz")[0] == 200
    assert show.sink.hub.encoded == 0


def test_the_state_goes_on_without_frames(show):
    with connect(show.ws) as page:
        header, _ = next_picture(page)
        show.pause()
        page.send(f"ack {header['number']}")
        while not isinstance(message := page.recv(timeout=5), str):
            page.send(f"ack {unpack(message)[0]['number']}")
        first = json.loads(message)
        show.info.extra["state"] = "reconnecting"
        second = json.loads(page.recv(timeout=5))
    assert second["age_ms"] > first["age_ms"]
    assert second["state"] == "reconnecting"
    assert get(f"{show.sink.url}healthz")[0] == 503


def test_health_and_snapshot(show):
    status, _, body = get(f"{show.sink.url}healthz")
    health = json.loads(body)
    assert (status, health["status"], health["stream"]) == (200, "ok", "main")
    status, headers, body = get(f"{show.sink.url}snapshot.jpg")
    assert (status, headers["content-type"], body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    show.pause()
    assert get(f"{show.sink.url}snapshot.jpg")[0] == 200  # the last one stands


def test_before_the_first_frame():
    sink = WebSink(port=0)
    sink.open()
    assert get(f"{sink.url}snapshot.jpg")[0] == 503
    with connect(sink.url.replace("http", "ws") + "ws") as page:
        assert json.loads(page.recv(timeout=5))["state"] == "waiting"
    sink.close()


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}], ids=["host", "origin"]
)
def test_foreign_requests_are_refused(show, headers):
    status, _, body = get(f"{show.sink.url}snapshot.jpg", **headers)
    assert (status, body) == (403, b"this host or origin is not served\n")


def test_foreign_websockets_are_refused(show):
    with pytest.raises(InvalidStatus) as caught:
        connect(show.ws, origin="http://evil.example")
    assert caught.value.response.status_code == 403
    own = show.sink.url.rstrip("/")
    with connect(show.ws, origin=own) as page:
        assert next_picture(page)


def test_too_many_pages(show, monkeypatch):
    monkeypatch.setattr("stream.web.hub.MAX_CLIENTS", 1)
    with connect(show.ws) as page, connect(show.ws) as other:
        next_picture(page)
        with pytest.raises(ConnectionClosed) as caught:
            other.recv(timeout=5)
    assert caught.value.rcvd.code == 1013


def test_close_tells_the_pages_and_takes_no_more_than_half_a_second(show):
    with connect(show.ws), connect(show.ws) as page:  # the first never reads
        next_picture(page)
        show.pause()
        began = time.monotonic()
        show.sink.close()
        took_s = time.monotonic() - began
        messages = list(page)
    assert took_s < 0.6
    states = [json.loads(message)["state"] for message in messages if isinstance(message, str)]
    assert states[-1] == "ended"
    port = urlsplit(show.sink.url).port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    show.sink.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]


def test_port_in_use():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SinkError) as caught:
            WebSink(port=port).open()
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/ is in use; choose another web.port, or 0 for a free one"
    )


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no such host", "web.host 'no such host' cannot be resolved; it must be an address"),
        ("203.0.113.7", "web.host '203.0.113.7' is not an address of this machine"),
    ],
)
def test_hosts_that_are_not_ours(host, reason):
    with pytest.raises(UsageError, match=reason):
        WebSink(host=host, port=0).open()


def test_closed_without_open_and_written_after_close(result):
    sink = WebSink(port=0)
    sink.close()
    sink.write(*result(0))
    assert sink.hub.newest is None
