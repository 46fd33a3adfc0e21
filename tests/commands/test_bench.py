"""`maskcast bench` from its options to its files and status, around stand-ins for the models."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stream.commands.bench as command
from stream.bench.browser import find_browser
from stream.bench.compare import notes
from stream.bench.parts import HANDICAP
from stream.cli import main
from stream.errors import UsageError
from tests.bench.trace_format import read_trace

TESTS = Path(__file__).parents[1]
CLOCK = "clock://cells?objects=2&width=192&height=160&fps=40&loop=4"

Maskcast = Callable[..., int]


@pytest.fixture
def maskcast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Maskcast]:
    """Run `maskcast bench ARGS` in this process; stages find the stand-ins in this folder."""
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(command, "PARTS", "fakes_bench:PARTS")
    sockets = tempfile.mkdtemp(prefix="mc-")  # a test's own folder is too long for a socket
    monkeypatch.setattr(tempfile, "tempdir", sockets)
    config = tmp_path / "c.yaml"
    config.write_text(f"source: {{uri: '{CLOCK}'}}\nweb: {{enabled: false}}\n")

    def run(*arguments: object, slow: dict[str, Any] | None = None) -> int:
        monkeypatch.setenv("FAKE_BENCH", json.dumps(slow or {}))
        with pytest.raises(SystemExit) as ended:
            main(["bench", *map(str, arguments)])
        return int(ended.value.code or 0)

    run.config = config  # type: ignore[attr-defined]
    yield run
    shutil.rmtree(sockets)


def measured(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.mark.parametrize("kind", ["inproc", "ipc"])
def test_it_measures_from_the_due_time_to_the_subscriber(
    maskcast: Any, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"r.{name}" for name in ("json", "html", "trace")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    status = maskcast(
        maskcast.config, "--transport", kind, "--seconds", 2.5, "--repeat", 2, *options,
        slow={"encode_s": 0.003, "step_s": 0.006},
    )  # fmt: skip
    assert status == 0
    data = measured(files["json"])
    (point,) = data["points"]
    assert (point["origin"], point["open_loop"], point["fps"]) == ("intended", True, 40.0)
    assert len(point["repetitions"]) == 2
    overall = point["overall"]
    latency = overall["series_ms"]["latency"]
    assert 9 < latency["p50"] < 40
    assert latency["p99"] is None
    assert latency["refused"]["p99"]
    assert overall["series_ms"]["model"]["p50"] >= 9
    assert overall["steps_ms"]["encoded"]["p50"] >= 3
    assert overall["steps_ms"]["tracked"]["p50"] >= 6
    steps = {"captured", "read", "picked", "sent", "taken", "encoded", "tracked", "passed",
             "received", "published", "delivered"}  # fmt: skip
    assert set(overall["steps_ms"]) == steps
    assert overall["series_ms"]["detection"]["count"] > 0
    frames = overall["frames"]
    assert frames["due"] == frames["delivered"] + sum(frames["dropped"].values())
    assert point["throughput"]["fps"] > 41  # not held back by the schedule
    about = data["manifest"]
    assert about["transport"] == kind
    assert about["machine"]["processor"]
    assert data["wall_s"] > 2 * 2.5
    assert len(about["input"]["sha256"]) == 64
    assert about["config"]["source"]["uri"] == CLOCK
    assert "<svg" in files["html"].read_text()
    flows = [event for event in read_trace(files["trace"]) if event["ph"] == "f"]
    assert len(flows) >= point["repetitions"][-1]["frames"]["delivered"]
    assert "from the due time to the subscriber" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_equal_runs_are_equal_and_twenty_milliseconds_in_the_tracker_are_found_there(
    maskcast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {"encode_s": 0.01, "step_s": 0.03}
    base = ["--transport", "inproc", "--seconds", 3, "--repeat", 4, "--no-closed-loop"]
    files = [tmp_path / f"{name}.json" for name in "abc"]
    for path, more in zip(files, (0.0, 0.0, 0.02), strict=True):
        wanted = slow | {"step_s": slow["step_s"] + more}
        assert maskcast(maskcast.config, *base, "--json", path, slow=wanted) == 0
    capsys.readouterr()
    assert maskcast("--compare", files[0], files[1]) == 0
    assert maskcast("--compare", files[0], files[2]) == 1
    said = capsys.readouterr().out
    assert "the step that got slower: tracked" in said
    assert maskcast("--compare", files[0], files[2], "--bound", 400) == 0


def test_a_handicap_is_in_the_tracker_and_on_record(maskcast: Any, tmp_path: Path) -> None:
    base = ["--no-models", "--transport", "inproc", "--seconds", 1.5, "--no-closed-loop"]
    files = [tmp_path / f"{name}.json" for name in "ab"]
    for path, more in zip(files, ([], ["--handicap-ms", 15]), strict=True):
        assert maskcast(maskcast.config, *base, *more, "--repeat", 2, "--json", path) == 0
    quick, slow = (measured(path)["points"][0]["overall"]["steps_ms"] for path in files)
    assert slow["tracked"]["p50"] - quick["tracked"]["p50"] == pytest.approx(15, abs=4)
    assert [measured(path)["manifest"]["handicap_ms"] for path in files] == [0, 15]
    assert HANDICAP not in os.environ
    assert "the tracker slept in each frame: 0 and 15 ms" in notes(*map(measured, files))


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_a_browser_says_when_it_painted(maskcast: Any, tmp_path: Path) -> None:
    try:
        find_browser()
    except UsageError as error:
        pytest.skip(str(error))
    path = tmp_path / "r.json"
    assert maskcast(
        maskcast.config, "--page", "--no-models", "--transport", "inproc", "--seconds", 6,
        "--repeat", 1, "--no-closed-loop", "--json", path,
    ) == 0  # fmt: skip
    data = measured(path)
    assert data["manifest"]["page"] is True
    (found,) = data["points"][0]["repetitions"]
    assert "Chrom" in found["page"]["browser"]
    series = found["series_ms"]
    assert 0 < series["painted"]["count"] <= found["page"]["paints"]
    assert series["painted"]["mean"] > series["page"]["mean"] > 0
    assert "published" in found["steps_ms"]


def test_a_page_without_a_browser_is_refused_before_anything_runs(
    maskcast: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert maskcast(maskcast.config, "--page") == 2
    assert "apt-get install chromium" in capsys.readouterr().err


def test_a_saturated_run_publishes_what_is_young(maskcast: Any, tmp_path: Path) -> None:
    """Twice as many frames come as it can take; what is published is not three frames old."""
    path = tmp_path / "r.json"
    assert maskcast(
        maskcast.config, "--transport", "inproc", "--seconds", 4, "--repeat", 1,
        "--no-closed-loop", "--json", path, slow={"step_s": 0.05},
    ) == 0  # fmt: skip
    overall = measured(path)["points"][0]["overall"]
    assert overall["frames"]["dropped"].keys() == {"overrun"}
    assert overall["drop_share"] > 0.4
    # Of a queue, half of what is published would be a second old.
    assert overall["series_ms"]["latency"]["p50"] < 3 * overall["series_ms"]["model"]["p50"]


def test_a_sweep_is_measured_point_by_point(maskcast: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert maskcast(
        maskcast.config, "--transport", "inproc", "--seconds", 1.5, "--repeat", 1,
        "--no-closed-loop", "--sweep", "source.fps=20,40", "--sweep", "detector.every_n_frames=4",
        "--json", path,
    ) == 0  # fmt: skip
    points = measured(path)["points"]
    assert [(point["name"], point["fps"]) for point in points] == [
        ("source.fps=20 detector.every_n_frames=4", 20.0),
        ("source.fps=40 detector.every_n_frames=4", 40.0),
    ]


def test_what_was_measured_before_a_failure_is_written(
    maskcast: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, counter = tmp_path / "r.json", tmp_path / "count"
    status = maskcast(
        maskcast.config, "--transport", "inproc", "--seconds", 1, "--repeat", 3, "--json", path,
        slow={"fail_in": 2, "counter": str(counter)},
    )  # fmt: skip
    assert status == 1
    assert "camera: gone" in capsys.readouterr().err.splitlines()[-1]
    data = measured(path)
    assert data["partial"] is True
    assert len(data["points"][0]["repetitions"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sweep", "fps"], "give KEY=VALUE"),
        (["--sweep", "tracker.colour=1"], "tracker.colour"),
        (["--sweep", "nothing.there=1"], "no section"),
        (["--json", "/nowhere/r.json"], "no folder"),
        (["--source", "clock://dogs"], "no such film"),
        (["--compare", "a.json", "b.json"], "cannot be read"),
        (["--streams-under", 50, "--handicap-ms", 5], "goes without"),
    ],
)
def test_bad_use_is_one_line_and_status_2(
    maskcast: Any, arguments: list[Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maskcast(maskcast.config, "--transport", "inproc", "--seconds", 1, *arguments) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert said in err[0]


def test_samples_without_pyarrow_are_refused_before_anything_runs(
    maskcast: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert maskcast(maskcast.config, "--samples", "s.parquet") == 2
    assert "pip install 'maskcast[bench]'" in capsys.readouterr().err


def test_a_time_code_in_the_picture_says_when_a_frame_was_due(tmp_path: Path) -> None:
    """What a camera's picture carries is found on the reader's side."""
    import threading
    import time

    from stream.bench.parts import CodeReader
    from stream.frame import Frame
    from stream.synth.timecode import TimeCode, draw_timecode

    now_us = time.monotonic_ns() // 1000
    pictures = [np.zeros((120, 160, 3), np.uint8) for _ in range(4)]
    for picture, due_us in zip(pictures, (now_us - 40_000, now_us + 10**9, 7), strict=False):
        draw_timecode(picture, TimeCode(due_us, 0))

    class Camera:
        name, live, fps, frames_total = "camera", True, 10.0, None

        def __init__(self) -> None:
            self.counters: dict[str, int] = {}
            self._left = list(enumerate(pictures))

        def read(self, stop: threading.Event) -> Frame | None:
            if not self._left:
                return None
            index, picture = self._left.pop(0)
            return Frame(index, picture, 0.0, time.monotonic_ns())

    source, found = CodeReader(Camera()), []  # type: ignore[arg-type]
    while isinstance(item := source.read(threading.Event()), Frame):
        found.append(item.stamps.get("intended"))
    # One that lies in the future or long ago is another machine's clock; the last has no code.
    assert found == [(now_us - 40_000) * 1000, None, None, None]
    assert source.report() == {"codes": {"read": 1, "unread": 3}}
