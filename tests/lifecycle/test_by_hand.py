"""Tracks that a person made or took over: detections serve them and never end them."""

import numpy as np
import pytest

from stream.config import LifecycleConfig
from stream.frame import Detection
from stream.lifecycle import Tracks


def square(left, top=0, side=8):
    mask = np.zeros((32, 32), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def seen(mask, label="cell", score=0.95):
    return Detection(0, label, score, mask, (0, 0, 1, 1), (0, 0))


def books(max_objects=4, **rules):
    return Tracks(LifecycleConfig(**rules), max_objects)


def adopted(tracks, mask, label="my thing", step=0):
    track_id, displaced = tracks.adopt(label)
    tracks.stepped(step, step / 10, {track_id: mask}, {track_id: 5.0})
    return track_id, displaced


def test_it_is_shown_at_once_and_never_abandoned():
    tracks = books(remove_after_unsupported=2)
    track_id, _ = adopted(tracks, square(0))
    for _ in range(5):
        assert tracks.detected(0, []).removed == []
    assert tracks.tracks[track_id].confirmed
    assert tracks.ever == 1


def test_it_leaves_when_nothing_of_it_is_visible():
    tracks = books(remove_after_empty_s=2.0)
    track_id, _ = adopted(tracks, square(0))
    nothing = {track_id: square(0, side=0)}
    assert tracks.stepped(1, 1.0, nothing, {track_id: -5.0}) == []
    assert tracks.stepped(2, 3.0, nothing, {track_id: -5.0}) == [track_id]


def test_a_detection_supports_and_corrects_it_but_gives_it_no_name():
    tracks = books(recondition_score=0.8, recondition_every=1, label_rate=1.0, label_margin=0.0)
    track_id, _ = adopted(tracks, square(0))
    changes = tracks.detected(0, [seen(square(0))])
    assert changes.reconditioned == {track_id: 0}
    assert changes.born == {}
    assert tracks.tracks[track_id].label == "my thing"


@pytest.mark.parametrize("young", [True, False])
def test_of_two_that_follow_one_object_it_is_the_one_that_stays(young):
    tracks = books()
    if young:
        tracks.detected(0, [seen(square(0))])
    track_id, _ = tracks.adopt("my thing")
    if not young:
        tracks.detected(0, [seen(square(0))])
    masks = dict.fromkeys(tracks.tracks, square(0))
    ended = tracks.stepped(1, 0.1, masks, dict.fromkeys(masks, 5.0))
    assert ended == [i for i in masks if i != track_id]


def test_at_the_cap_it_takes_the_place_of_the_least_certain():
    tracks = books(max_objects=2)
    tracks.detected(0, [seen(square(0)), seen(square(16), score=0.9)])
    track_id, displaced = tracks.adopt("my thing")
    assert (track_id, displaced) == (3, 2)
    assert tracks.adopt("another")[1] == 1
    assert tracks.adopt("no room") is None
    born = tracks.detected(0, [seen(square(0, 16), score=0.99)]).born
    assert born == {}, "those by hand do not give way"


def test_a_part_that_a_person_chose_is_left_to_it():
    tracks = books()
    whole = square(0, side=16)
    track_id, _ = adopted(tracks, square(0, side=8))
    changes = tracks.detected(0, [seen(whole, "my thing")])
    assert track_id not in changes.restarted
    assert track_id not in changes.removed
    assert track_id in tracks.tracks


def test_a_track_that_is_taken_over_is_a_persons_from_then_on():
    tracks = books(remove_after_unsupported=1)
    (track_id,) = tracks.detected(0, [seen(square(0), score=0.75)]).born
    assert not tracks.tracks[track_id].confirmed
    tracks.take_over(track_id, "my cell")
    assert (tracks.ever, tracks.tracks[track_id].label) == (1, "my cell")
    tracks.stepped(0, 0.0, {track_id: square(0)}, {track_id: 5.0})
    assert tracks.detected(0, []).removed == []


def test_an_edited_text_renames_what_a_person_made_and_nothing_else():
    tracks = books()
    tracks.detected(0, [seen(square(0))])
    named, _ = tracks.adopt("cell")
    other, _ = tracks.adopt("my thing")
    tracks.rename({"cell": "nucleus"})
    assert {i: t.label for i, t in tracks.tracks.items()} == {
        1: "cell", named: "nucleus", other: "my thing",
    }  # fmt: skip
