"""What a person sees while a run goes."""

import dataclasses
import io

import pytest
from rich.console import Console

from stream.pipeline import Observer, Snapshot
from stream.report import Report
from stream.terminal import LiveView, PageOpener, PlainView, end_line, status_line, where_lines

SINKS = {
    "publisher": {"endpoint": "tcp://127.0.0.1:5560"},
    "recorder": {"folder": "rec/main"},
    "web": {"url": "http://127.0.0.1:8080/"},
    "null": {},
}


def snapshot(state="running", **values):
    source = {"name": "demo://cells", "fps": 30.0, "live": True}
    return Snapshot(state, 3.0, values.pop("waiting_for", []), source, SINKS, **values)


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (
            snapshot("starting", waiting_for=["tracker", "detector"]),
            "starting, waiting for tracker, detector",
        ),
        (
            snapshot(
                published=120,
                fps=29.96,
                latency_ms=41.4,
                dropped={"overrun": 3, "shutdown": 1},
                objects={"now": 12, "ever": 14},
                detections=9,
            ),
            "running, 120 frames, 30.0 fps, 12 objects, latency 41 ms, 9 detections, "
            "dropped 3 overrun, 1 shutdown",
        ),
        (snapshot("ending"), "ending, 0 frames, 0.0 fps, 0 objects, 0 detections, none dropped"),
    ],
)
def test_the_status_line(now, line):
    assert status_line(now) == line


def test_places_where_results_go_are_named():
    assert where_lines(snapshot()) == [
        "publishing at tcp://127.0.0.1:5560",
        "recording to rec/main",
        "page http://127.0.0.1:8080/",
    ]


def test_plain_lines_come_every_two_seconds_at_most():
    now_s, out = [0.0], io.StringIO()
    view = PlainView(out, clock=lambda: now_s[0])
    for tick in range(41):
        now_s[0] = tick * 0.25
        view.update(snapshot(published=tick))
    frames = [line.split(", ")[1] for line in out.getvalue().splitlines()]
    assert frames == ["0 frames", "8 frames", "16 frames", "24 frames", "32 frames", "40 frames"]


def test_a_line_that_says_nothing_new_is_not_repeated():
    now_s, out = [0.0], io.StringIO()
    view = PlainView(out, clock=lambda: now_s[0])
    for tick in range(10):
        now_s[0] = tick * 3.0
        view.update(snapshot("starting", waiting_for=["tracker"]))
    assert out.getvalue() == "maskcast: starting, waiting for tracker\n"


def test_library_output_is_shown_only_when_asked_for_and_never_with_credentials():
    quiet, loud = io.StringIO(), io.StringIO()
    for out, verbose in ((quiet, False), (loud, True)):
        PlainView(out, verbose).output("reader", "open rtsp://me:pw@cam/x")
    assert quiet.getvalue() == ""
    assert loud.getvalue() == "maskcast: reader: open rtsp://***@cam/x\n"


def test_notes_are_always_shown():
    out = io.StringIO()
    PlainView(out).note("reader", "gap: 2.0 s without frames")
    assert out.getvalue() == "maskcast: reader: gap: 2.0 s without frames\n"


def test_the_live_line_is_redrawn_and_what_happened_stays():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    with LiveView(console) as view:
        view.started(snapshot())
        view.update(snapshot(published=1))
        view.note("reader", "gap: 2.0 s")
        view.update(snapshot(published=2))
    text = console.file.getvalue()
    for part in ("page http://127.0.0.1:8080/", "reader: gap: 2.0 s", "1 frames", "2 frames"):
        assert part in text


def test_the_end_line_sums_up():
    report = Report(
        frames={"read": 60, "tracked": 58, "published": 58},
        dropped={"overrun": 2},
        objects={"now": 3, "ever": 5},
        latency_ms={"p50": 40.6, "p90": 50.0, "p99": 81.2, "max": 90.0},
        seconds=2.04,
    )
    assert end_line(report) == (
        "60 frames read, 58 published, dropped 2 overrun, 5 objects, "
        "latency p50 41 ms, p99 81 ms; 2.0 s"
    )


@pytest.mark.parametrize(("screen", "opened"), [(":0", ["http://127.0.0.1:8080/"]), ("", [])])
def test_the_page_is_opened_where_there_is_a_screen(screen, opened, monkeypatch):
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    urls: list[str] = []
    view = PageOpener(Observer(), urls.append)
    now = snapshot("running")
    view.started(dataclasses.replace(now, sinks={"web": {"url": "http://127.0.0.1:8080/"}}))
    view.started(dataclasses.replace(now, sinks={}))
    assert urls == opened
