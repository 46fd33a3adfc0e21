"""What is known of a run while it goes: the last word of each stage, its health, its times.

The publisher's thread writes, the server's thread reads. Time is always an argument.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from stream.buckets import Buckets
from stream.stats import steps_between

STAGES = ("reader", "tracker", "detector", "publisher")
SUPERVISOR = "supervisor"
FRAMES_OF = {
    "reader": "read", "tracker": "tracked", "detector": "answered", "publisher": "published",
}  # fmt: skip
"""Which of its figures says how many frames a stage has done."""

_MOST_STEPS = 32


class Pulse(msgspec.Struct, frozen=True):
    """The last word of a stage, as the supervisor heard it."""

    state: Literal["starting", "running", "ended"]
    beat_ns: int
    """Monotonic time at which the stage last said that it is at work."""
    pid: int | None = None
    values: dict[str, Any] = {}
    """Its figures."""


@dataclass(frozen=True, slots=True)
class StageHealth:
    """How a stage is."""

    state: Literal["starting", "running", "hung", "ended"]
    heartbeat_age_s: float | None
    """None before its first word and after its end."""
    frames: int | None
    """Frames done; of the detector, frames looked at."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a run is."""

    live: bool
    """False when a stage hangs."""
    ready: bool
    """Whether results of a source that is there come out."""
    reasons: tuple[str, ...]
    """Why it is not live, or not ready."""
    age_s: float | None
    """Age of the newest published result; None before the first."""
    stages: dict[str, StageHealth] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Times:
    """Histograms of what was published, copied under the lock."""

    published: int
    latency_s: Buckets
    steps_s: dict[str, Buckets]


class Vitals:
    """The run's health and figures.

    Args:
        stream: Name of the stream.
        model: Name of the tracker's model.
        hung_after_s: A stage that has not been at work for so long hangs.

    Attributes:
        pulses: The last word of each stage.
    """

    def __init__(self, stream: str = "main", model: str = "", hung_after_s: float = 30.0) -> None:
        self.stream = stream
        self.model = model
        self.hung_after_s = hung_after_s
        self.pulses: dict[str, Pulse] = {}
        self._lock = threading.Lock()
        self._state = "starting"
        self._beat_ns: int | None = None
        self._captured_ns: int | None = None
        self._published = 0
        self._latency_s = Buckets()
        self._steps_s: dict[str, Buckets] = {}

    def beat(self, now_ns: int) -> None:
        """Note that the publisher, which is at home here, is at work."""
        self._beat_ns = now_ns

    def hear(self, state: str, pulses: Mapping[str, Pulse]) -> None:
        """Take in what the supervisor knows.

        Args:
            state: `starting`, `running` or `ending`.
            pulses: The last word of each stage, and when it was sent as the supervisor's own.
        """
        self._state, self.pulses = state, dict(pulses)

    def published(self, captured_ns: int, stamps: Mapping[str, int], published_ns: int) -> None:
        """Count a frame that was published.

        Args:
            captured_ns: Where its time began.
            stamps: Times of its hand-overs by name, without its publication.
            published_ns: When the first sink had it. All are monotonic nanoseconds.
        """
        steps = steps_between(captured_ns, {**stamps, "published": published_ns})
        with self._lock:
            self._published += 1
            self._captured_ns = captured_ns
            self._latency_s.add((published_ns - captured_ns) / 1e9)
            for name, step_ns in steps:
                buckets = self._steps_s.get(name)
                if buckets is None:
                    if len(self._steps_s) >= _MOST_STEPS:
                        continue
                    buckets = self._steps_s[name] = Buckets()
                buckets.add(step_ns / 1e9)

    def times(self) -> Times:
        """Return the histograms so far."""
        with self._lock:
            steps = {name: _copy(buckets) for name, buckets in self._steps_s.items()}
            return Times(self._published, _copy(self._latency_s), steps)

    def values(self, stage: str) -> dict[str, Any]:
        """Return the last figures of a stage; empty before its first word."""
        pulse = self.pulses.get(stage)
        return pulse.values if pulse is not None else {}

    @property
    def reconnecting(self) -> bool:
        """Whether the source is gone and is opened again and again."""
        return bool(self.values("reader").get("reconnecting"))

    def age_s(self, now_ns: int) -> float | None:
        """Return the age of the newest published result."""
        captured_ns = self._captured_ns
        return None if captured_ns is None else max(now_ns - captured_ns, 0) / 1e9

    def health(self, now_ns: int) -> Health:
        """Return how the run is now."""
        stages = {stage: self._stage(stage, now_ns) for stage in (*STAGES, SUPERVISOR)}
        hung = [
            f"{stage} has not been at work for {health.heartbeat_age_s:.1f} s"
            for stage, health in stages.items()
            if health.state == "hung"
        ]
        not_ready = []
        if self._state != "running":
            not_ready.append(f"the run is {self._state}")
        elif not self._published:
            not_ready.append("no frame was published yet")
        if self.reconnecting:
            not_ready.append("the source is reconnecting")
        reasons = tuple(hung + not_ready)
        return Health(not hung, not reasons, reasons, self.age_s(now_ns), stages)

    def _stage(self, stage: str, now_ns: int) -> StageHealth:
        frames = self.values(stage).get(FRAMES_OF.get(stage, ""))
        if stage == "publisher":
            frames = self._published
        state, beat_ns = self._pulse(stage)
        if state != "running" or beat_ns is None:
            return StageHealth(state, None, frames)
        age_s = max(self._known_until(stage, now_ns) - beat_ns, 0) / 1e9
        return StageHealth("hung" if age_s > self.hung_after_s else "running", age_s, frames)

    def _known_until(self, stage: str, now_ns: int) -> int:
        """Return until when a stage would have been heard: one that is deaf accuses nobody."""
        if stage == "publisher":
            return now_ns
        if stage == SUPERVISOR:
            return min(now_ns, self._beat_ns or now_ns)
        word = self.pulses.get(SUPERVISOR)
        return min(now_ns, word.beat_ns) if word is not None else now_ns

    def _pulse(self, stage: str) -> tuple[Literal["starting", "running", "ended"], int | None]:
        pulse = self.pulses.get(stage)
        if pulse is None:
            return "starting", None
        # The publisher's own word is fresher here than its way through the supervisor.
        own = self._beat_ns if stage == "publisher" else None
        return pulse.state, max(own or 0, pulse.beat_ns)


def _copy(buckets: Buckets) -> Buckets:
    copied = Buckets(buckets.bounds)
    copied.counts, copied.sum = list(buckets.counts), buckets.sum
    return copied
