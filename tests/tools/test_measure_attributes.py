"""What counts as the one that was meant, by hand, and one small run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from measure_attributes import Picture, guarded, judge, main, options, pictures, say

from engines.detection import Found


def picture() -> Picture:
    ids = np.zeros((40, 40), dtype=np.uint16)
    ids[0:20, 0:20], ids[20:40, 20:40] = 1, 2
    words = ("small", "red", "circle")
    return Picture(np.zeros((40, 40, 3), np.uint8), ids, 2, words, ("blue", "star"))


def found(corner: int, score: float) -> Found:
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[corner : corner + 10, corner : corner + 10] = True
    return Found("this", score, mask, (0, 0, 1, 1), (0, 0), np.zeros(2, np.float32))


def test_the_surest_detection_is_judged() -> None:
    assert judge([found(10, 0.9)], picture()) == (True, True)
    assert judge([found(0, 0.8), found(10, 0.9)], picture()) == (True, False)
    assert judge([found(0, 0.9), found(10, 0.8)], picture()) == (False, False)
    assert judge([found(5, 0.9)], picture()) == (False, False)
    assert judge([], picture()) == (False, False)


def test_texts_in_both_languages() -> None:
    one = picture()
    assert one.text("two attributes") == "a red circle"
    assert one.text("three attributes") == "a small red circle"
    assert one.text("two, Chinese") == "红色圆形"
    assert one.text("three, Chinese") == "小红色圆形"
    assert say(one.absent, False) == "a blue star"


def test_drawn_pictures_mean_one_shape_and_miss_another() -> None:
    for drawn in pictures(5):
        assert (drawn.ids == drawn.meant).any()
        assert drawn.words[1:] != drawn.absent


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    args = options().parse_args(["--pictures", "1", "--threads", "1", "--json", str(target)])
    assert guarded(main, args) == 0
    asked = json.loads(target.read_text())["asked"]
    assert set(asked["two attributes"]) == {"right", "only", "told"}
    assert asked["not there"]["nothing"] in (0.0, 1.0)
    assert "two, Chinese" in capsys.readouterr().out
