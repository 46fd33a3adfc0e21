"""Frames to masks with ids: the tracker, the detections that come late, and the life of tracks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import structlog

from engines.device_clock import on_card
from engines.edges import Outline, Placed
from engines.features import Features
from engines.late import TooLateError, choose_catch_up
from engines.objects import ObjectMask, Prompt
from engines.registry import load_tracker
from engines.tracker import Tracker
from stream.config import DetectorConfig, LifecycleConfig, TrackerConfig
from stream.contracts import (
    DetectionResult,
    DetectorClient,
    HandPrompt,
    Prompted,
    Question,
    StreamEvent,
)
from stream.core import knobs
from stream.core.gpu import GpuGauge
from stream.core.hands import Hands
from stream.core.loop import DetectorLoop
from stream.errors import UsageError
from stream.frame import BoolMask, Box, Detection, Frame, Masks, TrackedObject
from stream.lifecycle import Tracks


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
        self._rules = rules
        self._tracks = Tracks(rules, config.max_objects)
        self._loop = DetectorLoop(detector, self._tracks, question)
        self._step = 0
        self._encoded: dict[int, tuple[Features, int]] = {}
        self._too_late = 0
        self._replayed = 0
        self._gpu = GpuGauge(config.device)
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
                backend=config.backend,
                engines=config.engines,
                threads=config.threads,
                device=config.device,
                limits=knobs.limits(config),
                savings=knobs.savings(config),
                cleanup=knobs.cleanup(config),
            )
            self._edges = knobs.edges(config, bool(config.refine), config.device)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self._tracker.warm_up()
        if self._tracker.engines.why:
            self._notes.append(f"tracker: {self._tracker.engines.why}")
        kept = config.memory.late_frames + 1
        self._hands = Hands(self._tracker, self._tracks, kept, config.replay_steps)

    def encode(self, frame: Frame) -> None:
        """Encode a frame before its turn, beside the step of the one before it.

        A card is only asked for what it does next; there `step` asks, and nothing is gained here.
        """
        if not on_card(self._tracker.device):
            features = self._tracker.encode(frame.rgb)
            self._tracker.prepare(features)
            self._encoded[frame.index] = features, time.monotonic_ns()

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        """Process the next frame.

        Args:
            frame: Any later frame of the stream; dropped ones are simply not there.
            detector: The loop to the detector.

        Returns:
            The frame's masks; tentative tracks are not shown.
        """
        stamps = dict(frame.stamps)
        self._loop.at(self._step, frame.pts_s)
        features, stamps["encoded"] = self._features(frame)
        stamps["turn"] = time.monotonic_ns()
        teach = self._loop.asking.wants_to_teach  # which needs the masks of this very frame
        if not teach:
            self._loop.ask(frame, features, detector)
        result = self._loop.hear(detector, live=self.live)
        if result is not None:
            self._apply(features, result)
        tracked = self._tracker.step(self._step, features)
        self._note(frame)
        objects = self._book(frame, tracked)
        self._hands.tracked(frame.index, self._step, frame.size)
        if teach:
            self._loop.ask(frame, features, detector, {i.id: i.box for i in objects if i.area})
        # On a card the encoder was only asked for when `encode` came back.
        stamps["encoded"] = self._tracker.encoded_ns(features) or stamps["encoded"]
        stamps["turn"] = max(stamps["turn"], stamps["encoded"])
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

    def _features(self, frame: Frame) -> tuple[Features, int]:
        """Return the features of a frame, and when they were there."""
        found = self._encoded.pop(frame.index, None)
        for index in [i for i in self._encoded if i < frame.index]:
            del self._encoded[index]  # its frame never had its turn
        return found or (self._tracker.encode(frame.rgb), time.monotonic_ns())

    def event(self, event: StreamEvent) -> None:
        """Start anew after a change of size; after a gap, keep tracks and forget their places."""
        if event.kind == "size":
            self._loop.interrupt(anew=True)  # what is under way is about frames of another size
            self._tracker.reset()
            self._hands.clear()
            self._tracks.restart()
        elif event.kind == "gap":
            self._loop.interrupt()
            self._tracks.clear_history()

    def ask(self, question: Question, renamed: dict[str, str] | None = None) -> None:
        """Go on under another question; the next frame goes to the detector with it.

        Args:
            question: What is asked for from now on.
            renamed: Old -> new, of texts that were edited.
        """
        self._tracks.rename(renamed or {})
        self._loop.change(question)

    def prompt(self, prompt: HandPrompt) -> Prompted:
        """Take a prompt by hand, for a frame that was tracked already.

        Raises:
            UsageError: It cannot be done as asked; nothing has changed.
        """
        done = self._hands.prompt(prompt, self._loop.asking.question)
        if prompt.exemplar and prompt.label is not None:
            self._loop.asking.teach(prompt.label, done.track_id)
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
            "backend": self._tracker.engines.backend,
            "precisions": dict(self._tracker.engines.precisions),
            "gpu": self._gpu.read(),
            "delay_frames": self._loop.delay_frames.to_data(),
            "detection": {
                **self._loop.report(),
                "accepted": self._tracks.accepted,
                "too_late": self._too_late,
                "replayed": self._replayed,
            },
            "stream_events": dict(self._stream_events),
            "objects": {
                "now": sum(t.confirmed for t in self._tracks.tracks.values()),
                "ever": self._tracks.ever,
            },
        }

    # -- the detector's answers -------------------------------------------------------------------

    def _apply(self, now: Features, result: DetectionResult) -> None:
        """Take an answer.

        Args:
            now: Features of the frame that is being processed.
            result: About this frame or one gone by.
        """
        ended, notes = self._loop.asking.heard(result, self._tracks)
        for track_id in ended:
            self._tracker.remove_object(track_id)
        self._notes += notes
        asked = result.frame_index
        try:
            features = now if asked == self._step else self._tracker.features(asked)
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
                self._loop.cut()
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
        self._notes += self._loop.asking.give_up(self._tracks.tracks)
        shown = {
            track_id: result.in_frame(frame.size)
            for track_id, result in tracked.items()
            if (track := self._tracks.tracks.get(track_id)) is not None and track.confirmed
        }
        return tuple(
            self._object(frame, track_id, mask, box)
            for track_id, (mask, box) in self._drawn_again(frame, shown).items()
        )

    def _drawn_again(self, frame: Frame, masks: dict[int, Placed]) -> dict[int, Placed]:
        """Return the masks with finer edges, where that is asked for."""
        if self._edges is None:
            return masks
        seen = [track_id for track_id, (mask, _) in masks.items() if mask.size]
        drawn = self._edges.draw(frame.rgb, [Outline(*masks[track_id]) for track_id in seen])
        return masks | dict(zip(seen, drawn, strict=True))

    def _object(self, frame: Frame, track_id: int, mask: BoolMask, box: Box) -> TrackedObject:
        track = self._tracks.tracks[track_id]
        return TrackedObject(
            id=track_id,
            label=track.label,
            score=min(max(track.score, 0.0), 1.0),
            state=track.state(frame.pts_s, self._rules),
            mask=mask,
            box=box,
            area=int(mask.sum()),
            parent=track.parent,
        )


def _shrink(detection: Detection, side: int) -> Detection:
    """Return a detection whose mask has the resolution of the tracker's logits."""
    factor = max(detection.mask.shape[0] // side, 1)
    middle = factor // 2
    return replace(detection, mask=detection.mask[middle::factor, middle::factor])
