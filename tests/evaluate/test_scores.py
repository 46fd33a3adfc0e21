"""Means over frames and objects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.evaluate import MaskTally


def frame(**squares: int) -> np.ndarray:
    """Ids with 10x10 squares: `o3=20` puts object 3 at column 20."""
    ids = np.zeros((40, 60), np.uint16)
    for name, left in squares.items():
        ids[10:20, left : left + 10] = int(name[1:])
    return ids


def test_each_object_counts_alike_whatever_its_frames() -> None:
    tally = MaskTally([3, 9])
    truth = frame(o3=5, o9=40)
    tally.add(truth, {3: truth == 3, 9: truth == 9})
    tally.add(truth, {3: truth == 3, 9: np.zeros(truth.shape, bool)})
    scores = tally.per_object()
    assert (scores[3].j, scores[3].f, scores[3].frames) == (1.0, 1.0, 2)
    assert (scores[9].j, scores[9].f) == (0.5, 0.5)
    assert tally.mean().jf == pytest.approx(0.75)


def test_a_missing_result_is_an_empty_mask() -> None:
    tally = MaskTally([3])
    tally.add(frame(o3=5), {})
    assert tally.mean().jf == 0.0


def test_an_object_that_is_gone_is_right_without_a_mask_only() -> None:
    """What the tracker still sees of a cell that left is wrong; nothing is right."""
    tally = MaskTally([3, 9])
    tally.add(frame(), {9: frame(o9=5) == 9})
    assert tally.per_object()[3].jf == 1.0
    assert tally.per_object()[9].jf == 0.0


def test_objects_that_were_not_asked_for_do_not_count() -> None:
    tally = MaskTally([3])
    truth = frame(o3=5, o9=40)
    tally.add(truth, {3: truth == 3, 4: truth == 9})
    assert list(tally.per_object()) == [3]
    assert tally.mean().jf == 1.0


def test_j_and_f_are_told_apart() -> None:
    """Two pixels off: the contour is outside its tolerance of one, the region mostly right."""
    tally = MaskTally([3])
    tally.add(frame(o3=5), {3: frame(o3=7) == 3})
    score = tally.mean()
    assert score.j == pytest.approx(80 / 120)
    assert 0.0 < score.f < 1.0
    assert score.jf == pytest.approx((score.j + score.f) / 2)


def test_no_frame_has_no_mean() -> None:
    assert math.isnan(MaskTally([3]).mean().jf)
    assert MaskTally([3]).per_object() == {}
