"""The loop to the detector: when it is asked, what, and whose answer counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.features import Features
from stream.buckets import FRAMES, Buckets
from stream.config import DetectorConfig
from stream.contracts import DetectionJob, DetectionResult, DetectorClient, Question
from stream.core.asking import Asking
from stream.frame import Box, Frame
from stream.lifecycle import Tracks
from stream.schedule import Moment, Pace, Scene, choose_pace, is_due, must_wait
from stream.stats import Reservoir

WAIT_FOR_DETECTION_S = 60.0


class DetectorLoop:
    """Asks the detector one thing at a time, and hears it.

    Args:
        config: How often.
        tracks: Whose state says how often, and whose embeddings are weighed again.
        question: What is asked for at first.

    Attributes:
        asking: The question in force.
        events: Answers so far.
        delay_frames: How many processed frames after its own an answer came.
    """

    def __init__(self, config: DetectorConfig, tracks: Tracks, question: Question) -> None:
        self.asking = Asking(question)
        self.events = 0
        self.delay_frames = Buckets(FRAMES)
        self._config = config
        self._tracks = tracks
        self._revision = 0
        self._now = Moment(0, 0.0)
        self._frame_s = 0.0
        self._last_asked: Moment | None = None
        self._pending: Moment | None = None
        self._cut_step: int | None = None
        self._looked_like: npt.NDArray[np.float32] | None = None
        self._similarity: float | None = None
        self._late_frames = Reservoir(capacity=1000)

    def at(self, step: int, time_s: float) -> None:
        """Go on to a frame.

        Args:
            step: Number of the processed frame.
            time_s: Stream time in seconds.
        """
        self._frame_s = max(time_s - self._now.time_s, 0.0) if step else 0.0
        self._now = Moment(step, time_s)

    def cut(self) -> None:
        """Note that the scene changed in this frame."""
        self._cut_step = self._now.step

    def change(self, question: Question) -> None:
        """Go on under another question, which the very next frame goes to the detector with."""
        self.asking.change(question)
        self._revision += 1
        self._last_asked = None

    def interrupt(self, *, anew: bool = False) -> None:
        """Let the answer that is under way count for nothing, and do not wait for it.

        Args:
            anew: Whether the next frame is looked at whenever the last look was.
        """
        self._revision += 1
        self._pending = None
        self.asking.withdraw()
        if anew:
            self._last_asked = None

    def report(self) -> dict[str, Any]:
        """Return the number of answers, and how many frames late they came."""
        return {"events": self.events, "late_frames": self._late_frames.percentiles()}

    def ask(
        self,
        frame: Frame,
        features: Features,
        detector: DetectorClient,
        boxes: Mapping[int, Box] | None = None,
    ) -> None:
        """Send a frame to the detector if it is time to, or something is to be shown in it.

        Args:
            frame: The frame that `at` named.
            features: Its features.
            detector: The way there.
            boxes: x0, y0, x1, y1 in pixels of the tracks seen in it; None where they are not known.
        """
        in_flight = self._pending is not None
        due = is_due(self._now, self._last_asked, self._pace(), in_flight=in_flight)
        if in_flight or not (due or boxes):
            return
        words = self.asking.compose(self._tracks.embeddings(), boxes)
        if words is None or not (due or words.shown):
            return
        job = DetectionJob(
            self._now.step,
            self._revision,
            frame.rgb,
            features.to_arrays(),
            words.question,
            words.shown,
            words.known,
        )
        if detector.submit(job):
            self.asking.sent(words)
            self._pending = self._last_asked = self._now

    def hear(self, detector: DetectorClient, *, live: bool) -> DetectionResult | None:
        """Return the answer if it is there and counts.

        Args:
            detector: The way there.
            live: Whether frames are passed over rather than waited for (`must_wait`).
        """
        if self._pending is None:
            detector.poll(0.0)  # an answer that nobody waits for any more frees the detector
            return None
        wait = must_wait(
            self._now,
            self._pending,
            self._pace(),
            live=live,
            tracking=bool(self._tracks.tracks),
            frame_s=self._frame_s,
        )
        if not (live or wait):
            return None  # a file takes each answer in a fixed frame, so that runs are alike
        asked = self._pending.step
        result = detector.poll(WAIT_FOR_DETECTION_S if wait else 0.0)
        if result is None or result.frame_index != asked:
            return None
        self._pending = None
        self.events += 1
        self._late_frames.add(self._now.step - asked)
        self.delay_frames.add(self._now.step - asked)
        if self._cut_step is not None and asked > self._cut_step:
            self._cut_step = None
        if result.revision != self._revision:
            return None
        self._compare(result.embedding)
        return result

    def _compare(self, embedding: npt.NDArray[np.float32] | None) -> None:
        before, self._looked_like = self._looked_like, embedding
        known = before is not None and embedding is not None
        self._similarity = float(before @ embedding) if known else None  # type: ignore[operator]

    def _pace(self) -> Pace:
        scene = Scene(
            all_confirmed=self._tracks.all_confirmed,
            cut=self._cut_step is not None,
            quiet_events=self._tracks.quiet_events,
            similarity=self._similarity,
        )
        return choose_pace(scene, self._config)
