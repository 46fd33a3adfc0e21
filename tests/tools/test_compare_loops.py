"""The loops beside ours: the plain one falls behind without end, ours does not."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import pytest

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
    loops: Any, config: Path, tmp_path: Path
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
    root = Xml.fromstring(drawn.read_text())
    assert root.tag.endswith("svg")
    assert len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--sides", "theirs"], "accepted are ours, plain, official"), (["--fps", "many"], "numbers")],
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
