"""The live reader against real servers: GStreamer over RTSP, Python over HTTP."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from stream.config import Reconnect, SourceConfig
from stream.contracts import Source, StreamEvent
from stream.errors import SourceError
from stream.frame import Frame
from stream.sources import open_source

FAST = Reconnect(first_delay_s=0.2, max_delay_s=0.4)


def opened(uri: str, **settings: Any) -> Source:
    source = open_source(SourceConfig(uri=uri, reconnect=FAST, **settings))
    source.open()
    return source


def take(source: Source, enough: Callable[[list[Any]], bool], limit_s: float = 20) -> list[Any]:
    """Read until enough was seen; a limit keeps a failure from hanging."""
    stop, items = threading.Event(), []
    timer = threading.Timer(limit_s, stop.set)
    timer.start()
    try:
        while not enough(items):
            item = source.read(stop)
            assert item is not None, f"not within {limit_s} s: {items}, {source.counters}"
            items.append(item)
    finally:
        timer.cancel()
    return items


def frames(count: int) -> Callable[[list[Any]], bool]:
    return lambda items: sum(isinstance(item, Frame) for item in items) >= count


def open_error(uri: str, **settings: Any) -> str:
    with pytest.raises(SourceError) as caught:
        opened(uri, **settings)
    return str(caught.value)


@pytest.mark.rtsp
def test_plays_and_comes_back_after_the_server_was_killed(
    rtsp: Any, make_film: Callable[..., Path]
) -> None:
    with rtsp.RtspServer(make_film(frames=40)) as server:
        source = opened(server.url)
        try:
            before = take(source, frames(8))
            server.kill()
            server.start()
            after = take(
                source,
                lambda items: source.counters["reconnects"] == 1 and frames(5)(items),
            )
        finally:
            source.close()
    assert before[0].image.shape == (96, 128, 3)
    assert before[0].image[32, :, 0].max() > 180
    gaps = [item for item in after if isinstance(item, StreamEvent)]
    assert [event.kind for event in gaps] == ["gap"]
    assert gaps[0].gap_s > 0.2
    assert source.counters["reconnects"] == 1
    got = [item for item in before + after if isinstance(item, Frame)]
    assert [frame.index for frame in got] == list(range(len(got)))
    assert (np.diff([frame.pts_s for frame in got]) > 0).all()


@pytest.mark.rtsp
def test_a_stall_leaves_a_stale_frame_and_a_gap(rtsp: Any, make_film: Callable[..., Path]) -> None:
    with rtsp.RtspServer(make_film(frames=40)) as server:
        source = opened(server.url)
        try:
            take(source, frames(8))
            server.stall()
            threading.Timer(2.0, server.resume).start()
            items = take(source, lambda items: any(isinstance(item, StreamEvent) for item in items))
            items += take(source, frames(3))
        finally:
            source.close()
    event = next(item for item in items if isinstance(item, StreamEvent))
    assert event.kind == "gap"
    assert event.gap_s > 1.0
    assert source.counters["stale"] >= 1
    assert source.counters["reconnects"] == 0
    late_ns = [time.monotonic_ns() - item.captured_ns for item in items if isinstance(item, Frame)]
    assert max(late_ns) < 5e9


@pytest.mark.rtsp
def test_user_and_password(rtsp: Any, make_film: Callable[..., Path]) -> None:
    password = "p@s/s:#%?"
    with rtsp.RtspServer(make_film(frames=10), user="joe", password=password) as server:
        place = server.url.removeprefix("rtsp://")
        assert open_error(server.url) == (
            f"{server.url}: the server asks for a user and password (401); give them as "
            "scheme://USER:PASSWORD@host/..."
        )
        wrong = open_error(f"rtsp://joe:secret@{place}")
        assert wrong.startswith(f"rtsp://***@{place}: the server refused the user or the password")
        source = opened(f"rtsp://joe:p%40s%2Fs%3A%23%25%3F@{place}")
        take(source, frames(2))
        source.close()
        assert open_error(f"rtsp://joe:p%40s%2Fs%3A%23%25%3F@{place}x").startswith(
            f"rtsp://***@{place}x: the server has no stream at this path (404)"
        )


@pytest.mark.rtsp
def test_a_server_that_hangs_at_the_start(rtsp: Any, make_film: Callable[..., Path]) -> None:
    with rtsp.RtspServer(make_film(frames=10)) as server:
        server.stall()
        assert open_error(server.url, open_timeout_s=0.7) == (
            f"{server.url}: no answer within 0.7 s; check the address and the network, or raise "
            "source.open_timeout_s"
        )
        server.resume()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_refused(scheme: str) -> None:
    uri = f"{scheme}://127.0.0.1:1/film"
    assert open_error(uri) == (
        f"{uri}: nothing answers at this host and port (connection refused); check the address "
        "and that the camera or server runs"
    )


def test_unknown_host_is_named_without_credentials() -> None:
    assert open_error("rtsp://joe:secret@camera.invalid/film") == (
        "rtsp://***@camera.invalid/film: the host name cannot be found; check it; in a password "
        "write @ : / # as %40 %3A %2F %23"
    )


class Mjpeg(BaseHTTPRequestHandler):
    """An MJPEG camera that ends each connection after 12 pictures."""

    connections: ClassVar[int] = 0

    def do_GET(self) -> None:
        if self.path != "/video":
            self.send_error(404)
            return
        type(self).connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = io.BytesIO()
        Image.fromarray(np.full((48, 64, 3), 77, np.uint8)).save(picture, "jpeg")
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {picture.tell()}\r\n\r\n"
        for _ in range(12):
            self.wfile.write(head.encode() + picture.getvalue() + b"\r\n")
            time.sleep(0.05)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_mjpeg_over_http_keeps_its_own_pace_and_comes_back(camera: str) -> None:
    source = opened(f"{camera}/video")
    try:
        items = take(source, frames(20))
    finally:
        source.close()
    got = [item for item in items if isinstance(item, Frame)]
    assert got[0].image.mean() == pytest.approx(77, abs=2)
    assert source.counters["reconnects"] == 1
    assert source.counters["stale"] == source.counters["lost"] == 0


def test_http_path_that_is_not_there(camera: str) -> None:
    assert "the server has no stream at this path (404)" in open_error(f"{camera}/nothing")
