"""The question changes while frames are tracked: whose answers count, and what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream.config import check
from stream.contracts import DetectionJob, DetectionResult, HandPrompt, Question
from stream.core import track as track_module
from stream.core.track import TrackCore
from stream.frame import Detection, Frame, Masks
from tests.core.test_track import EchoTracker

UNIT = np.eye(3, dtype=np.float32)


class Answering:
    """Sees two things; answers after a number of polls, and scores what it is asked about."""

    def __init__(self, polls: int = 0, scores: dict[str, list[float]] | None = None) -> None:
        self.polls, self.scores = polls, scores or {}
        self.jobs: list[DetectionJob] = []
        self._left = 0
        self._job: DetectionJob | None = None

    def submit(self, job: DetectionJob) -> bool:
        if self._job is not None:
            return False
        self._job, self._left = job, self.polls
        self.jobs.append(job)
        return True

    def poll(self, timeout_s: float) -> DetectionResult | None:
        if self._job is None:
            return None
        if self._left > 0 and timeout_s == 0:
            self._left -= 1
            return None
        job, self._job = self._job, None
        found = []
        for row in range(2):
            mask = np.zeros((256, 256), bool)
            mask[40 + 100 * row : 80 + 100 * row, 40:80] = True
            label = job.question.labels[min(row, len(job.question.labels) - 1)]
            place = (0, 0, 1, 1), (0.5, 0.5)
            found.append(Detection(job.frame_index, label, 0.95, mask, *place, UNIT[row]))
        scores = None
        if job.known is not None:
            columns = [self.scores.get(label, [0.0, 0.0]) for label in job.question.labels]
            scores = np.array(columns, np.float32).T[: len(job.known)]
        refused = {item.label: "too dark" for item in job.shown if item.label == "a shadow"}
        return DetectionResult(
            job.frame_index, job.revision, tuple(found), 1, UNIT[2], scores, refused
        )


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> EchoTracker:
    tracker = EchoTracker()
    monkeypatch.setattr(track_module, "load_tracker", lambda *_, **__: tracker)
    return tracker


def core(*texts: str, live: bool = True) -> TrackCore:
    config = check({})
    out = TrackCore(config.tracker, config.detector, config.lifecycle, Question(texts))
    out.prepare()
    out.live = live
    return out


def run(tracker: TrackCore, detector: Any, frames: int, first: int = 0) -> list[Masks]:
    image = np.zeros((100, 120, 3), np.uint8)
    return [
        tracker.step(Frame(first + i, image, (first + i) / 10, first + i), detector)
        for i in range(frames)
    ]


def shown(masks: Masks) -> dict[int, str]:
    return {item.id: item.label for item in masks.objects}


def test_another_question_is_asked_at_once_and_ids_stay(echo: EchoTracker) -> None:
    tracker = core("cell", "dust")
    detector = Answering(scores={"nucleus": [0.9, 0.2], "dust": [0.1, 0.8]})
    assert shown(run(tracker, detector, 3)[-1]) == {1: "cell", 2: "dust"}
    tracker.ask(Question(("nucleus", "dust")))
    result = run(tracker, detector, 1, first=3)[0]
    assert [job.frame_index for job in detector.jobs] == [0, 3]
    assert len(detector.jobs[1].known) == 2
    assert shown(result) == {1: "nucleus", 2: "dust"}


def test_what_no_text_describes_any_more_retires(echo: EchoTracker) -> None:
    tracker = core("cell", "dust")
    detector = Answering(polls=2, scores={"dust": [0.1, 0.8]})
    run(tracker, detector, 6)
    tracker.ask(Question(("dust",)))
    results = run(tracker, detector, 3, first=6)
    assert shown(results[0]) == {1: "cell", 2: "dust"}, "until the detector has answered"
    assert 2 in shown(results[2])
    assert 1 not in shown(results[2])


def test_an_answer_under_the_old_question_is_dropped(echo: EchoTracker) -> None:
    tracker, detector = core("cell"), Answering(polls=3)
    run(tracker, detector, 1)
    tracker.ask(Question(("dog",)))
    results = run(tracker, detector, 10, first=1)
    assert [job.question.texts for job in detector.jobs] == [("cell",), ("dog",)]
    assert all(set(shown(masks).values()) <= {"dog"} for masks in results)
    assert shown(results[-1])


def test_an_exemplar_is_shown_in_a_frame_where_its_object_is_seen(echo: EchoTracker) -> None:
    tracker, detector = core("cell"), Answering()
    run(tracker, detector, 2)
    tracker.ask(Question(("cell",), (), ("a blob",)))
    mask = np.zeros((100, 120), bool)
    mask[10:30, 60:90] = True
    done = tracker.prompt(HandPrompt(mask=mask, label="a blob", exemplar=True))
    run(tracker, detector, 2, first=2)
    job = next(job for job in detector.jobs if job.shown)
    assert job.question.exemplars == ("a blob",)
    (exemplar,) = job.shown
    assert exemplar.label == "a blob"
    assert all(abs(a - b) < 2 for a, b in zip(exemplar.box, (60, 10, 90, 30), strict=True))
    assert done.area_px == pytest.approx(600, rel=0.1)
    assert tracker.notes() == []


def test_what_could_not_be_learnt_is_told_once(echo: EchoTracker) -> None:
    tracker, detector = core("cell"), Answering()
    run(tracker, detector, 2)
    tracker.ask(Question(("cell",), (), ("a shadow",)))
    mask = np.zeros((100, 120), bool)
    mask[10:30, 60:90] = True
    tracker.prompt(HandPrompt(mask=mask, label="a shadow", exemplar=True))
    run(tracker, detector, 3, first=2)
    assert tracker.notes() == ["'a shadow' is not looked for: too dark"]
    assert tracker.notes() == []


def test_a_person_can_forget_an_object(echo: EchoTracker) -> None:
    tracker, detector = core("cell", "dust"), Answering()
    run(tracker, detector, 2)
    tracker.forget(1)
    assert shown(run(tracker, detector, 1, first=2)[0]) == {2: "dust"}


def test_a_still_picture_is_looked_at_less_often(echo: EchoTracker) -> None:
    config = check({"detector": {"adaptive": True}})
    tracker = TrackCore(config.tracker, config.detector, config.lifecycle, Question(("cell",)))
    tracker.prepare()
    detector = Answering()
    run(tracker, detector, 60)
    gaps = np.diff([job.frame_index for job in detector.jobs])
    assert gaps.tolist() == [8, 16, 16, 16]
