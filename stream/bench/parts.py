"""What the stages carry while they are measured: the real parts, and a reader of time codes.

`WITHOUT_MODELS` has stand-ins for the models that cost nothing, so that what remains is ours.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from stream.config import Config
from stream.contracts import (
    DetectionJob,
    DetectionResult,
    DetectorClient,
    DetectorCore,
    HandPrompt,
    Prompted,
    Question,
    RunInfo,
    Sink,
    Source,
    StreamEvent,
    TrackerCore,
)
from stream.errors import UsageError
from stream.frame import Frame, Masks, TrackedObject
from stream.stages.parts import RealParts
from stream.synth.timecode import read_timecode

OBJECTS: Final = 8
RADIUS: Final = 1 / 16
"""Of a stand-in's object, in heights of the frame."""
HANDICAP: Final = "MASKCAST_HANDICAP_MS"
"""Environment variable: how long the tracker sleeps in each frame; stages inherit it."""


@contextlib.contextmanager
def handicap(ms: float) -> Iterator[None]:
    """Let trackers of runs that are started meanwhile sleep in each frame.

    Args:
        ms: For how long, in milliseconds; 0: they do not.
    """
    before = os.environ.pop(HANDICAP, None)
    if ms:
        os.environ[HANDICAP] = str(ms)
    try:
        yield
    finally:
        os.environ.pop(HANDICAP, None)
        if before is not None:
            os.environ[HANDICAP] = before


def handicapped(core: TrackerCore) -> TrackerCore:
    """Return a core that sleeps after each step for as long as the environment says."""
    seconds = float(os.environ.get(HANDICAP, "0")) / 1e3
    if not seconds:
        return core
    quick = core.step

    def step(frame: Frame, detector: DetectorClient) -> Masks:
        masks = quick(frame, detector)
        time.sleep(seconds)
        masks.stamps["tracked"] = time.monotonic_ns()
        return masks

    core.step = step  # type: ignore[method-assign]
    return core


class CodeReader:
    """A source whose frames say when they were due, if a time code is in the picture.

    The time code's clock must be this machine's monotonic one: its drawer runs on this machine.
    A time that is not within the last minute is none.
    """

    _MOST_AGE_NS = 60_000_000_000

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self.live = source.live
        self.fps: float | None = source.fps
        self.frames_total = source.frames_total
        self.counters = source.counters
        self._read = self._unread = 0

    def open(self) -> None:
        """See `Source.open`."""
        self._source.open()
        self.live, self.fps = self._source.live, self._source.fps
        self.frames_total = self._source.frames_total

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        """Return the next frame with its stamp `intended`, where it has none and a code."""
        found = self._source.read(stop)
        if isinstance(found, Frame) and "intended" not in found.stamps:
            now_ns = time.monotonic_ns()
            code = read_timecode(np.asarray(found.rgb))
            if code is not None and 0 <= now_ns - code.time_us * 1000 < self._MOST_AGE_NS:
                found.stamps["intended"] = code.time_us * 1000
                self._read += 1
            else:
                self._unread += 1
        return found

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()

    def report(self) -> dict[str, Any]:
        """Return the source's own facts, and how many codes were read."""
        facts: dict[str, Any] = getattr(self._source, "report", dict)()
        return facts | {"codes": {"read": self._read, "unread": self._unread}}


class StandInTracker:
    """A tracker's core that costs nothing: the same discs in every frame, detections as asked."""

    live = True

    def __init__(self, every: int) -> None:
        self._every = every
        self._steps = self._events = 0
        self._pending = False
        self._size: tuple[int, int] | None = None
        self._objects: tuple[TrackedObject, ...] = ()
        self._features = {"low": np.zeros((256, 16, 16), np.float16)}

    def prepare(self) -> None:
        """Nothing is loaded."""

    def encode(self, frame: Frame) -> None:
        """Nothing is encoded."""

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        """Return the discs."""
        stamps = dict(frame.stamps) | {"encoded": time.monotonic_ns()}
        if detector.poll(0.0) is not None:
            self._pending, self._events = False, self._events + 1
        if not self._pending and self._steps % self._every == 0:
            job = DetectionJob(self._steps, 0, frame.rgb, self._features, Question(("nothing",)))
            self._pending = detector.submit(job)
        if frame.size != self._size:
            self._size, self._objects = frame.size, _discs(frame.size)
        self._steps += 1
        stamps["tracked"] = time.monotonic_ns()
        return Masks(frame.index, frame.size, frame.pts_s, frame.captured_ns, self._objects, stamps)

    def event(self, event: StreamEvent) -> None:
        """Nothing changes."""

    def ask(self, question: Question, renamed: dict[str, str]) -> None:
        """Nothing changes."""

    def prompt(self, prompt: HandPrompt) -> Prompted:
        """Refuse.

        Raises:
            UsageError: Always.
        """
        raise UsageError("there is no model here that could be prompted")

    def forget(self, track_id: int) -> None:
        """Refuse; see `prompt`."""
        raise UsageError(f"there is no track {track_id}: there is no model here")

    def notes(self) -> list[str]:
        """Return nothing."""
        return []

    def report(self) -> dict[str, Any]:
        """Return the number of answers."""
        count = len(self._objects)
        return {"detection": {"events": self._events}, "objects": {"now": count, "ever": count}}


class StandInDetector:
    """A detector that sees nothing, at once."""

    def prepare(self) -> None:
        """Nothing is loaded."""

    def detect(self, job: DetectionJob) -> DetectionResult:
        """Return no detections."""
        return DetectionResult(job.frame_index, job.revision, (), 0)


class BenchParts:
    """The parts of a real run, with time codes read."""

    def __init__(self, models: bool = True) -> None:
        self._real = RealParts()
        self._models = models

    def source(self, config: Config) -> Source:
        """Make the source."""
        return CodeReader(self._real.source(config))

    def tracker(self, config: Config) -> TrackerCore:
        """Make the tracker's core."""
        if not self._models:
            return handicapped(StandInTracker(config.detector.every_n_frames))
        return handicapped(self._real.tracker(config))

    def detector(self, config: Config) -> DetectorCore:
        """Make the detector's core."""
        return self._real.detector(config) if self._models else StandInDetector()

    def sinks(self, config: Config, info: RunInfo) -> list[Sink]:
        """Make the sinks."""
        return self._real.sinks(config, info)


def _discs(size: tuple[int, int]) -> tuple[TrackedObject, ...]:
    """Return discs in a row."""
    height, width = size
    radius = max(2, round(RADIUS * min(size)))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    mask = x * x + y * y <= radius * radius
    objects = []
    for number in range(OBJECTS):
        left = round((number + 0.5) * (width - 2 * radius - 1) / OBJECTS)
        top = (height - 2 * radius - 1) // 2
        box = (left, top, left + 2 * radius + 1, top + 2 * radius + 1)
        area = int(mask.sum())
        objects.append(TrackedObject(number + 1, "disc", 1.0, "confirmed", mask, box, area))
    return tuple(objects)


PARTS = BenchParts()
WITHOUT_MODELS = BenchParts(models=False)
