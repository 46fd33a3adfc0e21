"""Cases with their truth, means by area, and one small run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from measure_edges import SIZE, by_area, cases, frames, guarded, iou, main, options


def test_a_mask_on_the_grid_is_near_its_truth_but_not_the_same() -> None:
    ids = np.zeros(SIZE, np.uint16)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    ids[(rows - 200) ** 2 + (columns - 300) ** 2 < 20**2] = 3
    ids[10:12, 10:12] = 4  # lost on the grid
    (case,) = cases(ids)
    assert case.area_px == (ids == 3).sum()
    assert 0.8 < iou(case.coarse, case.true) < 0.98


def test_objects_are_told_apart_by_their_area() -> None:
    rows = by_area([(100, 0.5, 0.6), (300, 0.7, 0.8), (5000, 0.9, 1.0)])
    assert [row[1] for row in rows] == ["3", "2", "1"]
    assert rows[1][2:] == ["0.600", "0.700"]
    assert rows[2] == ["from 2500 px", "1", "0.900", "1.000"]


def test_films_are_of_all_sizes() -> None:
    areas = [np.median([case.area_px for case in some]) for _, some in frames(5)]
    assert areas == sorted(areas)
    assert areas[-1] > 4 * areas[0]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    args = options().parse_args(["--films", "2", "--threads", "1", "--json", str(target)])
    assert guarded(main, args) == 0
    figures = json.loads(target.read_text())
    name, _, before, after = figures["quality"][0]
    assert name == "all"
    assert float(after) > float(before), "what is packaged draws edges better than the grid does"
    assert len(figures["time_ms"]["fp32"]) == 3
