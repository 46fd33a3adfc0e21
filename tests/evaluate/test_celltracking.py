"""SEG, DET, TRA and LNK of films worked by hand, by the challenge's weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from stream.evaluate import celltracking
from stream.evaluate.celltracking import CellTracking, CellTrackingTally
from tests.evaluate.worked import drawn, place

Places = dict[int, int]


def play(frames: Iterable[tuple[Places, Places]], linked: bool = True) -> CellTracking:
    tally = CellTrackingTally(linked)
    for true, found in frames:
        tally.add(drawn(true), drawn(found).astype(np.int32))
    return tally.result()


def figures(result: CellTracking) -> tuple[float | None, ...]:
    return result.seg, result.det, result.tra, result.lnk


def test_all_right_is_one_whatever_the_ids() -> None:
    assert figures(play([({1: 0, 2: 3}, {9: 0, 4: 3})] * 3)) == (1.0, 1.0, 1.0, 1.0)


def test_ids_swapped_midway_cost_two_links_each_way() -> None:
    """8 detections and 6 links; 2 links needless (1 each) and 2 missing (1.5 each)."""
    true = {1: 0, 2: 3}
    result = play([(true, {7: 0, 8: 3})] * 2 + [(true, {7: 3, 8: 0})] * 2)
    assert result.det == 1.0
    assert result.lnk == pytest.approx(1 - 5 / (6 * 1.5))
    assert result.tra == pytest.approx(1 - 5 / (8 * 10 + 6 * 1.5))
    assert result.corrections == {"NS": 0, "FN": 0, "FP": 0, "ED": 2, "EA": 2, "EC": 0}


def test_a_track_with_a_hole_goes_on_as_its_own_child() -> None:
    """1 of 5 detections missed; 2 of 4 links missing; the link over the hole is needless."""
    frames = [({1: 0}, {} if t == 2 else {7: 0}) for t in range(5)]
    result = play(frames)
    assert result.corrections == {"NS": 0, "FN": 1, "FP": 0, "ED": 1, "EA": 2, "EC": 0}
    assert result.det == pytest.approx(1 - 10 / 50)
    assert result.lnk == pytest.approx(1 - 4 / 6)
    assert result.tra == pytest.approx(1 - 14 / 56)


def test_a_hole_that_is_true_as_well_costs_nothing() -> None:
    frames = [({}, {}) if t == 2 else ({1: 0}, {7: 0}) for t in range(5)]
    assert figures(play(frames)) == (1.0, 1.0, 1.0, 1.0)


def test_one_object_split_in_two_is_found_by_its_larger_part() -> None:
    """4 of its 6 columns are found as one object, the others are an invention."""
    found = np.zeros((10, 60), np.int32)
    found[place(0)] = 5
    found[:, 6:] = np.where(found[:, 6:] == 5, 6, 0)
    tally = CellTrackingTally()
    tally.add(drawn({1: 0}), found)
    result = tally.result()
    assert result.seg == pytest.approx(4 / 6)
    assert result.det == pytest.approx(1 - 1 / 10)
    assert result.lnk is None


def test_half_of_an_object_is_not_more_than_half() -> None:
    found = np.zeros((10, 60), np.int32)
    found[place(0)] = 5
    found[:, 5:] = 0
    tally = CellTrackingTally()
    tally.add(drawn({1: 0}), found)
    assert tally.result().seg == 0.0


def test_two_objects_found_as_one_are_split_once() -> None:
    """One split (5) of two detections (10 each); each is half of what covers it."""
    found = np.zeros((10, 60), np.int32)
    found[place(0) | place(1)] = 5
    tally = CellTrackingTally()
    tally.add(drawn({1: 0, 2: 1}), found)
    result = tally.result()
    assert result.det == pytest.approx(1 - 5 / 20)
    assert result.seg == pytest.approx(0.5)


def test_nothing_found_is_zero() -> None:
    assert figures(play([({1: 0}, {})] * 2)) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("found", [{}, {7: 0}])
def test_where_nothing_is_true_nothing_is_defined(found: Places) -> None:
    assert figures(play([({}, found)] * 2)) == (None, None, None, None)


def test_images_that_stand_alone_have_no_links() -> None:
    """The same id in two images is not the same object."""
    result = play([({1: 0}, {7: 0}), ({1: 3}, {8: 3})], linked=False)
    assert figures(result) == (1.0, 1.0, None, None)


def test_without_the_extra_three_figures_are_null_and_never_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(celltracking, "MODULE", "no_such_module")
    assert figures(play([({1: 0}, {7: 0})] * 2)) == (1.0, None, None, None)
