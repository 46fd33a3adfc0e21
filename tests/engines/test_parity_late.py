"""Prompts for frames gone by, against the official predictor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engines.late import CatchUp, TooLateError
from engines.objects import Prompt
from engines.settings import Limits
from engines.tracker import Tracker
from tests.support.parity import CLEARLY, Both, Pair, at, box, click, mask, one_thread, tiny

pytestmark = pytest.mark.timeout(300)
SIDE = 256
LAST = 15


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def pair(one_core: None) -> Pair:
    return tiny()


def started(pair: Pair, last: int, **options: Any) -> Both:
    """A stream without objects up to frame `last`."""
    both = Both(pair, Tracker(pair.model, **options))
    for index in range(last + 1):
        assert both.tracker.step(index, pair.features[index]) == {}
    return both


def miss(image_size: int, index: int) -> Prompt:
    """A click beside the disc, where a mask has grown to, and one on it."""
    x, y = at(image_size, index)
    return Prompt(points=[(x + 0.3 * image_size, y), (x, y)], labels=[0, 1])


# -- new objects -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [click, box, mask])
@pytest.mark.parametrize("late", [1, 3, 8])
def test_replay_gives_what_a_prompt_in_time_gives(pair: Pair, late: int, make: Any) -> None:
    both = started(pair, 4 + late)
    both.prompt(4, make(SIDE, 4), catch_up="replay")
    both.track(5 + late, LAST)
    assert both.visible >= 3


@pytest.mark.parametrize("late", [1, 8])
def test_replayed_frames_are_remembered_exactly(pair: Pair, late: int) -> None:
    in_time, replayed = Tracker(pair.model), started(pair, 4 + late).tracker
    for index in range(5 + late):
        if index == 4:
            in_time.add_objects(4, pair.features[4], {1: click(SIDE, 4)})
        in_time.step(index, pair.features[index])
    replayed.add_objects(4, None, {1: click(SIDE, 4)}, catch_up="replay")
    for index in range(5 + late, LAST):
        ours = [t.step(index, pair.features[index])[1] for t in (replayed, in_time)]
        np.testing.assert_allclose(ours[0].logits, ours[1].logits, atol=1e-6)
        np.testing.assert_allclose(ours[0].pointer, ours[1].pointer, atol=1e-6)


@pytest.mark.parametrize("make", [click, mask])
@pytest.mark.parametrize("late", [1, 3, 8])
def test_jump_attends_to_the_prompted_frame_alone(pair: Pair, late: int, make: Any) -> None:
    both = started(pair, 4 + late)
    both.prompt(4, make(SIDE, 4), catch_up="jump")
    both.official.propagate(4, 4)  # the frames after it up to now are never given to it
    both.track(5 + late, LAST)
    assert both.visible >= 3


def test_jump_and_replay_differ(pair: Pair) -> None:
    logits = {}
    for catch_up in ("jump", "replay"):
        tracker = started(pair, 6).tracker
        tracker.add_objects(3, None, {1: click(SIDE, 3)}, catch_up=catch_up)
        logits[catch_up] = tracker.step(9, pair.features[9])[1].logits
    assert np.abs(logits["jump"] - logits["replay"]).max() > CLEARLY


def test_two_late_prompts_one_before_the_other(pair: Pair) -> None:
    both = started(pair, 9)
    both.prompt(6, mask(SIDE, 6), catch_up="replay")
    both.prompt(3, click(SIDE, 3), catch_up="replay")
    both.track(10, LAST)


def test_others_do_not_notice(pair: Pair) -> None:
    alone, among = Both(pair, Tracker(pair.model)), Both(pair, Tracker(pair.model))
    for both in (alone, among):
        both.prompt(0, click(SIDE))
        both.track(0, 6)
    among.tracker.add_objects(2, None, {7: mask(SIDE, 2), 8: box(SIDE, 2)}, catch_up="replay")
    among.tracker.add_objects(4, None, {9: click(SIDE, 4)}, catch_up="jump")
    among.track(7, 12)
    assert among.tracker.object_ids == [1, 7, 8, 9]


# -- objects that live -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "now", "make"),
    [(4, 5, miss), (3, 5, click), (3, 5, box), (2, 10, miss), (9, 12, mask), (8, 11, miss)],
)
def test_correction_with_replay(pair: Pair, frame: int, now: int, make: Any) -> None:
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, now)
    both.prompt(frame, make(SIDE, frame), catch_up="replay")
    both.track(now + 1, LAST)
    assert both.visible >= 3


def test_first_prompt_refined_later(pair: Pair) -> None:
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, 6)
    both.prompt(0, miss(SIDE, 0), clear_old_points=False, catch_up="replay")
    both.track(7, LAST)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 4), (4, 6), (6, 4), (4, 4)])
def test_prompts_do_not_see_each_other_until_the_next_step(
    pair: Pair, first: int, second: int
) -> None:
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, 6)
    both.prompt(first, miss(SIDE, first), catch_up="jump")
    both.prompt(second, click(SIDE, second), catch_up="jump")
    both.track(7, 10)


def test_one_late_correction_after_another(pair: Pair) -> None:
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, 5)
    both.prompt(3, miss(SIDE, 3), catch_up="replay")
    both.prompt(3, click(SIDE, 3), clear_old_points=False, catch_up="replay")
    both.track(6, 10)
    both.prompt(6, mask(SIDE, 6), catch_up="replay")
    both.prompt(2, miss(SIDE, 2), catch_up="replay")
    both.track(11, LAST)


@pytest.mark.parametrize(("frame", "now", "make"), [(4, 5, miss), (3, 10, mask)])
def test_correction_with_jump(pair: Pair, frame: int, now: int, make: Any) -> None:
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, now)
    both.prompt(frame, make(SIDE, frame), catch_up="jump")
    both.track(now + 1, LAST)
    assert both.visible >= 3


def test_late_correction_that_is_no_conditioning_frame(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair.predictor, "add_all_frames_to_correct_as_cond", False)
    both = Both(pair, Tracker(pair.model, correct_as_conditioning=False))
    both.prompt(0, click(SIDE))
    both.track(0, 9)
    both.prompt(5, miss(SIDE, 5), catch_up="jump")
    both.track(10, LAST)


@pytest.mark.parametrize("catch_up", ["jump", "replay"])
def test_late_prompts_with_a_stride(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, catch_up: CatchUp
) -> None:
    monkeypatch.setattr(pair.predictor, "memory_temporal_stride_for_eval", 2)
    both = Both(pair, Tracker(pair.model, limits=Limits(stride=2)))
    both.prompt(0, click(SIDE))
    both.track(0, 11)
    both.prompt(9, miss(SIDE, 9), catch_up=catch_up)
    both.track(12, LAST)


# -- how late is too late ---------------------------------------------------------------------


def test_a_frame_that_is_not_kept_any_more_is_an_error(pair: Pair) -> None:
    tracker = started(pair, 6, limits=Limits(late_frames=3)).tracker
    tracker.add_objects(3, None, {1: click(SIDE, 3)}, catch_up="replay")
    with pytest.raises(TooLateError, match="frame 2 is not kept any more, kept are 3 to 6"):
        tracker.add_objects(2, None, {2: click(SIDE, 2)})
    with pytest.raises(TooLateError, match="frame 1 is not kept"):
        tracker.add_objects(1, pair.features[1], {2: click(SIDE, 1)}, catch_up="replay")
    assert tracker.object_ids == [1]


def test_features_that_the_caller_kept_serve_a_jump(pair: Pair) -> None:
    both = started(pair, 9, limits=Limits(late_frames=2))
    both.official.prompt(3, click(SIDE, 3))
    both.tracker.add_objects(3, pair.features[3], {1: click(SIDE, 3)})
    both.official.propagate(3, 3)
    both.track(10, LAST)
    assert both.visible >= 3
