"""The long run: the tracker holds no more than before, and the tool would see it if it did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engines.registry import load_tracker
from tests.support.tools import load

counting = load("held")
held, Held = counting.held, counting.Held
player = load("soak_player")
soak = load("soak_tracker")
MIB = 2**20


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The tool sets the number of threads for the whole process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# What is held of an empty mask's memory after a frame in which an object was absent.
EMPTY_TENSORS, EMPTY_MIB = 3, 0.04


@pytest.mark.slow
def test_the_tracker_holds_no_more_after_600_frames() -> None:
    tracker = load_tracker("micro", image_size=64)
    playing = player.Player(tracker, objects=3, churn=False)
    readings = []
    for index in range(600):
        playing.play(index)
        if index in (99, 349, 599):
            readings.append(held(tracker))
    tensors, mib = ([getattr(one, name) for one in readings] for name in ("tensors", "mib"))
    assert max(tensors) - min(tensors) <= EMPTY_TENSORS, "not a tensor more"
    assert max(mib) - min(mib) <= EMPTY_MIB, "not a byte more"


@pytest.mark.slow
def test_objects_that_come_go_and_come_late_leave_nothing() -> None:
    tracker = load_tracker("micro", image_size=64)
    playing = player.Player(tracker, objects=2, churn=True)
    readings = []
    for index in range(600):
        playing.play(index)
        readings.append(held(tracker))
    assert len(tracker.object_ids) == 2
    assert (playing.added, playing.late_prompts) == (13, 11)
    # An object holds a little more for a while after it was corrected.
    for name, more in (("tensors", EMPTY_TENSORS), ("mib", EMPTY_MIB)):
        before, after = (
            max(getattr(reading, name) for reading in part)
            for part in (readings[100:350], readings[350:600])
        )
        assert after <= before + more


def test_what_grows_is_seen() -> None:
    tracker = load_tracker("micro", image_size=64)
    playing = player.Player(tracker, objects=1, churn=False)
    kept: list[Any] = []
    tracker.kept = kept  # type: ignore[attr-defined]
    for index in range(3):
        playing.play(index)
    before = held(tracker)
    kept.append(torch.zeros(MIB // 4))
    after = held(tracker)
    assert after.tensors == before.tensors + 1
    assert after.mib - before.mib == pytest.approx(1.0)


def test_each_storage_counts_once_wherever_it_hides() -> None:
    whole = torch.zeros(4, MIB // 4)
    inside = np.zeros(MIB, np.uint8)

    def hidden() -> Any:
        return inside

    root = SimpleNamespace(a=[whole, whole[0]], b={"c": (hidden,)}, d=torch)
    assert held(root).mib == pytest.approx(5.0)
    assert held(root).tensors == 3


RESULT = soak.Soaked(
    frames=2500,
    objects=8,
    added=8,
    late_prompts=0,
    settled_rss_mib=500.0,
    end_rss_mib=500.1,
    growth_mib=0.1,
    settled_held=Held(100, 20.0),
    end_held=Held(100, 20.0),
    first_step_ms=10.0,
    last_step_ms=10.1,
    old_step_ms=10.1,
    fresh_step_ms=10.0,
    step_ratio=1.01,
    first_step_wall_ms=10.0,
    last_step_wall_ms=10.1,
    rss_mib=[500.0] * 20,
)


def test_limits_are_judged() -> None:
    assert soak.faults(RESULT, 5.0, 5.0) == []
    grown = soak.faults(replace(RESULT, growth_mib=6.0), 5.0, 5.0)
    assert len(grown) == 1
    assert "grew by 6.0 MiB, allowed are 5 MiB" in grown[0]
    for ratio, text in ((1.06, "+6.0 %"), (0.94, "-6.0 %")):
        (line,) = soak.faults(replace(RESULT, step_ratio=ratio), 5.0, 5.0)
        assert text in line


class SlowingPlayer:
    """Takes 1 ms a step, and 2 ms once it has played 50 frames."""

    def __init__(self) -> None:
        self.tracker = SimpleNamespace(object_ids=[1])
        self.added, self.late_prompts = 1, 0
        self._played = 0

    def play(self, index: int) -> tuple[int, int]:
        assert index == self._played, "frames come in order"
        self._played += 1
        step_ns = 1_000_000 if self._played <= 50 else 2_000_000
        return step_ns, step_ns


def test_an_old_tracker_is_judged_beside_a_fresh_one() -> None:
    result = soak.soak(SlowingPlayer, frames=60, settle=10, window=20, tick=lambda: None)
    assert (result.first_step_ms, result.old_step_ms, result.fresh_step_ms) == (1.0, 2.0, 1.0)
    assert result.step_ratio == 2.0
    assert len(soak.faults(result, 5.0, 5.0)) == 1


def test_what_is_seen_is_explained() -> None:
    held_more = replace(RESULT.end_held, mib=26.0)
    assert "stays" in soak.explanation(RESULT)
    assert "allocator" in soak.explanation(replace(RESULT, growth_mib=6.0))
    leak = replace(RESULT, growth_mib=6.0, end_held=held_more)
    assert "growth of its state" in soak.explanation(leak)


SHORT = ["--frames", "60", "--settle", "20", "--window", "20", "--image-size", "64"]


def test_a_run_says_what_it_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "soak.json"
    loose = ["--max-growth-mib", "1000", "--max-change-percent", "1000"]
    assert soak.main([*SHORT, "--objects", "2", "--json", str(file), *loose]) == 0
    read = json.loads(file.read_text())
    assert read["frames"] == 60
    assert read["objects"] == 2
    more = read["end_held"]["tensors"] - read["settled_held"]["tensors"]
    assert abs(more) <= EMPTY_TENSORS
    assert len(read["rss_mib"]) == 20
    assert all(value > 0 for value in read["rss_mib"])
    assert read["growth_mib"] == pytest.approx(
        read["end_rss_mib"] - read["settled_rss_mib"], abs=0.02
    )
    text = capsys.readouterr().out
    assert "resident memory, MiB" in text
    assert "median step of 20 frames, ms" in text


def test_a_run_over_its_limits_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main([*SHORT, "--objects", "1", "--max-growth-mib", "-1000"]) == 1
    assert "resident memory grew by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "600"], "--frames 600: with --settle 500 and --window 1000 at least 2500"),
        (["--frames", "no"], "'--frames': Input should be a valid integer"),
        (["--objects", "0"], "'--objects': Input should be greater than or equal to 1"),
        (["--precision", "fp8"], "--precision 'fp8': accepted are fp32, bf16, fp16"),
        (["--image-size", "100"], "image_size 100 is not usable"),
        (["--model", "mini"], "model 'mini' is unknown"),
        (["--weights", "none.pt"], "none.pt: no such weights file"),
        (["--json", "no/such/x.json"], "there is no directory no/such"),
    ],
)
def test_bad_arguments_end_with_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert soak.main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("soak_tracker: ")
    assert message in lines[0]
