"""What was measured of each frame: the raw material of every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stream import wire
from stream.report import Report

STEPS: Final[dict[str, str]] = {
    "captured": "until the source has it; of a camera encoder and network, estimated",
    "decoded": "decoded",
    "read": "handed to the reader",
    "picked": "waiting until the tracker is free",
    "sent": "copied for the tracker",
    "taken": "on the way to the tracker",
    "encoded": "image encoder",
    "turn": "waiting until the frame before is tracked",
    "tracked": "memory, masks, books",
    "passed": "waiting for the publisher",
    "received": "on the way to the publisher",
    "published": "run lengths, message",
    "delivered": "on the way to the subscriber",
}
"""Steps of a frame by the stamp that ends each, and what happens in it."""
MODEL_STEPS: Final = ("encoded", "tracked")
"""Steps that models work in; everything else is ours."""
WAITING_STEPS: Final = ("picked", "turn")
OPTIONAL_STEPS: Final = ("captured", "decoded", "turn")
"""Stamps that a frame may lack: captured before it was due, never coded, or of an older run."""
_DETECTION: Final = ("submitted", "taken", "answered", "heard")


@dataclass(frozen=True, slots=True)
class Detection:
    """One look of the detector, all times of `time.monotonic_ns()`."""

    submitted_ns: int
    taken_ns: int
    answered_ns: int
    heard_ns: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame as a subscriber received it, all times of `time.monotonic_ns()`."""

    frame: int
    origin_ns: int
    """When the frame was due, or captured where that is not known: latency counts from here."""
    stamps: Mapping[str, int]
    """Time at each hand-over by step (`STEPS`); `intended` only where it is known."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Frames dropped before this one was sent to the tracker, by cause."""
    objects: int = 0
    detection: Detection | None = None
    """The look whose answer was heard in this frame."""
    painted_ns: int | None = None
    """When a browser had painted it; None where it did not, or none was there."""

    @property
    def delivered_ns(self) -> int:
        """When the subscriber had it."""
        return self.stamps["delivered"]

    @property
    def latency_ms(self) -> float:
        """From the origin to the subscriber."""
        return (self.delivered_ns - self.origin_ns) / 1e6

    @property
    def model_ms(self) -> float:
        """Time in the tracker's core."""
        return sum(ms for name, ms in self.steps_ms().items() if name in MODEL_STEPS)

    @property
    def waiting_ms(self) -> float:
        """Time until the tracker was free for it."""
        return sum(ms for name, ms in self.steps_ms().items() if name in WAITING_STEPS)

    @property
    def glass_ms(self) -> float | None:
        """From the origin to the paint."""
        return None if self.painted_ns is None else (self.painted_ns - self.origin_ns) / 1e6

    def steps_ms(self) -> dict[str, float]:
        """Return the time of each step; they add up to the latency."""
        before, steps = self.origin_ns, {}
        for name, time_ns in self.path():
            steps[name] = (time_ns - before) / 1e6
            before = time_ns
        return steps

    def named_ms(self) -> dict[str, float]:
        """Return the time of each step that begins where the step before it ends.

        Where a stage between two stamps did not set its own, or set it out of order, nobody knows
        which step the time belongs to: it is left out, and the rest is less than the latency.
        """
        order, named, done = list(STEPS), {}, 0
        for name, ms in self.steps_ms().items():
            place = order.index(name)
            if place >= done and set(order[done:place]) <= set(OPTIONAL_STEPS):
                named[name] = ms
            done = place + 1
        return named

    def path(self) -> list[tuple[str, int]]:
        """Return the stamps that end a step, in the order of their times.

        A frame whose capture was estimated may seem captured before it was due; that is no step.
        """
        found = [(n, t) for n, t in self.stamps.items() if n in STEPS and t >= self.origin_ns]
        order = list(STEPS)
        return sorted(found, key=lambda item: (item[1], order.index(item[0])))


@dataclass(frozen=True, slots=True)
class Run:
    """One repetition."""

    samples: list[Sample]
    """In the order of their frames; the last one to come of two with the same number."""
    fps: float | None
    """Nominal rate of the source."""
    live: bool
    report: Report
    started_ns: int = 0
    """When the pipeline was started."""
    page: Mapping[str, Any] | None = None
    """What is known of the browser that showed the page, if one did."""

    @property
    def detections(self) -> list[Detection]:
        """All looks whose answer was heard."""
        return [item.detection for item in self.samples if item.detection is not None]


def to_sample(message: wire.Message, delivered_ns: int) -> Sample:
    """Turn a published message into a sample.

    Args:
        message: As decoded.
        delivered_ns: When the subscriber had it.
    """
    stamps = {name: at for name, at in message.stamps.items() if "." not in name}
    stamps.setdefault("captured", message.captured_ns)
    stamps |= {"published": message.published_ns, "delivered": delivered_ns}
    looked = [message.stamps.get(f"detector.{name}") for name in _DETECTION]
    return Sample(
        frame=message.frame,
        origin_ns=stamps.get("intended", message.captured_ns),
        stamps=stamps,
        dropped=message.dropped,
        objects=len(message.objects),
        detection=None if None in looked else Detection(*(at or 0 for at in looked)),
    )
