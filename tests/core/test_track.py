"""The tracker's core with a tracker that repeats its prompts: order, lateness and events."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from engines.continuity import Event
from engines.engine_folder import Engines
from engines.errors import ModelError
from engines.features import Features
from engines.objects import ObjectMask, Prompt
from stream.config import check
from stream.contracts import DetectionJob, DetectionResult, Question, StreamEvent
from stream.core import track as track_module
from stream.core.track import TrackCore
from stream.errors import UsageError
from stream.frame import Detection, Frame, Masks

SIDE = 64


class EchoTracker:
    """Gives each object the mask that it was prompted with, and writes down what it was asked."""

    precision = "fp32"
    engines = Engines("torch", None, "", {})

    def __init__(self) -> None:
        self.masks: dict[int, np.ndarray] = {}
        self.prompts: list[tuple[int, list[int]]] = []
        self.catch_ups: list[str] = []
        self.resets = 0

    def warm_up(self) -> None:
        pass

    def encode(self, image: np.ndarray) -> Features:
        zero = torch.zeros(1, 1, SIDE, SIDE)
        return Features(zero, zero, zero, image.shape[:2])

    encoded_at_ns: int | None = None
    """What a card's clock would say, where it knows."""

    def encoded_ns(self, features: Features) -> int | None:
        return self.encoded_at_ns

    device = torch.device("cpu")
    prepared = 0

    def prepare(self, features: Features) -> None:
        self.prepared += 1

    def add_object(
        self, obj_id: int, step: int, features: Features | None = None, **prompt: Any
    ) -> ObjectMask:
        mask = np.zeros((SIDE, SIDE), bool)
        if prompt.get("mask") is not None:
            rows, cols = (np.arange(SIDE) * n // SIDE for n in prompt["mask"].shape)
            mask = self.masks[obj_id] = prompt["mask"][np.ix_(rows, cols)]
        return ObjectMask(np.where(mask, 4.0, -4.0).astype(np.float32), 0.9, 5.0)

    def features(self, step: int) -> Features:
        return Features(*[torch.zeros(1, 1, SIDE, SIDE)] * 3, (100, 120))

    def events(self) -> list[Event]:
        return []

    def add_objects(
        self, step: int, features: Features, prompts: dict[int, Prompt], catch_up: str
    ) -> None:
        self.prompts.append((step, list(prompts)))
        self.catch_ups.append(catch_up)
        self.masks |= {i: p.mask[2::4, 2::4] for i, p in prompts.items() if p.mask is not None}

    def step(self, step: int, features: Features) -> dict[int, ObjectMask]:
        return {
            i: ObjectMask(np.where(m, 4.0, -4.0).astype(np.float32), 0.9, 5.0)
            for i, m in self.masks.items()
        }

    def remove_object(self, obj_id: int) -> None:
        self.masks.pop(obj_id, None)

    def reset(self) -> None:
        self.masks.clear()
        self.resets += 1


class SlowDetector:
    """Answers after a number of polls, or at once when the tracker waits."""

    def __init__(self, polls: int = 0) -> None:
        self.polls = polls
        self.jobs: list[DetectionJob] = []
        self.waits: list[float] = []
        self._left = 0
        self._job: DetectionJob | None = None

    def submit(self, job: DetectionJob) -> bool:
        if self._job is not None:
            return False
        self._job, self._left = job, self.polls
        self.jobs.append(job)
        return True

    def poll(self, timeout_s: float) -> DetectionResult | None:
        self.waits.append(timeout_s)
        if self._job is None:
            return None
        if self._left > 0 and timeout_s == 0:
            self._left -= 1
            return None
        job, self._job = self._job, None
        mask = np.zeros((256, 256), bool)
        mask[40:80, 40:80] = True
        found = Detection(job.frame_index, "cell", 0.95, mask, (0, 0, 1, 1), (0.5, 0.5))
        return DetectionResult(job.frame_index, job.revision, (found,), 1)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> EchoTracker:
    tracker = EchoTracker()
    monkeypatch.setattr(track_module, "load_tracker", lambda *_, **__: tracker)
    return tracker


def core(live: bool, every: int = 8, **schedule: Any) -> TrackCore:
    config = check({"detector": {"every_n_frames": every, **schedule}})
    out = TrackCore(config.tracker, config.detector, config.lifecycle, Question(("cell",)))
    out.prepare()
    out.live = live
    return out


def run(tracker: TrackCore, detector: SlowDetector, frames: int, first: int = 0) -> list[Masks]:
    return [tracker.step(frame(first + i), detector) for i in range(frames)]


def frame(index: int, size: tuple[int, int] = (100, 120)) -> Frame:
    return Frame(index, np.zeros((*size, 3), np.uint8), index / 10, index, stamps={"read": 1})


def test_a_file_has_its_objects_in_the_first_frame(echo: EchoTracker) -> None:
    results = run(core(live=False), SlowDetector(polls=5), 3)
    assert [len(m.objects) for m in results] == [1, 1, 1]
    assert [m.objects[0].id for m in results] == [1, 1, 1]


def test_a_live_stream_never_waits_and_late_objects_are_put_where_they_were_seen(
    echo: EchoTracker,
) -> None:
    detector = SlowDetector(polls=5)
    results = run(core(live=True), detector, 8)
    assert set(detector.waits) == {0.0}
    assert [len(m.objects) for m in results] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert echo.prompts[0] == (0, [1])


def test_frames_that_were_dropped_do_not_count_as_steps(echo: EchoTracker) -> None:
    detector, tracker = SlowDetector(), core(live=True, every=4)
    for index in (0, 10, 20, 30, 40):
        tracker.step(frame(index), detector)
    assert [job.frame_index for job in detector.jobs] == [0, 4]


def test_a_file_takes_answers_in_fixed_frames_however_fast_they_come(echo: EchoTracker) -> None:
    fast, slow = SlowDetector(0), SlowDetector(3)
    late = []
    for detector in (fast, slow):
        tracker = core(live=False)
        run(tracker, detector, 30)
        late.append(tracker.report()["detection"])
    assert late[0] == late[1]
    assert late[0]["late_frames"]["max"] == 7


def test_the_mask_is_brought_to_the_frame_and_stamps_are_kept(echo: EchoTracker) -> None:
    result = run(core(live=False), SlowDetector(), 1)[0]
    x0, _, _, y1 = result.objects[0].box
    assert abs(x0 - 40 / 256 * 120) < 2
    assert abs(y1 - 80 / 256 * 100) < 2
    assert list(result.stamps) == ["read", "encoded", "turn", "tracked"]


def test_a_frame_that_was_encoded_before_its_turn_is_not_encoded_again(
    echo: EchoTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = core(live=False)
    frames = [frame(index) for index in range(4)]
    for ahead in (frames[0], frames[1], frames[3]):  # 1 is lost on its way, 2 was never ahead
        tracker.encode(ahead)
    assert echo.prepared == 3
    encoded: list[int] = []
    encode = echo.encode
    monkeypatch.setattr(echo, "encode", lambda image: encoded.append(1) or encode(image))
    stamps = [tracker.step(frames[index], SlowDetector()).stamps for index in (0, 2, 3)]
    assert len(encoded) == 1
    assert all(found["encoded"] <= found["turn"] <= found["tracked"] for found in stamps)
    assert stamps[2]["encoded"] < stamps[0]["turn"]
    assert not tracker._encoded


def test_a_card_encodes_in_its_turn(echo: EchoTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "device", torch.device("cuda"), raising=False)
    monkeypatch.setattr(echo, "encode", lambda image: pytest.fail("the thread may not ask a card"))
    core(live=False).encode(frame(0))


def test_a_card_says_when_a_frame_was_encoded(
    echo: EchoTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EchoTracker, "encoded_at_ns", 77)
    assert run(core(live=False), SlowDetector(), 1)[0].stamps["encoded"] == 77


def test_a_new_size_starts_anew_with_new_ids(echo: EchoTracker) -> None:
    tracker, detector = core(live=False), SlowDetector()
    run(tracker, detector, 2)
    tracker.event(StreamEvent("size", "now 50x60", (50, 60)))
    result = tracker.step(frame(2, (50, 60)), detector)
    assert [o.id for o in result.objects] == [2]
    assert tracker.report()["objects"] == {"now": 1, "ever": 2}


def test_an_answer_from_before_a_gap_is_thrown_away(echo: EchoTracker) -> None:
    tracker, detector = core(live=True), SlowDetector(polls=2)
    run(tracker, detector, 2)
    tracker.event(StreamEvent("gap", "reconnected", gap_s=3.0))
    results = run(tracker, detector, 4, first=2)
    assert [len(m.objects) for m in results] == [0, 0, 0, 0]
    results = run(tracker, detector, 8, first=6)
    assert len(results[-1].objects) == 1, "detection goes on after the gap"


def test_a_model_that_cannot_be_loaded_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ModelError("model 'x' is unknown")

    monkeypatch.setattr(track_module, "load_tracker", fail)
    with pytest.raises(UsageError, match="model 'x' is unknown"):
        core(live=True)


def test_an_answer_to_another_question_is_not_taken_for_this_one(echo: EchoTracker) -> None:
    class Confused(SlowDetector):
        def poll(self, timeout_s: float) -> DetectionResult | None:
            result = super().poll(timeout_s)
            if result is None:
                return None
            return dataclasses.replace(result, frame_index=result.frame_index + 99)

    results = run(core(live=True), Confused(), 4)
    assert [len(m.objects) for m in results] == [0, 0, 0, 0]


def test_an_answer_that_comes_too_late_is_counted(echo: EchoTracker) -> None:
    detector, tracker = SlowDetector(polls=70), core(live=True)
    results = run(tracker, detector, 80)
    assert tracker.report()["detection"]["too_late"] == 1
    assert all(not m.objects for m in results)


def test_a_file_that_detects_in_every_frame_keeps_its_objects(echo: EchoTracker) -> None:
    tracker = core(live=False, every=1)
    results = run(tracker, SlowDetector(), 6)
    assert [[o.id for o in m.objects] for m in results] == [[1]] * 6
    assert tracker.report()["detection"]["accepted"] == 6
    assert tracker.report()["objects"]["ever"] == 1


def test_seconds_between_detections_are_counted_in_stream_time(echo: EchoTracker) -> None:
    detector = SlowDetector()
    tracker = core(live=True, every_s=0.75)
    run(tracker, detector, 20)
    assert [job.frame_index for job in detector.jobs] == [0, 8, 16]


def test_adaptive_detection_slows_down_and_wakes_up_at_a_cut(
    echo: EchoTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[Event] = []
    monkeypatch.setattr(echo, "events", lambda: [cuts.pop()] if cuts else [])
    detector = SlowDetector()
    tracker = core(live=True, adaptive=True)
    run(tracker, detector, 50)
    cuts.append(Event("cut", 50, "another scene"))
    run(tracker, detector, 20, first=50)
    assert [job.frame_index for job in detector.jobs] == [0, 8, 16, 32, 48, 51, 67]
