"""The page, the trace, the raw samples and the table say what was measured."""

from __future__ import annotations

import copy
import io
import itertools
import re
import sys
import xml.etree.ElementTree as Xml
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stream.bench import table
from stream.bench.document import document
from stream.bench.overhead import stamping_us
from stream.bench.page import page
from stream.bench.page_plots import peaks
from stream.bench.parquet import check_installed, rows, write
from stream.bench.trace import TRACKS, trace
from stream.errors import UsageError
from tests.bench.made import MANIFEST, STEPS_MS, point, run, sample


def made_page() -> str:
    points = [point()]
    return page(points, document(points, copy.deepcopy(MANIFEST), 4.2, partial=False))


def test_the_page_needs_nothing_else_and_is_well_formed() -> None:
    text = made_page()
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", text)
    assert "<script" not in text
    body = text[text.index("<body>") : text.index("</body>") + 7]
    Xml.fromstring(body)


def test_the_page_shows_all_that_was_asked_for() -> None:
    text = made_page()
    for words in ("Waterfall of the steps", "Latency, part of the frames below", "Dropped so far",
                  "Frames under way", "Age, last repetition", "&lt;fast&gt;", "4.2 µs",
                  "prefers-color-scheme: dark", "@media print"):  # fmt: skip
        assert words in text, words
    assert "nan" not in text.lower().replace("resonan", "")


def test_the_waterfall_stands_end_to_end() -> None:
    pattern = r'<rect class="(ours|model)" x="([\d.]+)" y="\d+" width="([\d.]+)"'
    found = re.findall(pattern, made_page())
    assert [kind for kind, _, _ in found] == [
        "model" if name in ("encoded", "tracked") else "ours" for name in STEPS_MS
    ]
    ends = [(float(x), float(x) + float(width)) for _, x, width in found]
    for (_, end), (start, _) in itertools.pairwise(ends[4:]):
        assert start == pytest.approx(end, abs=0.3)


def check_event(event: dict[str, Any]) -> None:
    """The part of the Trace Event Format that Perfetto insists on."""
    assert set(event) >= {"ph", "name", "pid", "tid", "ts"}
    assert event["ph"] in "XMCstf"
    assert isinstance(event["ts"], float | int)
    if event["ph"] == "X":
        assert event["dur"] > 0
    if event["ph"] in "stf":
        assert {"id", "cat"} <= set(event)
        assert (event.get("bp") == "e") == (event["ph"] == "f")
    if event["ph"] == "C":
        assert all(isinstance(value, float | int) for value in event["args"].values())


def test_the_trace_leads_each_frame_from_stage_to_stage() -> None:
    found = trace(run(20))
    events = found["traceEvents"]
    for event in events:
        check_event(event)
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert names == [*TRACKS, "detector"]
    for frame in range(20):
        flow = [e for e in events if e["ph"] in "stf" and e["id"] == frame]
        assert "".join(e["ph"] for e in flow) == "s" + "t" * (len(TRACKS) - 2) + "f"
        assert [e["ts"] for e in flow] == sorted(e["ts"] for e in flow)
        for event in flow:  # each arrow begins and ends in a span of its frame
            assert any(
                e["ph"] == "X" and e["tid"] == event["tid"] and e["args"]["frame"] == frame
                and e["ts"] <= event["ts"] <= e["ts"] + e["dur"]
                for e in events if "frame" in e.get("args", {})
            )  # fmt: skip
    looks = [e for e in events if e["name"] == "detect"]
    assert [e["args"]["heard in frame"] for e in looks] == [8, 16]
    assert looks[0]["dur"] == pytest.approx(78_000)


@pytest.mark.parametrize("slower_ms", [0.0, 55.0])
def test_spans_of_one_track_do_not_overlap(slower_ms: float) -> None:
    """Also where a frame is due before the source has given the last one."""
    found = [sample(n, slower_ms) for n in range(20)]
    late = [{**s.stamps, "captured": s.stamps["captured"] + 150_000_000} for s in found]
    late_run = run(samples=[replace(s, stamps=t) for s, t in zip(found, late, strict=True)])
    both = trace(run(20, slower_ms))["traceEvents"], trace(late_run)["traceEvents"]
    for events in both:
        no_overlap([event for event in events if event["ph"] == "X"])


def no_overlap(events: list[dict[str, Any]]) -> None:
    for tid in {e["tid"] for e in events}:
        mine = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["tid"] == tid)
        assert all(end <= start + 0.01 for (_, end), (start, _) in itertools.pairwise(mine))


def test_raw_samples_are_one_row_a_frame(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    points, path = [point(runs=2)], tmp_path / "s.parquet"
    points[0].runs[0].run.samples[0].stamps.pop("taken")  # type: ignore[attr-defined]
    write(path, points)
    back = parquet.read_table(path).to_pylist()
    assert back == rows(points)
    assert len(back) == 120
    assert back[0]["taken_ns"] is None
    assert back[1]["latency_ms"] == pytest.approx(61.75)
    assert back[1]["delivered_ns"] - back[1]["origin_ns"] == 61_750_000
    assert (back[0]["warm_up"], back[60]["repetition"]) == (False, 2)
    assert not list(tmp_path.glob(".*"))


def test_without_pyarrow_it_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'maskcast\[bench\]'"):
        check_installed()


def test_the_table_refuses_what_it_cannot_say() -> None:
    out = Console(file=io.StringIO(), width=160)
    table.show([point()], out)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    line = next(line for line in text.splitlines() if re.match(r"latency +\d", line))
    assert line.split()[1:5] == ["62.0", "62.5", "–", "–"]
    assert "180 of 180 frames delivered" in text
    assert "100.0 % of the median latency" in text


def test_stamps_cost_microseconds() -> None:
    assert 0.0 < stamping_us() < 200.0


def test_a_long_line_keeps_its_outliers() -> None:
    y = [5.0] * 5000
    y[1234] = 90.0
    y[4321] = -3.0
    line = peaks("a", [float(n) for n in range(5000)], y)
    assert len(line.x) <= 400
    assert (max(line.y), min(line.y)) == (90.0, -3.0)
    assert line.x[list(line.y).index(90.0)] == 1234.0
    assert list(line.x) == sorted(line.x)
