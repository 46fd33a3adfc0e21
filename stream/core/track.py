"""Frames to masks with ids: the tracker, the detections that come late, and the life of tracks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from engines.features import Features
from engines.images import mask_in_frame
from engines.late import TooLateError, choose_catch_up
from engines.objects import ObjectMask, Prompt
from engines.registry import load_tracker
from engines.tracker import Tracker
from stream.config import DetectorConfig, LifecycleConfig, TrackerConfig
from stream.contracts import (
    DetectionJob,
    DetectionResult,
    DetectorClient,
    HandPrompt,
    Prompted,
    Question,
    StreamEvent,
)
from stream.core import knobs
from stream.core.asking import Asking
from stream.core.hands import Hands
from stream.errors import UsageError
from stream.frame import Box, Detection, Frame, Masks, TrackedObject
from stream.lifecycle import Tracks
from stream.schedule import Moment, Pace, Scene, choose_pace, is_due, must_wait
from stream.stats import Reservoir

WAIT_FOR_DETECTION_S = 60.0


class TrackCore:
    """The tracker stage's work on one frame.

    Attributes:
        live: Whether frames come whether they are read or not; set before the first frame.
    """

    def __init__(
        self,
        config: TrackerConfig,
        detector: DetectorConfig,
        rules: LifecycleConfig,
        question: Question,
    ) -> None:
        self.live = True
        self._config = config
        self._schedule = detector
        self._rules = rules
        self._asking = Asking(question)
        self._revision = 0
        self._events = 0
        self._too_late = 0
        self._late_frames = Reservoir(capacity=1000)
        self._tracks = Tracks(rules, config.max_objects)
        self._step = 0
        self._now = Moment(0, 0.0)
        self._frame_s = 0.0
        self._last_asked: Moment | None = None
        self._pending: Moment | None = None
        self._cut_step: int | None = None
        self._replayed = 0
        self._looked_like: npt.NDArray[np.float32] | None = None
        self._similarity: float | None = None
        self._notes: list[str] = []
        self._stream_events: Counter[str] = Counter()

    def prepare(self) -> None:
        """Load the model and run it once.

        Raises:
            UsageError: The model or its weights cannot be used.
        """
        import torch

        if self._config.threads is not None:
            torch.set_num_threads(self._config.threads)
        config = self._config
        try:
            self._tracker: Tracker = load_tracker(
                config.model,
                weights=config.weights,
                image_size=config.image_size,
                precision=config.precision,
                device=config.device,
                limits=knobs.limits(config),
                savings=knobs.savings(config),
                cleanup=knobs.cleanup(config),
            )
        except ValueError as error:
            raise UsageError(str(error)) from error
        image = np.zeros((64, 64, 3), dtype=np.uint8)
        features = self._tracker.encode(image)
        self._tracker.add_object(0, 0, features, box=(8.0, 8.0, 40.0, 40.0))
        for step in range(3):
            self._tracker.step(step, features)
        self._tracker.reset()
        kept = config.memory.late_frames + 1
        self._hands = Hands(self._tracker, self._tracks, kept, config.replay_steps)

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        """Process the next frame.

        Args:
            frame: Any later frame of the stream; dropped ones are simply not there.
            detector: The loop to the detector.

        Returns:
            The frame's masks; tentative tracks are not shown.
        """
        stamps = dict(frame.stamps)
        self._frame_s = max(frame.pts_s - self._now.time_s, 0.0) if self._step else 0.0
        self._now = Moment(self._step, frame.pts_s)
        rgb = frame.rgb
        features = self._tracker.encode(rgb)
        stamps["encoded"] = time.monotonic_ns()
        teach = self._asking.wants_to_teach  # which needs the masks of this very frame
        if not teach:
            self._ask(frame, features, detector)
        self._hear(features, detector)
        tracked = self._tracker.step(self._step, features)
        self._note(frame)
        objects = self._book(frame, tracked)
        self._hands.tracked(frame.index, self._step, frame.size)
        if teach:
            self._ask(frame, features, detector, {i.id: i.box for i in objects if i.area})
        stamps["tracked"] = time.monotonic_ns()
        self._step += 1
        return Masks(
            frame_index=frame.index,
            size=frame.size,
            pts_s=frame.pts_s,
            captured_ns=frame.captured_ns,
            objects=objects,
            stamps=stamps,
        )

    def event(self, event: StreamEvent) -> None:
        """Start anew after a change of size; after a gap, keep tracks and forget their places."""
        if event.kind == "size":
            self._change()  # an answer that is under way is about frames of another size
            self._tracker.reset()
            self._hands.clear()
            self._tracks.restart()
            self._pending = None
            self._last_asked = None
        elif event.kind == "gap":
            self._change()
            self._pending = None
            self._tracks.clear_history()

    def ask(self, question: Question) -> None:
        """Go on under another question; the next frame goes to the detector with it."""
        self._asking.change(question)
        self._revision += 1
        self._last_asked = None

    def prompt(self, prompt: HandPrompt) -> Prompted:
        """Take a prompt by hand, for a frame that was tracked already.

        Raises:
            UsageError: It cannot be done as asked; nothing has changed.
        """
        done = self._hands.prompt(prompt, self._asking.question)
        if prompt.exemplar and prompt.label is not None:
            self._asking.teach(prompt.label, done.track_id)
        return done

    def forget(self, track_id: int) -> None:
        """End a track.

        Raises:
            UsageError: There is no such track.
        """
        self._hands.forget(track_id)

    def notes(self) -> list[str]:
        """Return lines that people should see, each once."""
        notes, self._notes = self._notes, []
        return notes

    def report(self) -> dict[str, Any]:
        """Return detection counts and the number of objects."""
        return {
            "precision": self._tracker.precision,
            "detection": {
                "events": self._events,
                "accepted": self._tracks.accepted,
                "late_frames": self._late_frames.percentiles(),
                "too_late": self._too_late,
                "replayed": self._replayed,
            },
            "stream_events": dict(self._stream_events),
            "objects": {
                "now": sum(t.confirmed for t in self._tracks.tracks.values()),
                "ever": self._tracks.ever,
            },
        }

    # -- the loop to the detector ----------------------------------------------------------------

    def _pace(self) -> Pace:
        scene = Scene(
            all_confirmed=self._tracks.all_confirmed,
            cut=self._cut_step is not None,
            quiet_events=self._tracks.quiet_events,
            similarity=self._similarity,
        )
        return choose_pace(scene, self._schedule)

    def _change(self) -> None:
        """Let the answer that is under way count for nothing."""
        self._revision += 1
        self._asking.withdraw()

    def _ask(
        self,
        frame: Frame,
        features: Features,
        detector: DetectorClient,
        boxes: dict[int, Box] | None = None,
    ) -> None:
        """Send a frame to the detector if it is time to, or something is to be shown in it."""
        in_flight = self._pending is not None
        due = is_due(self._now, self._last_asked, self._pace(), in_flight=in_flight)
        if in_flight or not (due or boxes):
            return
        words = self._asking.compose(self._tracks.embeddings(), boxes)
        if words is None or not (due or words.shown):
            return
        job = DetectionJob(
            self._step,
            self._revision,
            frame.rgb,
            features.to_arrays(),
            words.question,
            words.shown,
            words.known,
        )
        if detector.submit(job):
            self._asking.sent(words)
            self._pending = self._last_asked = self._now

    def _hear(self, features: Features, detector: DetectorClient) -> None:
        if self._pending is None:
            detector.poll(0.0)  # an answer that nobody waits for any more frees the detector
            return
        asked = self._pending.step
        wait = must_wait(
            self._now,
            self._pending,
            self._pace(),
            live=self.live,
            tracking=bool(self._tracks.tracks),
            frame_s=self._frame_s,
        )
        if not (self.live or wait):
            return  # a file takes each answer in a fixed frame, so that runs are alike
        result = detector.poll(WAIT_FOR_DETECTION_S if wait else 0.0)
        if result is None or result.frame_index != asked:
            return
        self._pending = None
        self._events += 1
        self._late_frames.add(self._step - asked)
        if self._cut_step is not None and asked > self._cut_step:
            self._cut_step = None
        if result.revision == self._revision:
            self._learn(result)
            now = features if asked == self._step else None
            self._apply(asked, now, result)

    def _learn(self, result: DetectionResult) -> None:
        """Take what an answer says beside its detections."""
        ended, notes = self._asking.heard(result, self._tracks)
        for track_id in ended:
            self._tracker.remove_object(track_id)
        self._notes += notes
        before, self._looked_like = self._looked_like, result.embedding
        self._similarity = None
        if before is not None and result.embedding is not None:
            self._similarity = float(before @ result.embedding)

    def _apply(self, asked: int, features: Features | None, result: DetectionResult) -> None:
        try:
            features = features or self._tracker.features(asked)
        except TooLateError:
            self._too_late += 1
            return
        if asked < self._step and not self._tracks.knows(asked):
            self._too_late += 1
            return
        side = features.quarter.shape[-1]
        changes = self._tracks.detected(asked, [_shrink(d, side) for d in result.detections])
        for track_id in (*changes.removed, *changes.restarted):
            self._tracker.remove_object(track_id)
        prompted = changes.born | changes.reconditioned | changes.restarted
        prompts = {
            track_id: Prompt(mask=result.detections[row].mask) for track_id, row in prompted.items()
        }
        if prompts:
            late = self._step - 1 - asked
            catch_up = choose_catch_up(late, len(prompts), self._config.replay_steps)
            self._replayed += late * len(prompts) if catch_up == "replay" else 0
            self._tracker.add_objects(asked, features, prompts, catch_up=catch_up)

    # -- books -----------------------------------------------------------------------------------

    def _note(self, frame: Frame) -> None:
        """Count and log what the tracker noticed about the stream."""
        for event in self._tracker.events():
            self._stream_events[event.kind] += 1
            if event.kind == "cut":
                self._cut_step = self._step
            structlog.get_logger().warning(
                "the stream is not continuous", kind=event.kind, frame=frame.index,
                detail=event.detail,
            )  # fmt: skip

    def _book(self, frame: Frame, tracked: dict[int, ObjectMask]) -> tuple[TrackedObject, ...]:
        ended = self._tracks.stepped(
            self._step,
            frame.pts_s,
            {i: m.mask for i, m in tracked.items()},
            {i: m.object_score for i, m in tracked.items()},
        )
        for track_id in ended:
            self._tracker.remove_object(track_id)
        self._notes += self._asking.give_up(self._tracks.tracks)
        objects = []
        for track_id, result in tracked.items():
            track = self._tracks.tracks.get(track_id)
            if track is None or not track.confirmed:
                continue
            mask, box = mask_in_frame(result.logits, frame.size)
            objects.append(
                TrackedObject(
                    id=track_id,
                    label=track.label,
                    score=min(max(track.score, 0.0), 1.0),
                    state=track.state(frame.pts_s, self._rules),
                    mask=mask,
                    box=box,
                    area=int(mask.sum()),
                )
            )
        return tuple(objects)


def _shrink(detection: Detection, side: int) -> Detection:
    """Return a detection whose mask has the resolution of the tracker's logits."""
    factor = max(detection.mask.shape[0] // side, 1)
    middle = factor // 2
    return replace(detection, mask=detection.mask[middle::factor, middle::factor])
