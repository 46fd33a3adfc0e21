"""The loops beside ours: the plain one falls behind without end, ours does not."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as Xml
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.bench.samples import Run, Sample
from stream.report import Report
from tests.support.tools import TOOLS, load


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOOLS), str(TOOLS.parent)]))
    return load("compare_loops")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    uri = "clock://cells?objects=2&width=192&height=160&loop=4"
    path.write_text(f"source: {{uri: '{uri}'}}\nweb: {{enabled: false}}\n")
    return path


def test_age_of_the_plain_loop_grows_and_ours_stays(
    loops: Any, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixty a second come, twenty are possible."""
    found, drawn = tmp_path / "r.json", tmp_path / "r.svg"
    status = loops.main([
        "--config", str(config), "--fps", "60", "--seconds", "4", "--busy", "50",
        "--transport", "inproc", "--json", str(found), "--svg", str(drawn),
    ])  # fmt: skip
    assert status == 0
    ours, plain = json.loads(found.read_text())
    assert (ours["side"], plain["side"]) == ("ours", "plain")
    assert plain["last_latency_ms"] > 1500
    assert plain["drop_share"] == 0
    assert plain["age_p99_by_second"] == sorted(plain["age_p99_by_second"])
    assert ours["last_latency_ms"] < 0.3 * plain["last_latency_ms"]
    assert ours["drop_share"] > 0.5
    assert max(ours["age_p99_by_second"]) < 0.3 * max(plain["age_p99_by_second"])
    assert ours["step_ms"] == pytest.approx(50, abs=8)
    assert ours["age_p99_ms"] is None  # four seconds have 240 ticks of the thousand
    assert "p99 of the age needs 1000 ticks" in capsys.readouterr().err
    root = Xml.fromstring(drawn.read_text())
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2


def made(loops: Any, frames: int, keep: int, late_ms: float, step_ms: float) -> Any:
    """A side that gives every `keep`-th of frames due at 60 a second, so late."""
    samples = []
    for frame in range(0, frames, keep):
        due = 10**12 + round(frame * 1e9 / 60)
        done = due + int(late_ms * 1e6)
        stamps = {"intended": due, "taken": done - int(step_ms * 1e6), "tracked": done}
        samples.append(Sample(frame, due, stamps | {"delivered": done}))
    return loops.Row("ours", 60.0, Run(samples, 60.0, True, Report()))


def test_the_age_is_told_in_steps_of_the_model(loops: Any) -> None:
    """Every third frame, 58 ms late: the newest result is 58 to 108 ms old, seen at the ticks."""
    row = made(loops, frames=1500, keep=3, late_ms=58, step_ms=50)
    plain = row.plain()
    assert plain["step_ms"] == 50
    assert plain["age_p99_ms"] == pytest.approx(100, abs=0.01)
    assert plain["age_p99_per_step"] == pytest.approx(2.0, abs=0.01)
    assert plain["age_p99_by_second"][0] == plain["age_p99_by_second"][-1]
    text = str(cells(loops, plain))
    assert "'2.00'" in text
    assert "'50.0'" in text
    late = made(loops, frames=1500, keep=3, late_ms=258, step_ms=50).plain()
    assert late["age_p99_per_step"] == pytest.approx(6.0, abs=0.01)


def test_the_first_seconds_can_be_left_out(loops: Any) -> None:
    row = made(loops, frames=1500, keep=3, late_ms=58, step_ms=50)
    del row.run.samples[1:20]  # nothing came for a second
    assert row.plain()["age_p99_per_step"] > 10
    later = replace(row, after_s=2.0).plain()
    assert later["age_p99_per_step"] == pytest.approx(2.0, abs=0.01)
    assert later["unread_share"] == row.plain()["unread_share"]
    assert len(later["age_p99_by_second"]) == len(row.plain()["age_p99_by_second"]) - 2


def test_too_few_ticks_have_no_ratio(loops: Any) -> None:
    plain = made(loops, frames=300, keep=3, late_ms=58, step_ms=50).plain()
    assert (plain["age_p99_ms"], plain["age_p99_per_step"]) == (None, None)
    empty = loops.Row("ours", 60.0, Run([], 60.0, True, Report())).plain()
    assert (empty["step_ms"], empty["age_p99_per_step"]) == (None, None)
    assert cells(loops, empty)


def cells(loops: Any, plain: dict[str, Any]) -> list[str]:
    return [str(next(iter(column.cells))) for column in loops.table_of([plain]).columns]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sides", "theirs"], "accepted are ours, plain, official"),
        (["--fps", "many"], "numbers"),
        (["--after", "20"], "below --seconds"),
    ],
)
def test_bad_use_is_one_line(
    loops: Any, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        loops.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_official_predictor_follows_what_the_text_found(loops: Any, config: Path) -> None:
    import threading

    from loop_sides import official_step

    from stream.config import load as load_config
    from stream.sources import open_source

    uri = "clock://cells?objects=5&width=320&height=240&live=0&loop=6"
    small = {"detector.image_size": 256, "detector.sweep_grid": 4, "detector.max_prompts": 16}
    settings = load_config(config, {"source.uri": uri, "detector.min_score": 0.0, **small})
    step, source = official_step(settings), open_source(settings.source)
    source.open()
    results = [step(source.read(threading.Event())) for _ in range(4)]
    counts = [len(masks.objects) for masks in results]
    assert counts[0] >= 2
    assert len(set(counts)) == 1
    moved = [masks.objects[0].box for masks in results]
    assert len(set(moved)) > 1
    assert all(item.area > 0 for masks in results for item in masks.objects[:2])
