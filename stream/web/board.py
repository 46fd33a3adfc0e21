"""What the page shows besides the picture. Pure: time is an argument, memory is bounded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream.contracts import RunInfo
from stream.frame import Masks, TrackedObject
from stream.sinks.palette import hex_of

WINDOW_S = 5.0
WINDOW_FRAMES = 1024
BIN_S = 0.5
BINS = 120
ROWS = 60
STALL_S = 2.0
STALL_FRAMES = 5
FORGET_S = 10.0
REMEMBERED_IDS = 50_000


@dataclass(slots=True)
class _Sample:
    now_ns: int
    captured_ns: int
    frame_index: int
    latency_ms: float


@dataclass(slots=True)
class _Bin:
    """Half a second: latencies and the sum of counts of its frames."""

    number: int
    latencies_ms: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Seen:
    """Counts distinct ids for as long as a stream runs, in bounded memory.

    Ids grow, so once very many are known the older half is held as one number.
    """

    def __init__(self, remembered: int = REMEMBERED_IDS) -> None:
        self.ever = 0
        self._remembered = remembered
        self._floor = -1
        self._ids: set[int] = set()

    def add(self, object_id: int) -> None:
        """Count an id unless it was counted before."""
        if object_id <= self._floor or object_id in self._ids:
            return
        self.ever += 1
        self._ids.add(object_id)
        if len(self._ids) > self._remembered:
            self._floor = sorted(self._ids)[len(self._ids) // 2]
            self._ids = {known for known in self._ids if known > self._floor}


class Board:
    """Figures of the last seconds and of the run.

    `RunInfo.extra["state"]`, where a caller sets it (`reconnecting`, ...), is shown as the state.

    Args:
        info: What is known of the run; read again every time.
        control: Whether the page may ask, where the run listens.
    """

    def __init__(self, info: RunInfo, control: bool = True) -> None:
        self._info = info
        self._control = control
        self._window: deque[_Sample] = deque(maxlen=WINDOW_FRAMES)
        self._bins: deque[_Bin] = deque(maxlen=BINS)
        self._bin: _Bin | None = None
        self._seen = Seen()
        self._since: dict[int, tuple[int, int]] = {}
        self._newest: Masks | None = None
        self._newest_ns = 0
        self._ended = False

    def add(self, masks: Masks, now_ns: int) -> None:
        """Take one result.

        Args:
            masks: The result.
            now_ns: Monotonic time of its publication.
        """
        self._newest, self._newest_ns = masks, now_ns
        latency_ms = (now_ns - masks.captured_ns) / 1e6
        self._window.append(_Sample(now_ns, masks.captured_ns, masks.frame_index, latency_ms))
        for item in _shown(masks):
            self._seen.add(item.id)
            first_ns, _ = self._since.get(item.id, (masks.captured_ns, 0))
            self._since[item.id] = (first_ns, masks.captured_ns)
        self._add_to_bin(latency_ms, _counts(masks), int(now_ns / (BIN_S * 1e9)))

    def end(self) -> None:
        """Say that no more frames come."""
        self._ended = True

    def state(self, now_ns: int) -> str:
        """Return `ended`, `waiting` (no frame yet), `stalled`, `live`, `playing` or a given one."""
        if self._ended:
            return "ended"
        given = self._info.extra.get("state")
        if given:
            return str(given)
        if self._newest is None:
            return "waiting"
        patience_s = max(STALL_S, STALL_FRAMES / (self._info.fps or STALL_FRAMES))
        if self._info.live:
            return "stalled" if now_ns - self._newest_ns > patience_s * 1e9 else "live"
        return "playing"

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what is known without a new frame: state, ages, rates, counts of the run."""
        self._forget(now_ns)
        newest = self._newest
        return {
            "stream": self._info.stream,
            "source": self._info.source,
            "model": self._info.model,
            "texts": list(self._info.texts),
            "control": self._control and self._info.control is not None,
            "state": self.state(now_ns),
            "frame": newest.frame_index if newest else None,
            "age_ms": _ms(now_ns - newest.captured_ns) if newest else None,
            "fps_in": self._rate("captured_ns"),
            "fps_out": self._rate("now_ns"),
            "latency_ms": self._latency(),
            "dropped": dict(newest.dropped) if newest else {},
            "ever": self._seen.ever,
        }

    def summary(self, now_ns: int) -> dict[str, Any]:
        """Return everything that belongs to the newest frame.

        Raises:
            ValueError: There was no frame yet.
        """
        if self._newest is None:
            raise ValueError("there was no frame yet")
        shown = sorted(_shown(self._newest), key=lambda item: item.id)
        counts = dict.fromkeys(self._info.texts, 0) | _counts(self._newest)
        return self.status(now_ns) | {
            "size": list(self._newest.size),
            "pts_s": round(self._newest.pts_s, 3),
            "counts": counts,
            "now": len(shown),
            "objects": [self._row(item) for item in shown[:ROWS]],
            "more": max(len(shown) - ROWS, 0),
        }

    def history(self) -> dict[str, Any]:
        """Return mean count per label and median latency in steps of half a second, oldest first.

        Steps without frames are None; the step that is being filled is left out.
        """
        labels = dict.fromkeys(self._info.texts)
        for step in self._bins:
            labels |= dict.fromkeys(step.counts)
        return {
            "step_s": BIN_S,
            "end": self._bins[-1].number if self._bins else 0,
            "latency_ms": [
                round(float(np.median(step.latencies_ms)), 1) if step.latencies_ms else None
                for step in self._bins
            ],
            "counts": {
                label: [
                    round(step.counts.get(label, 0) / len(step.latencies_ms), 2)
                    if step.latencies_ms
                    else None
                    for step in self._bins
                ]
                for label in labels
            },
        }

    def _row(self, item: TrackedObject) -> dict[str, Any]:
        first_ns, last_ns = self._since[item.id]
        return {
            "id": item.id,
            "label": item.label,
            "score": round(float(item.score), 3),
            "age_s": round((last_ns - first_ns) / 1e9, 1),
            "area": item.area,
            "box": list(item.box),
            "parent": item.parent,
            "colour": hex_of(item.id),
        }

    def _add_to_bin(self, latency_ms: float, counts: dict[str, int], number: int) -> None:
        if self._bin is None or number > self._bin.number:
            if self._bin is not None:
                self._bins.append(self._bin)
                first = max(self._bin.number + 1, number - BINS)
                self._bins.extend(_Bin(empty) for empty in range(first, number))
            self._bin = _Bin(number)
        self._bin.latencies_ms.append(latency_ms)
        for label, count in counts.items():
            self._bin.counts[label] = self._bin.counts.get(label, 0) + count

    def _forget(self, now_ns: int) -> None:
        while self._window and now_ns - self._window[0].now_ns > WINDOW_S * 1e9:
            self._window.popleft()
        newest_ns = self._newest.captured_ns if self._newest else 0
        kept = {i: t for i, t in self._since.items() if newest_ns - t[1] <= FORGET_S * 1e9}
        self._since = kept

    def _rate(self, clock: str) -> float | None:
        """Frames a second: of the source (numbers that passed by) or of the results."""
        if len(self._window) < 2:
            return None
        first, last = self._window[0], self._window[-1]
        span_s = (getattr(last, clock) - getattr(first, clock)) / 1e9
        source = clock == "captured_ns"
        frames = last.frame_index - first.frame_index if source else len(self._window) - 1
        return round(frames / span_s, 1) if span_s > 0 else None

    def _latency(self) -> dict[str, float] | None:
        if not self._window:
            return None
        p50, p90 = np.percentile([sample.latency_ms for sample in self._window], (50, 90))
        return {"p50": round(float(p50), 1), "p90": round(float(p90), 1)}


def _shown(masks: Masks) -> list[TrackedObject]:
    return [item for item in masks.objects if item.state == "confirmed"]


def _counts(masks: Masks) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in _shown(masks):
        counts[item.label] = counts.get(item.label, 0) + 1
    return counts


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 1)
