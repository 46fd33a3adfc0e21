"""Frames a second with and without detection: the arithmetic."""

import pytest

from tests.support.tools import load

tool = load("compare_detection")
Side, at_equal_objects = tool.Side, tool.at_equal_objects


def side(*stretches):
    """A turn of stretches: (objects, interval in ms, frames)."""
    moments, now_ns = [(0, 0)], 0
    for objects, interval_ms, frames in stretches:
        for _ in range(frames):
            now_ns += interval_ms * 1_000_000
            moments.append((now_ns, objects))
    made = Side()
    made.add(moments)
    return made


def test_frames_a_second_are_counted_over_the_whole_turn():
    assert side((4, 100, 20)).fps == [pytest.approx(10.0)]


def test_more_objects_are_not_the_detectors_fault():
    on, off = side((4, 100, 20), (8, 200, 20)), side((4, 90, 30), (2, 50, 30))
    ratio, frames = at_equal_objects(on, off)
    assert ratio == pytest.approx(0.9)
    assert frames == 20
    assert on.objects == pytest.approx(6.0)


def test_nothing_in_common_is_no_ratio():
    assert at_equal_objects(side((4, 100, 20)), side((5, 100, 20))) == (None, 0)
    assert at_equal_objects(side((4, 100, 9)), side((4, 100, 20))) == (None, 0)
