"""Fakes of what the stages carry: a source of moving squares, cores without models, a sink.

`PARTS` is named to stage processes as `fakes:PARTS` (with this folder on their path). What the
fakes do is asked for in the source's address, `fake://squares?frames=20&live=1`, because that
reaches every process; the reader's process alone sees it, so that the others read `FAKE` below.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from stream.config import Config
from stream.contracts import (
    DetectionJob,
    DetectionResult,
    DetectorClient,
    HandPrompt,
    Prompted,
    Question,
    RunInfo,
    Sink,
    StreamEvent,
)
from stream.errors import SinkError, SourceError, UsageError
from stream.frame import Detection, Frame, Masks, TrackedObject, crop_mask

FAKE = "MASKCAST_FAKE"
"""Environment variable, JSON: `record` (the sink's file), `mark` (made at the first step),
`step_s`, `prepare_s`, `sink_s`, `detect_s` (times to sleep), `fail` (`prepare`, `crash`, `step12`),
`sink_fail` (frame)."""

SIZE = (48, 64)
SQUARE = 10


def wanted() -> dict[str, object]:
    return dict(json.loads(os.environ.get(FAKE, "{}")))


def position(index: int) -> tuple[int, int]:
    """Top and left of the square in a frame."""
    return (2 * index) % (SIZE[0] - SQUARE), (3 * index) % (SIZE[1] - SQUARE)


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    top, left = position(index)
    image[top : top + SQUARE, left : left + SQUARE] = 255
    return image


class SquareSource:
    """`fake://squares?frames=N&fps=F&live=0|1`; events before frame `gap`, an error at `break`.

    It says nothing any more at frame `hang`, and looks for its camera from frame `away` on.
    """

    frames_total: int | None

    def __init__(self, uri: str) -> None:
        query = dict(parse_qsl(urlsplit(uri).query))
        self.name = "squares"
        self.live = query.get("live") == "1"
        self.fps = float(query.get("fps", 100.0))
        self.frames_total = int(query["frames"]) if "frames" in query else None
        self.counters = {"stale": 0}
        self.closed = 0
        self._gap = int(query.get("gap", -1))
        self._break = int(query.get("break", -1))
        self._fail = query.get("fail", "")
        self._hang = int(query.get("hang", -1))
        self._away = int(query.get("away", -1))
        self.reconnecting = False
        self._index = 0
        self._start_s = 0.0

    def open(self) -> None:
        if self._fail:
            raise UsageError(f"squares: {self._fail}")

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        index = self._index
        if index == self.frames_total or stop.is_set():
            return None
        if index == self._break:
            raise SourceError(f"squares: damaged after frame {index - 1}")
        if index == self._gap:
            self._gap = -1
            return StreamEvent("gap", "0.5 s without frames", gap_s=0.5)
        if index == self._hang:
            time.sleep(30.0)
        if index == self._away:
            self.reconnecting = True
            time.sleep(30.0)
        if self.live:
            self._start_s = self._start_s or time.monotonic()
            if stop.wait(max(0.0, self._start_s + index / self.fps - time.monotonic())):
                return None
        self._index += 1
        return Frame(index, picture(index), index / self.fps, time.monotonic_ns(), self.name)

    def close(self) -> None:
        self.closed += 1

    def report(self) -> dict[str, object]:
        return {"true_objects_ever": 1}


class ThresholdTracker:
    """Finds what is bright; asks the detector every fourth frame."""

    live = True

    def __init__(self, every: int = 4) -> None:
        options = wanted()
        self._step_s = float(options.get("step_s", 0.0))
        self._prepare_s = float(options.get("prepare_s", 0.0))
        self._fail = options.get("fail")
        self._mark = options.get("mark")
        self._every = every
        self._steps = 0
        self._pending = False
        self._answers: list[int] = []
        self.events: list[str] = []
        self._noted: list[str] = []

    def prepare(self) -> None:
        time.sleep(self._prepare_s)
        if self._fail == "prepare":
            raise UsageError("model 'mikro' is not known; accepted are micro, sam2.1-tiny")
        if self._fail == "crash":
            raise RuntimeError("tensor has\nno shape")

    def encode(self, frame: Frame) -> None:
        pass

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        if self._mark and self._steps == 0:
            Path(self._mark).touch()
        if self._step_s:
            time.sleep(self._step_s)
        if self._fail == f"step{frame.index}":
            raise RuntimeError("division by zero")
        answer = detector.poll(0.0)
        if answer is not None:
            self._pending = False
            self._answers.append(answer.frame_index)
        if not self._pending and self._steps % self._every == 0:
            job = DetectionJob(
                frame.index,
                0,
                frame.rgb,
                {"low": np.ones((2, 3), np.float16)},
                Question(("square",)),
            )
            self._pending = detector.submit(job)
        self._steps += 1
        mask, box = crop_mask(frame.rgb[:, :, 0] > 128)
        item = TrackedObject(1, "square", 0.9, "confirmed", mask, box, int(mask.sum()))
        return Masks(frame.index, frame.size, frame.pts_s, frame.captured_ns, (item,))

    def event(self, event: StreamEvent) -> None:
        self.events.append(event.kind)

    def ask(self, question: Question, renamed: dict[str, str]) -> None:
        self.events.append(f"asked {', '.join(question.labels)}")
        self._noted.append(f"heard {question.labels[-1]}")

    def prompt(self, prompt: HandPrompt) -> Prompted:
        if not prompt.points:
            raise UsageError("click on something")
        self.events.append(f"prompted {prompt.label} at {prompt.points[0]}")
        return Prompted(7, 3, 12, (1, 2, 3, 4))

    def forget(self, track_id: int) -> None:
        self.events.append(f"forgot {track_id}")

    def notes(self) -> list[str]:
        notes, self._noted = self._noted, []
        return notes

    def report(self) -> dict[str, object]:
        return {
            "detection": {"events": len(self._answers), "accepted": 0, "last": self._answers[-3:]},
            "objects": {"now": 1, "ever": 1},
            "stream_events": dict(Counter(self.events)),
        }


class EchoDetector:
    """Answers every job with what is bright in it."""

    def prepare(self) -> None:
        pass

    def detect(self, job: DetectionJob) -> DetectionResult:
        assert set(job.features) == {"low"}
        time.sleep(float(wanted().get("detect_s", 0.0)))
        mask = job.image[:, :, 0] > 128
        box = (0.0, 0.0, 1.0, 1.0)
        found = Detection(job.frame_index, "square", 0.5, mask, box, (0.5, 0.5))
        return DetectionResult(job.frame_index, job.revision, (found,), 0)


class FileSink:
    """Writes one JSON line a frame, and `closed` when it was closed."""

    name = "recorder"

    def __init__(self, path: str, write_s: float = 0.0, fail_at: int = -1) -> None:
        self.folder = path
        self._write_s = write_s
        self._fail_at = fail_at
        self._file = None

    def open(self) -> None:
        self._file = Path(self.folder).open("w")  # noqa: SIM115

    def write(self, frame: Frame, masks: Masks) -> None:
        if frame.index == self._fail_at:
            raise SinkError(f"{self.folder}: no space left; frames before {frame.index} are there")
        time.sleep(self._write_s)
        line = {
            "frame": masks.frame_index,
            "boxes": [list(item.box) for item in masks.objects],
            "areas": [int(item.mask.sum()) for item in masks.objects],
            "right": bool((frame.rgb == picture(frame.index)).all()),
            "dropped": masks.dropped,
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.write("closed\n")
            self._file.close()
            self._file = None


class FakeParts:
    def source(self, config: Config) -> SquareSource:
        return SquareSource(config.source.uri)

    def tracker(self, config: Config) -> ThresholdTracker:
        return ThresholdTracker()

    def detector(self, config: Config) -> EchoDetector:
        return EchoDetector()

    def sinks(self, config: Config, info: RunInfo) -> list[Sink]:
        options = wanted()
        sinks: list[Sink] = []
        if "record" in options:
            write_s = float(options.get("sink_s", 0.0))
            fail_at = int(options.get("sink_fail", -1))
            sinks.append(FileSink(str(options["record"]), write_s, fail_at))
        if config.metrics.port is not None:
            from stream.web import MetricsSink  # late: other stages need no server

            sinks.append(MetricsSink(config.metrics.host, config.metrics.port, info))
        return sinks


PARTS = FakeParts()


def main() -> None:
    """The command `maskcast`, with fakes in the stages."""
    import stream.commands.run
    from stream.cli import main as maskcast

    stream.commands.run.PARTS = "fakes:PARTS"
    maskcast()


if __name__ == "__main__":
    main()
