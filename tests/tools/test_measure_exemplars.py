"""The tally of what showing finds, by hand, and one small run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from measure_exemplars import (
    Picture,
    Tally,
    best_object,
    guarded,
    main,
    options,
    pictures,
    true_box,
)

from engines.detection import Found


def found(rows: slice, cols: slice) -> Found:
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[rows, cols] = True
    return Found("this", 0.9, mask, (0, 0, 1, 1), (0, 0), np.zeros(2, np.float32))


def test_detections_are_paired_with_their_kind_once() -> None:
    ids = np.zeros((40, 40), dtype=np.uint16)
    ids[0:10, 0:10], ids[20:30, 0:10], ids[20:30, 20:30], ids[0:10, 20:30] = 1, 2, 3, 4
    picture = Picture("shapes", np.zeros((40, 40, 3), np.uint8), ids, 1, frozenset({2, 3}), "x")
    tally = Tally()
    tally.add(
        [
            found(slice(0, 5), slice(0, 5)),  # the shown one counts neither way
            found(slice(10, 15), slice(0, 5)),  # right
            found(slice(10, 15), slice(0, 4)),  # the same again
            found(slice(0, 5), slice(10, 15)),  # of another kind
        ],
        picture,
    )
    assert (tally.right, tally.given, tally.asked) == (1, 3, 2)
    assert tally.figures()["recall"] == 0.5
    assert tally.figures()["precision"] == pytest.approx(0.333, abs=1e-3)
    assert Tally().figures()["recall"] is None


def test_masks_and_ids_of_other_sizes_are_compared() -> None:
    ids = np.zeros((40, 40), dtype=np.uint16)
    ids[20:30, 0:10] = 5
    assert best_object(found(slice(10, 15), slice(0, 5)).mask, ids) == (5, 1.0)
    assert best_object(found(slice(0, 5), slice(0, 5)).mask, ids)[1] == 0.0
    assert true_box(ids, 5) == (0.0, 20.0, 10.0, 30.0)


def test_there_is_always_another_of_the_kind() -> None:
    for kind in ("cells", "shapes"):
        drawn = list(pictures(kind, 2))
        assert len(drawn) == 2
        assert all(p.same and p.shown not in p.same for p in drawn)


def test_a_small_run(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "figures.json"
    given = ["--pictures", "1", "--threads", "1", "--json", str(path)]
    assert guarded(main, options().parse_args(given)) == 0
    figures = json.loads(path.read_text())
    assert figures["cells"]["shown"]["recall"] > 0.5
    assert "by its name" in capsys.readouterr().out
