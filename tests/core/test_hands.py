"""Prompts by hand on a small SAM2 with random weights."""

import functools

import numpy as np
import pytest

from engines.registry import load_tracker
from stream.config import LifecycleConfig
from stream.contracts import HandPrompt, Question
from stream.core.hands import Hands
from stream.errors import UsageError
from stream.lifecycle import Tracks

SIZE = (96, 128)
ASKED = Question(("cell", "dust"))


@functools.cache
def one_tracker():
    return load_tracker("micro", precision="fp32")


class Scene:
    def __init__(self, frames=6, max_objects=16):
        self.tracker = one_tracker()
        self.tracker.reset()
        self.tracks = Tracks(LifecycleConfig(), max_objects)
        self.hands = Hands(self.tracker, self.tracks, kept_frames=4, replay_steps=0)
        self.image = np.full((*SIZE, 3), 20, np.uint8)
        rows, cols = np.ogrid[: SIZE[0], : SIZE[1]]
        self.image[(rows - 40) ** 2 + (cols - 60) ** 2 < 15**2] = (70, 200, 90)
        self.step = 0
        for _ in range(frames):
            self.go()

    def go(self):
        features = self.tracker.encode(self.image)
        found = self.tracker.step(self.step, features)
        masks = {i: m.mask for i, m in found.items()}
        scores = {i: m.object_score for i, m in found.items()}
        self.tracks.stepped(self.step, self.step / 10, masks, scores)
        self.hands.tracked(100 + self.step, self.step, SIZE)  # the stream counts from elsewhere
        self.step += 1
        return found

    def prompt(self, **what):
        return self.hands.prompt(HandPrompt(**what), ASKED)


@pytest.fixture
def scene():
    return Scene()


def test_a_box_on_an_old_frame_is_an_object_in_the_next():
    scene = Scene()
    done = scene.prompt(frame_index=103, box=(45.0, 25.0, 76.0, 56.0), label="a disc")
    assert (done.track_id, done.frame_index) == (1, 103)
    assert abs(done.area_px - np.pi * 15**2) < 200
    assert all(abs(a - b) <= 4 for a, b in zip(done.box, (45, 25, 76, 56), strict=True))
    track = scene.tracks.tracks[1]
    assert (track.label, track.confirmed, track.by_hand) == ("a disc", True, True)
    found = scene.go()
    assert list(found) == [1]
    assert found[1].mask.any()


def test_a_new_object_is_called_by_the_first_text_and_the_last_frame_is_meant():
    scene = Scene()
    done = scene.prompt(box=(45.0, 25.0, 76.0, 56.0), points=((60.0, 40.0),), labels=(1,))
    assert done.frame_index == 105
    assert scene.tracks.tracks[done.track_id].label == "cell"


def test_a_correction_keeps_the_id_and_makes_the_track_a_persons():
    scene = Scene()
    mask = np.zeros(SIZE, bool)
    mask[30:50, 50:70] = True
    first = scene.prompt(mask=mask)
    scene.tracks.tracks[first.track_id].by_hand = False
    again = scene.prompt(track_id=first.track_id, mask=np.roll(mask, 4, axis=1), label="dust")
    assert again.track_id == first.track_id
    assert again.box[0] > first.box[0]
    track = scene.tracks.tracks[first.track_id]
    assert (track.by_hand, track.label) == (True, "dust")


def test_a_forgotten_object_is_gone():
    scene = Scene()
    done = scene.prompt(box=(45.0, 25.0, 76.0, 56.0))
    scene.hands.forget(done.track_id)
    assert scene.go() == {}
    with pytest.raises(UsageError, match="there is no object 1; there are none"):
        scene.hands.forget(done.track_id)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"points": ((128.5, 1.0),), "labels": (1,)}, "point 128.5,1 is outside; the frame is 128"),
        ({"box": (10.0, 10.0, 5.0, 20.0)}, "box 10,10,5,20 is not accepted"),
        ({"box": (10.0, 10.0, 20.0, 97.0)}, "the frame is 128 x 96"),
        ({"mask": np.ones((96, 100), bool)}, "the mask is 100 x 96, but the frame is 128 x 96"),
        ({"mask": np.zeros(SIZE, bool)}, "the mask is empty"),
        ({}, "nothing is prompted"),
        ({"points": ((1.0, 1.0),), "labels": ()}, "1 points but 0 labels"),
        ({"points": ((1.0, 1.0),), "labels": (2,)}, "accepted are 1 (object) and 0 (not)"),
        ({"box": (1.0, 1.0, 9.0, 9.0), "frame_index": 101}, "frame 101 is not kept"),
        ({"box": (1.0, 1.0, 9.0, 9.0), "frame_index": 101}, "the oldest kept is 102"),
        ({"box": (1.0, 1.0, 9.0, 9.0), "track_id": 5}, "there is no object 5; there are none"),
    ],
)
def test_what_cannot_be_done_changes_nothing(scene, what, words):
    with pytest.raises(UsageError) as found:
        scene.prompt(**what)
    assert words in str(found.value)
    assert scene.tracker.object_ids == []
    assert scene.tracks.tracks == {}


def test_before_the_first_frame_there_is_nothing_to_prompt():
    scene = Scene(frames=0)
    with pytest.raises(UsageError, match="no frame has been tracked yet"):
        scene.prompt(box=(1.0, 1.0, 9.0, 9.0))


def test_objects_by_hand_are_not_pushed_out():
    scene = Scene(max_objects=1)
    scene.prompt(box=(45.0, 25.0, 76.0, 56.0))
    with pytest.raises(UsageError, match="there are 1 objects made by hand already"):
        scene.prompt(box=(45.0, 25.0, 76.0, 56.0))
    assert scene.tracker.object_ids == [1]


def test_a_click_that_finds_nothing_is_refused():
    scene = Scene()
    scene.image[:] = 0
    scene.go()
    with pytest.raises(UsageError, match="the prompt gives an empty mask; click inside"):
        scene.prompt(points=((10.0, 10.0),), labels=(1,))
    assert scene.tracker.object_ids == []
