"""Parts for benchmarks of tests: the real pipeline around stand-ins that take a known time.

Named to stage processes as `fakes_bench:PARTS` (with this folder on their path); `FAKE_BENCH`,
JSON in the environment, says what a step takes: `step_s`, and `encode_s` before it; and in which
repetition the source is gone, `fail_in`, counted in the file `counter`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from stream.bench.parts import BenchParts, StandInTracker
from stream.config import Config
from stream.contracts import DetectorClient, Source, TrackerCore
from stream.errors import SourceError
from stream.frame import Frame, Masks

FAKE_BENCH = "FAKE_BENCH"


class SlowTracker(StandInTracker):
    """A stand-in that sleeps where a model would compute."""

    def __init__(self, every: int) -> None:
        super().__init__(every)
        wanted = json.loads(os.environ.get(FAKE_BENCH, "{}"))
        self._encode_s = float(wanted.get("encode_s", 0.0))
        self._step_s = float(wanted.get("step_s", 0.0))

    def encode(self, frame: Frame) -> None:
        pass

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        time.sleep(self._encode_s)
        masks = super().step(frame, detector)
        time.sleep(self._step_s)
        masks.stamps["tracked"] = time.monotonic_ns()
        return masks


class SlowParts(BenchParts):
    def __init__(self) -> None:
        super().__init__(models=False)

    def source(self, config: Config) -> Source:
        wanted = json.loads(os.environ.get(FAKE_BENCH, "{}"))
        if "fail_in" in wanted:
            counter = Path(wanted["counter"])
            number = int(counter.read_text()) + 1 if counter.exists() else 1
            counter.write_text(str(number))
            if number == wanted["fail_in"]:
                raise SourceError("camera: gone")
        return super().source(config)

    def tracker(self, config: Config) -> TrackerCore:
        return SlowTracker(config.detector.every_n_frames)


PARTS = SlowParts()
