"""A repetition as a Chrome trace, which Perfetto opens: a track a stage, an arrow a frame.

Format: "Trace Event Format", JSON object form (Google, 2016): `X` complete events in microseconds,
`s`/`t`/`f` flow events that lead a frame from stage to stage, `C` counters, `M` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from stream.bench.samples import STEPS, Run, Sample

Event = dict[str, Any]

TRACKS: Final[dict[str, tuple[str, ...]]] = {
    "source": ("captured", "decoded", "read"),
    "reader: waiting": ("picked",),
    "reader: copying": ("sent",),
    "tracker": ("encoded", "tracked", "passed"),
    "publisher": ("published",),
    "subscriber": ("delivered",),
}
"""Steps that are drawn, by the track they are drawn on; the others are the way between two."""
DETECTOR: Final = "detector"
_PID: Final = 1
_FLOW: Final = "frame"
_LEAST_US: Final = 0.001


def trace(run: Run) -> dict[str, Any]:
    """Return the trace; warm-up included.

    Args:
        run: One repetition.
    """
    zero_ns = min((sample.origin_ns for sample in run.samples), default=0)
    events: list[Event] = [*_names()]
    free_us = dict.fromkeys(TRACKS, 0.0)
    for sample in run.samples:
        events += _frame(sample, zero_ns, free_us)
    events += _counters(run, zero_ns)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _names() -> Iterator[Event]:
    yield _event("M", "process_name", 0, args={"name": "maskcast"})
    for number, name in enumerate((*TRACKS, DETECTOR)):
        yield _event("M", "thread_name", _tid(name), args={"name": name})
        yield _event("M", "thread_sort_index", _tid(name), args={"sort_index": number})


def _frame(sample: Sample, zero_ns: int, free_us: dict[str, float]) -> Iterator[Event]:
    """Give a frame's spans and the flow that joins the first of each track.

    Args:
        sample: The frame.
        zero_ns: Where the trace's time begins.
        free_us: When the last span of each track ended; changed. Spans of one track must not
            overlap: a frame that was due while the source still was at the last one begins later.
    """
    before_ns, spans = sample.origin_ns, []
    for name, time_ns in sample.path():
        spans.append((name, before_ns, time_ns))
        before_ns = time_ns
    joints = []
    for track, steps in TRACKS.items():
        first = True
        for name, begin_ns, end_ns in (span for span in spans if span[0] in steps):
            begin = max(_us(begin_ns, zero_ns), free_us[track])
            free_us[track] = end = max(_us(end_ns, zero_ns), begin + _LEAST_US)
            args = {"frame": sample.frame, "what": STEPS[name]}
            yield _event(
                "X", name, _tid(track), ts=begin, dur=round(end - begin, 3), cat="step", args=args
            )
            if first:
                joints.append((track, round((begin + end) / 2, 4)))
                first = False
    for place, (track, at) in enumerate(joints):
        last = place == len(joints) - 1
        phase = "s" if place == 0 else "f" if last else "t"
        more = {"bp": "e"} if phase == "f" else {}
        yield _event(phase, _FLOW, _tid(track), ts=at, cat=_FLOW, id=sample.frame, **more)
    if sample.detection is not None:
        look = sample.detection
        yield _event(
            "X", "detect", _tid(DETECTOR), ts=_us(look.taken_ns, zero_ns),
            dur=max((look.answered_ns - look.taken_ns) / 1e3, 0.001), cat="detection",
            args={
                "heard in frame": sample.frame,
                "asked_us": _us(look.submitted_ns, zero_ns),
                "heard_us": _us(look.heard_ns, zero_ns),
            },
        )  # fmt: skip


def _counters(run: Run, zero_ns: int) -> Iterator[Event]:
    for sample in run.samples:
        at = _us(sample.delivered_ns, zero_ns)
        yield _event("C", "dropped", 0, ts=at, args={k: v for k, v in sample.dropped.items()})
        yield _event("C", "latency_ms", 0, ts=at, args={"ms": round(sample.latency_ms, 3)})


def _event(phase: str, name: str, tid: int, **more: Any) -> Event:
    return {"ph": phase, "name": name, "pid": _PID, "tid": tid, "ts": 0.0} | more


def _tid(track: str) -> int:
    return (*TRACKS, DETECTOR).index(track) + 1


def _us(time_ns: int, zero_ns: int) -> float:
    return round((time_ns - zero_ns) / 1e3, 3)
