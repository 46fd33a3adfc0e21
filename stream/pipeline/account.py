"""What the stages told, put together: the live snapshot and the report."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import psutil

from stream.report import Report


@dataclass(slots=True)
class Snapshot:
    """The run as it is now, for the live line."""

    state: str
    """`starting`, `running` or `ending`."""
    seconds: float
    """Since the stages were started."""
    waiting_for: list[str]
    """Stages that are not ready yet."""
    source: dict[str, Any]
    sinks: dict[str, dict[str, str]]
    """Where the results go, by sink."""
    read: int = 0
    tracked: int = 0
    published: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    fps: float = 0.0
    latency_ms: float | None = None
    """Median of the last frames."""
    objects: dict[str, int] = field(default_factory=dict)
    detections: int = 0
    """Detection events so far."""


class Account:
    """Keeps the last word of each stage."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, Any]] = {}
        self.live: dict[str, dict[str, Any]] = {}
        self.done: set[str] = set()
        self.beats_ns: dict[str, int] = {}
        self.source: dict[str, Any] = {}
        self.sinks: dict[str, dict[str, str]] = {}
        self._rss_mb: list[float] = []

    def status(self, stage: str, values: dict[str, Any], beat_ns: int = 0) -> None:
        """A stage told its counters, and until when it was at work."""
        self.beats_ns[stage] = beat_ns
        self.live[stage] = values
        self.last.setdefault(stage, {}).update(values)

    def final(self, stage: str, report: dict[str, Any]) -> None:
        """A stage told its last counters."""
        self.done.add(stage)
        self.last.setdefault(stage, {}).update(report)

    def silent_s(self, stage: str, now_ns: int) -> float:
        """Return for how long a stage has not been at work; 0 before its start."""
        beat_ns = self.beats_ns.get(stage)
        return 0.0 if beat_ns is None else (now_ns - beat_ns) / 1e9

    def sample_memory(self, pids: list[int]) -> None:
        """Add up the resident memory of the supervisor and the stages."""
        total = 0
        for pid in [os.getpid(), *pids]:
            try:
                total += psutil.Process(pid).memory_info().rss
            except psutil.Error:
                return
        self._rss_mb.append(round(total / 2**20, 1))
        if len(self._rss_mb) > 2:
            first, *rest = self._rss_mb
            self._rss_mb = [first, max(self._rss_mb), rest[-1]]

    @property
    def published(self) -> int:
        """Frames that reached the sinks."""
        return int(self.last.get("publisher", {}).get("published", 0))

    @property
    def last_frame(self) -> int | None:
        """Index of the last frame that reached the sinks."""
        found: int | None = self.last.get("publisher", {}).get("last_frame")
        return found

    def snapshot(self, state: str, seconds: float, waiting_for: list[str]) -> Snapshot:
        """Return the run as it is now."""
        publisher = self.live.get("publisher", {})
        core = self.last.get("tracker", {}).get("core", {})
        return Snapshot(
            state=state,
            seconds=seconds,
            waiting_for=waiting_for,
            source=self.source,
            sinks=self.sinks,
            read=self.last.get("reader", {}).get("read", 0),
            tracked=self.last.get("tracker", {}).get("tracked", 0),
            published=self.published,
            dropped=self._dropped(),
            fps=publisher.get("fps", 0.0),
            latency_ms=publisher.get("latency_p50_ms"),
            objects=core.get("objects", {}),
            detections=core.get("detection", {}).get("events", 0),
        )

    def report(self, lost_a_stage: bool) -> Report:
        """Return the report; its equation of frames always holds.

        Args:
            lost_a_stage: Whether a stage died or was killed, and frames with it.
        """
        reader = self.last.get("reader", {})
        tracker = self.last.get("tracker", {})
        publisher = self.last.get("publisher", {})
        report = Report()
        dropped = self._dropped()
        # A stage that was killed may have done more than its last word says.
        tracked = max(tracker.get("tracked", 0), self.published)
        read = reader.get("read", 0)
        if lost_a_stage and "reader" not in self.done:
            read = max(read, tracked + sum(dropped.values()))
        rest = read - tracked - sum(dropped.values())
        if rest:
            dropped["stage" if lost_a_stage else "unaccounted"] = rest
        report.frames = {"read": read, "tracked": tracked, "published": self.published}
        report.dropped = dropped
        report.latency_ms = publisher.get("latency_ms", report.latency_ms)
        report.age_ms = publisher.get("age_ms", report.age_ms)
        report.stages = dict(publisher.get("steps", {}))
        if "detect_ms" in tracker:
            report.stages["detect"] = tracker["detect_ms"]
        core = tracker.get("core", {})
        report.detection = report.detection | core.get("detection", {})
        report.objects = report.objects | core.get("objects", {})
        report.stream_events = core.get("stream_events", {})
        if self._rss_mb:
            memory = self._rss_mb
            report.rss_mb = {"first": memory[0], "last": memory[-1], "max": max(memory)}
        if bad := publisher.get("unreadable", 0):
            report.errors.append(f"{bad} frames lost their pixels on the way to the publisher")
        report.source = self.source | reader.get("source", {})
        report.facts = dict(self.sinks)
        return report

    def _dropped(self) -> dict[str, int]:
        dropped: dict[str, int] = {}
        for stage in ("reader", "tracker"):
            for cause, count in self.last.get(stage, {}).get("dropped", {}).items():
                if count:
                    dropped[cause] = dropped.get(cause, 0) + count
        return dropped
