"""Each rule by itself, then the books over a few events."""

from __future__ import annotations

import dataclasses

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
    assert wants_reconditioning(0.9, 0.9, 0.9, 4, RULES)
    assert not wants_reconditioning(0.9, 0.9, 0.9, 3, RULES)
    for low in range(3):
        values = [0.9, 0.9, 0.9]
        values[low] = 0.8
        assert not wants_reconditioning(*values, 4, RULES)


def test_a_track_is_corrected_in_every_second_event_that_supports_it() -> None:
    tracks = Tracks(LifecycleConfig(recondition_every=2), 10)
    (track_id,) = tracks.detected(0, [seen(0, 0.95)]).born
    corrected = []
    for step in range(8):
        tracks.stepped(step, step / 10, {track_id: block(0)}, {track_id: 5.0})
        found = [] if step in (3, 4) else [seen(0, 0.95)]
        corrected.append(track_id in tracks.detected(step, found).reconditioned)
    assert [step for step, was in enumerate(corrected) if was] == [1, 5, 7]


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


def test_a_frame_that_is_still_to_come_is_taken_for_the_last_one() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    tracks.stepped(0, 0.0, {1: block(0)}, {1: 5.0})
    assert tracks.detected(1, [seen(1)]).born == {}, "it is the one that was there a frame ago"


def test_a_frame_that_is_kept_no_more_changes_nothing() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    for step in range(RULES.history_frames + 1):
        tracks.stepped(step, step / 10, {1: block(0)}, {1: 5.0})
    changes = tracks.detected(0, [seen(20)])
    assert (changes.born, changes.removed) == ({}, [])
    assert list(tracks.tracks[1].supports) == [True]


def looking(x: int, *direction: float, label: str = "cell", score: float = 0.8) -> Detection:
    vector = np.zeros(4, np.float32)
    vector[: len(direction)] = direction
    return dataclasses.replace(
        seen(x, score), label=label, embedding=vector / np.linalg.norm(vector)
    )


def test_what_the_tracker_lost_from_sight_is_recognised_and_restarted() -> None:
    tracks = books()
    tracks.detected(0, [looking(0, 1.0, score=0.95)])
    tracks.stepped(0, 0.0, {1: block(0)}, {1: 5.0})
    tracks.stepped(1, 0.1, {1: np.zeros((SIDE, SIDE), bool)}, {1: -5.0})
    changes = tracks.detected(1, [looking(20, 1.0)])
    assert (changes.born, changes.restarted, changes.recognised) == ({}, {1: 0}, [1])
    assert tracks.accepted == 2
    assert tracks.ever == 1


def test_what_the_tracker_found_by_itself_since_is_not_restarted() -> None:
    tracks = books()
    tracks.detected(0, [looking(0, 1.0, score=0.95)])
    tracks.stepped(0, 0.0, {1: np.zeros((SIDE, SIDE), bool)}, {1: -5.0})
    tracks.stepped(1, 0.1, {1: block(20)}, {1: 5.0})
    changes = tracks.detected(0, [looking(20, 1.0)])
    assert (changes.born, changes.restarted, changes.recognised) == ({}, {}, [])
    assert list(tracks.tracks[1].supports) == [True, True]


def test_a_track_that_gives_way_is_asked_nothing_more() -> None:
    tracks = books(max_objects=1)
    tracks.detected(0, [seen(0, 0.85)])
    tracks.stepped(0, 0.0, {1: block(0)}, {1: 5.0})
    changes = tracks.detected(0, [seen(20, 0.97), seen(0, 0.85)])
    assert changes.removed == [1]
    assert changes.born == {2: 0}
    assert changes.reconditioned == changes.restarted == {}


def test_of_two_duplicates_the_younger_ends_in_whatever_order_masks_come() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95), seen(20, 0.95)])
    assert tracks.stepped(0, 0.0, {2: block(0), 1: block(0)}, {1: 5.0, 2: 5.0}) == [2]


def test_a_clock_that_goes_back_does_not_keep_an_empty_track() -> None:
    tracks = books()
    tracks.detected(0, [seen(0, 0.95)])
    empty = {1: np.zeros((SIDE, SIDE), bool)}
    tracks.stepped(0, 1000.0, empty, {1: -5.0})
    assert tracks.stepped(1, 0.0, empty, {1: -5.0}) == []
    assert tracks.stepped(2, 2.0, empty, {1: -5.0}) == [1]


def test_quiet_events_are_those_that_find_what_was_known() -> None:
    tracks = books()
    counts = []
    for step, found in enumerate([[seen(0)], [seen(0)], [seen(0)], [], [seen(0), seen(20)]]):
        tracks.detected(step, found)
        masks = {i: block(0 if i == 1 else 20) for i in tracks.tracks}
        tracks.stepped(step, step / 10, masks, dict.fromkeys(masks, 5.0))
        counts.append(tracks.quiet_events)
    assert counts == [0, 1, 2, 0, 0]


def test_of_two_new_detections_that_overlap_a_little_one_is_born() -> None:
    assert books().detected(0, [seen(0), seen(4)]).born == {1: 0}


def test_a_misfit_that_gives_way_is_not_restarted() -> None:
    tracks = books(max_objects=1)
    tracks.detected(0, [seen(2, side=4)])
    tracks.stepped(0, 0.0, {1: block(2, side=4)}, {1: 5.0})
    changes = tracks.detected(0, [seen(20, 0.97), seen(0, 0.75, y=2, side=12)])
    assert (changes.removed, changes.born, changes.restarted) == ([1], {2: 0}, {})


def test_a_thing_inside_another_kind_of_thing_has_a_track_of_its_own() -> None:
    tracks = books()
    inner, outer = looking(2, 1.0, label="nucleus", score=0.95), seen(0, 0.95, side=10)
    tracks.detected(0, [inner])
    tracks.stepped(0, 0.0, {1: inner.mask}, {1: 5.0})
    small = dataclasses.replace(inner, mask=block(2, y=6, side=3))
    tracks.stepped(1, 0.1, {1: small.mask}, {1: 5.0})
    changes = tracks.detected(1, [outer, small])
    assert changes.restarted == {}
    assert changes.born == {2: 0}
    tracks.stepped(2, 0.2, {1: small.mask, 2: outer.mask}, {1: 5.0, 2: 5.0})
    changes = tracks.detected(2, [outer, small])
    assert (changes.restarted, changes.removed) == ({}, [])


def test_under_another_text_a_track_starts_with_its_score_there_and_no_misses() -> None:
    tracks = books()
    tracks.detected(0, [looking(0, 1.0, score=0.95)])
    tracks.tracks[1].unsupported = 7
    assert tracks.rephrase(["bead"], {1: {"bead": 0.6}}) == []
    track = tracks.tracks[1]
    assert (track.label, track.score, track.unsupported) == ("bead", 0.6, 0)
    assert track.evidence == {"bead": 0.6}
