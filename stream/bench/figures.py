"""From the samples of repetitions to figures: each repetition alone, and all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from stream.bench.median_frame import MedianFrame, median_frame
from stream.bench.samples import STEPS, Run, Sample
from stream.bench.statistics import (
    Distribution,
    ages_at_ticks,
    distribution,
    drops,
    interval,
    overlaps,
    settled_after,
    window_for,
)

SERIES: Final[dict[str, str]] = {
    "latency": "from the due time to the subscriber",
    "detecting": "latency of frames during whose tracking a detection was under way",
    "quiet": "latency of the other frames",
    "age": "age of the newest result, at every tick of the source",
    "peak_age": "the same just before each result, when it is highest",
    "interval": "between two results that came",
    "model": "in the tracker's core",
    "own": "everything else: latency less model",
    "waiting": "part of own: until the tracker was free",
    "idle": "own less waiting: what is left when the tracker is always free",
    "painted": "from the due time to the paint in a browser",
    "page": "part of that: from publishing, beside the way to the subscriber",
    "painted_age": "age of what the browser shows, at every tick of the source",
    "detection": "one look of the detector, from asking to hearing",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of one repetition, or of all."""

    series: dict[str, Distribution]
    """By name (`SERIES`)."""
    steps: dict[str, Distribution]
    """By the stamp that ends each (`STEPS`), in order."""
    explained: float | None
    """Sum of the steps' medians, of the median latency; below 1 where steps have tails."""
    median_frame: MedianFrame
    """Where the median latency goes, in times that add up."""
    due: int
    """Frames that were due after the warm-up."""
    delivered: int
    """Those of them that came."""
    dropped: dict[str, int]
    """The others, by cause."""
    fps: float | None
    """Delivered a second."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """95 % of the mean over repetitions of each series' median; of all repetitions only."""

    @property
    def drop_share(self) -> float:
        """Part of the frames due that did not come."""
        return sum(self.dropped.values()) / self.due if self.due else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "frames": {"due": self.due, "delivered": self.delivered, "dropped": self.dropped},
            "drop_share": round(self.drop_share, 6),
            "fps": self.fps,
            "explained": self.explained,
            "median_frame": self.median_frame.to_dict(),
            "series_ms": {name: values.to_dict() for name, values in self.series.items()},
            "steps_ms": {name: values.to_dict() for name, values in self.steps.items()},
            "interval_95_of_p50_ms": {
                name: [round(low, 4), round(high, 4)]
                for name, (low, high) in self.intervals.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Warm:
    """A repetition without its warm-up."""

    run: Run
    samples: list[Sample]
    warm_up: int
    """Samples left out."""
    settled: bool
    """False where no three windows agreed; nothing is left out then."""

    @property
    def cold_start_ms(self) -> float | None:
        """Latency of the first frame of all."""
        return round(self.run.samples[0].latency_ms, 3) if self.run.samples else None


def warm(run: Run) -> Warm:
    """Leave out the warm-up of a repetition."""
    latencies = [sample.latency_ms for sample in run.samples]
    found = settled_after(latencies, window_for(len(latencies)))
    return Warm(run, run.samples[found or 0 :], found or 0, found is not None)


def figures_of(runs: Sequence[Warm]) -> Figures:
    """Return the figures of repetitions put together."""
    values: dict[str, list[float]] = {name: [] for name in SERIES}
    steps: dict[str, list[float]] = {}
    due = delivered = 0
    dropped: dict[str, int] = {}
    seconds = 0.0
    for part in runs:
        if not part.samples:
            continue
        for name, numbers in series_of(part).items():
            values[name] += numbers
        for sample in part.samples:
            for name, ms in sample.steps_ms().items():
                steps.setdefault(name, []).append(ms)
        first, last = part.samples[0], part.samples[-1]
        span = last.frame - first.frame + 1
        due, delivered = due + span, delivered + len(part.samples)
        seconds += (last.delivered_ns - first.delivered_ns) / 1e9
        lost = drops(first.dropped, last.dropped, span - len(part.samples))
        dropped = {k: dropped.get(k, 0) + lost.get(k, 0) for k in {**dropped, **lost}}
    series = {name: distribution(numbers) for name, numbers in values.items()}
    by_step = {name: distribution(steps[name]) for name in STEPS if name in steps}
    count = sum(len(part.samples) - 1 for part in runs if part.samples)
    return Figures(
        series=series,
        steps=by_step,
        explained=explained(values["latency"], list(steps.values())),
        median_frame=median_frame([sample for part in runs for sample in part.samples]),
        due=due,
        delivered=delivered,
        dropped=dropped,
        fps=round(count / seconds, 3) if seconds else None,
        intervals=_intervals(runs),
    )


def series_of(part: Warm) -> dict[str, list[float]]:
    """Return the numbers behind each series of one repetition."""
    spans = [(look.submitted_ns, look.heard_ns) for look in part.run.detections]
    out: dict[str, list[float]] = {name: [] for name in SERIES}
    for sample in part.samples:
        latency_ms, model_ms = sample.latency_ms, sample.model_ms
        own_ms, waiting_ms = latency_ms - model_ms, sample.waiting_ms
        out["latency"].append(latency_ms)
        out["detecting" if is_detecting(sample, spans) else "quiet"].append(latency_ms)
        out["model"].append(model_ms)
        out["own"].append(own_ms)
        out["waiting"].append(waiting_ms)
        out["idle"].append(own_ms - waiting_ms)
    delivered = [sample.delivered_ns for sample in part.samples]
    out["interval"] = (np.diff(delivered) / 1e6).tolist()
    out["age"] = ages_of(part).tolist()
    origins = [sample.origin_ns for sample in part.samples]
    out["peak_age"] = ((np.array(delivered[1:]) - np.array(origins[:-1])) / 1e6).tolist()
    seen = [sample for sample in part.samples if sample.painted_ns is not None]
    out["painted"] = [sample.glass_ms for sample in seen if sample.glass_ms is not None]
    out["page"] = [ms - (s.stamps["published"] - s.origin_ns) / 1e6
                   for s, ms in zip(seen, out["painted"], strict=True)]  # fmt: skip
    out["painted_age"] = painted_ages_of(part).tolist()
    begin = part.samples[0].origin_ns if part.samples else 0
    out["detection"] = [
        (look.heard_ns - look.submitted_ns) / 1e6
        for look in part.run.detections
        if look.submitted_ns >= begin
    ]
    return out


def is_detecting(sample: Sample, spans: Sequence[tuple[int, int]]) -> bool:
    """Return whether a detection was under way while a frame was in the tracker."""
    begin, end = sample.stamps.get("taken"), sample.stamps.get("tracked")
    return begin is not None and end is not None and overlaps(spans, begin, end)


def ages_of(part: Warm) -> np.ndarray:
    """Return the age at every tick of the source, in milliseconds."""
    if len(part.samples) < 2:
        return np.zeros(0)
    return ages_at_ticks(
        ticks_of(part), [s.delivered_ns for s in part.samples], [s.origin_ns for s in part.samples]
    )


def painted_ages_of(part: Warm) -> np.ndarray:
    """Return the age of what a browser shows at every tick, in milliseconds."""
    seen = sorted((s.painted_ns, s.origin_ns) for s in part.samples if s.painted_ns is not None)
    if len(seen) < 2:
        return np.zeros(0)
    return ages_at_ticks(ticks_of(part), [at for at, _ in seen], [origin for _, origin in seen])


def ticks_of(part: Warm) -> list[int]:
    """Return when the source was due, from the first result to the last.

    Frames that were dropped are not there to say when they were due: their times lie on the
    straight line between those that came.
    """
    frames = np.array([sample.frame for sample in part.samples])
    origins = np.array([sample.origin_ns for sample in part.samples])
    last_ns = part.samples[-1].delivered_ns
    every = np.arange(frames[0], frames[-1] + 1)
    base = int(origins[0])
    ticks = base + np.round(np.interp(every, frames, origins - base)).astype(np.int64)
    period_ns = int(1e9 / part.run.fps) if part.run.fps else 0
    beyond = range(int(ticks[-1]) + period_ns, last_ns, period_ns) if period_ns else range(0)
    return [*ticks.tolist(), *beyond]


def explained(latencies_ms: Sequence[float], steps_ms: Sequence[Sequence[float]]) -> float | None:
    """Return the sum of the steps' medians over the median latency; None without samples."""
    if not len(latencies_ms):
        return None
    # A step that only some frames have is a rare one: it is 0 for the others.
    full = [[*step, *[0.0] * (len(latencies_ms) - len(step))] for step in steps_ms]
    total = sum(float(np.median(step)) for step in full)
    return round(total / float(np.median(latencies_ms)), 4)


def _intervals(runs: Sequence[Warm]) -> dict[str, tuple[float, float]]:
    found = {}
    each = [series_of(part) for part in runs if part.samples]
    for name in SERIES:
        medians = [float(np.median(numbers[name])) for numbers in each if numbers[name]]
        limits = interval(medians)
        if limits is not None:
            found[name] = limits
    return found
