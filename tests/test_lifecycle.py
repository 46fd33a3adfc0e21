"""Each rule by itself, then the books over a few events."""

from __future__ import annotations

import numpy as np
import pytest

from stream.config import LifecycleConfig
from stream.frame import Detection
from stream.lifecycle import (
    Tracks,
    has_failed,
    iou_matrix,
    is_confirmed,
    is_new,
    match,
    misfits,
    overlap_matrices,
    wants_reconditioning,
    younger_duplicates,
)

RULES = LifecycleConfig()
SIDE = 32


def block(x: int, y: int = 4, side: int = 8) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def seen(x: int, score: float = 0.8, y: int = 4, side: int = 8) -> Detection:
    return Detection(
        0, "cell", score, block(x, y, side), (x, y, x + side, y + side), (x + 1, y + 1)
    )


def books(max_objects: int = 10) -> Tracks:
    return Tracks(RULES, max_objects)


def test_iou_of_masks_by_hand_and_of_empty_ones() -> None:
    empty = np.zeros((SIDE, SIDE), bool)
    got = iou_matrix([block(0), empty], [block(0), block(4), block(20)])
    np.testing.assert_allclose(got, [[1.0, 1 / 3, 0.0], [0.0, 0.0, 0.0]], atol=1e-6)
    assert iou_matrix([], [block(0)]).shape == (0, 1)


def test_match_takes_the_largest_overlap_first_and_each_side_once() -> None:
    iou = np.array([[0.6, 0.9], [0.7, 0.8]], np.float32)
    assert match(iou, 0.5) == [(0, 1), (1, 0)]
    assert match(iou, 0.95) == []
    assert match(np.zeros((0, 3), np.float32), 0.5) == []


@pytest.mark.parametrize(
    ("overlap", "score", "expected"), [(0.05, 0.7, True), (0.1, 0.9, False), (0.0, 0.69, False)]
)
def test_new_means_little_overlap_and_a_good_score(
    overlap: float, score: float, expected: bool
) -> None:
    assert is_new(overlap, score, RULES) is expected


@pytest.mark.parametrize(
    ("supports", "score", "confirmed", "failed"),
    [
        ([True], 0.8, False, False),
        ([True], 0.9, True, False),
        ([True, False, True], 0.7, True, False),
        ([True, False, False], 0.7, False, True),
        ([True, True, False, False, True], 0.7, False, True),  # only the window counts
    ],
)
def test_confirmation_is_two_of_three_or_one_very_sure(
    supports: list[bool], score: float, confirmed: bool, failed: bool
) -> None:
    assert is_confirmed(supports, score, RULES) is confirmed
    assert has_failed(supports, RULES) is failed


def test_reconditioning_needs_all_three() -> None:
    assert wants_reconditioning(0.9, 0.9, 0.9, RULES)
    for low in range(3):
        values = [0.9, 0.9, 0.9]
        values[low] = 0.8
        assert not wants_reconditioning(*values, RULES)


def test_the_younger_of_two_duplicates_goes_and_the_oldest_stays() -> None:
    masks = [block(0), block(20), block(0), block(1)]
    assert younger_duplicates([1, 2, 3, 4], masks, RULES) == [3, 4]


def test_a_track_is_born_tentative_and_confirmed_by_its_second_support() -> None:
    tracks = books()
    changes = tracks.detected(0, [seen(0)])
    assert changes.born == {1: 0}
    assert not tracks.tracks[1].confirmed
    tracks.stepped(0, 0.0, {1: block(0)}, {1: 5.0})
    changes = tracks.detected(0, [seen(1)])
    assert changes.born == {}
    assert tracks.tracks[1].confirmed
    assert (tracks.ever, tracks.accepted) == (1, 2)


def test_a_late_detection_is_matched_where_the_track_was_then() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    for step in range(12):  # it moves away from where it was seen
        tracks.stepped(step, step / 10, {1: block(step * 2)}, {1: 5.0})
    assert tracks.detected(2, [seen(4)]).born == {}, "the track was at 4 in frame 2"
    assert tracks.detected(11, [seen(0, y=20)]).born == {2: 0}


def test_eight_visible_events_without_support_end_a_track() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    removed: list[int] = []
    for step in range(8):
        tracks.stepped(step, step / 10, {1: block(0)}, {1: 5.0})
        removed += tracks.detected(step, []).removed
        assert removed == ([1] if step == 7 else [])


def test_an_invisible_track_is_not_judged_but_ends_after_two_seconds() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    empty = np.zeros((SIDE, SIDE), bool)
    ended: list[int] = []
    for step in range(21):
        ended += (
            tracks.stepped(step, step / 10, {1: empty}, {1: -5.0}) if 1 in tracks.tracks else []
        )
        tracks.detected(step, [])
    assert ended == [1]
    assert tracks.tracks == {}


def test_states_as_the_world_sees_them() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.8)])
    track = tracks.tracks[1]
    assert track.state(0.0, RULES) == "tentative"
    track.confirmed = True
    assert track.state(0.0, RULES) == "confirmed"
    track.empty_since_s = 10.0
    assert track.state(10.5, RULES) == "hidden"
    assert track.state(11.5, RULES) == "lost"


def test_two_detections_of_one_object_give_one_track_and_the_cap_holds() -> None:
    tracks = books(max_objects=2)
    detections = [seen(0), seen(1), seen(20), seen(0, y=20)]
    assert tracks.detected(0, detections).born == {1: 0, 2: 2}


def test_history_is_bounded_and_ids_are_not_used_again_after_a_restart() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    for step in range(200):
        tracks.stepped(step, 0.0, {1: block(0)}, {1: 5.0})
    assert tracks.knows(199)
    assert tracks.knows(199 - RULES.history_frames + 1)
    assert not tracks.knows(199 - RULES.history_frames)
    tracks.restart()
    assert tracks.detected(0, [seen(0, 0.95)]).born == {2: 0}
    assert tracks.ever == 2


def test_misfits_by_hand() -> None:
    whole, part, neighbour = block(0), block(0, side=4), block(12)
    both = whole | neighbour
    iou, contained = overlap_matrices([whole, neighbour], [part, both])
    # What covers both follows the one it overlaps as much as the part does, the part is left out.
    again, parts = misfits(iou, contained, [(0, 0)], RULES)
    assert again == [(1, 1)]
    assert parts == []
    again, parts = misfits(*overlap_matrices([whole], [whole, part]), [(0, 0)], RULES)
    assert again == []
    assert parts == [1], "a second track inside an object that is followed already"


def test_a_track_over_two_cells_keeps_one_and_the_other_is_born() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    tracks.stepped(0, 0.0, {1: block(0) | block(16, side=9)}, {1: 5.0})
    changes = tracks.detected(0, [seen(0), seen(16, side=9)])
    assert changes.restarted == {1: 1}, "it keeps the one that it overlaps most"
    assert changes.born == {2: 0}


def test_a_track_of_a_part_is_given_the_whole() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    tracks.stepped(0, 0.0, {1: block(2, side=4)}, {1: 5.0})
    changes = tracks.detected(0, [seen(0, y=2, side=12)])
    assert changes.restarted == {1: 0}
    assert changes.born == {}
