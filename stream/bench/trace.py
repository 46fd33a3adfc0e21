"""A repetition as a Chrome trace, which Perfetto opens: a track a stage, an arrow a frame.

Format: "Trace Event Format", JSON object form (Google, 2016): `X` complete events in microseconds,
`s`/`t`/`f` flow events that lead a frame from stage to stage, `i` instants, `C` counters, `M`
names.
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
    "tracker: encoding": ("encoded",),
    "tracker": ("tracked", "passed"),
    "publisher": ("published",),
    "subscriber": ("delivered",),
}
"""Steps that are drawn, by the track they are drawn on; the others are the way between two."""
DETECTOR: Final = "detector"
PAGE: Final = "page"
_PID: Final = 1
_FLOW: Final = "frame"


def trace(run: Run) -> dict[str, Any]:
    """Return the trace; warm-up included.

    Args:
        run: One repetition.
    """
    zero_ns = min((sample.origin_ns for sample in run.samples), default=0)
    looks = [(look.taken_ns, look.submitted_ns) for look in run.detections]
    zero_ns = min([zero_ns, *(min(times) for times in looks)])
    painted = any(sample.painted_ns is not None for sample in run.samples)
    events: list[Event] = [*_names(painted)]
    free_ns = dict.fromkeys((*TRACKS, DETECTOR), zero_ns)
    for sample in run.samples:
        events += _frame(sample, zero_ns, free_ns)
        events += _aside(sample, zero_ns, free_ns)
    events += _counters(run, zero_ns)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _names(painted: bool) -> Iterator[Event]:
    yield _event("M", "process_name", 0, args={"name": "maskcast"})
    for number, name in enumerate((*TRACKS, DETECTOR, *([PAGE] if painted else []))):
        yield _event("M", "thread_name", _tid(name), args={"name": name})
        yield _event("M", "thread_sort_index", _tid(name), args={"sort_index": number})


def _frame(sample: Sample, zero_ns: int, free_ns: dict[str, int]) -> Iterator[Event]:
    """Give a frame's spans and the flow that joins the first of each track.

    Args:
        sample: The frame.
        zero_ns: Where the trace's time begins.
        free_ns: When the last span of each track ended; changed. Spans of one track must not
            overlap: a frame that was due while the source still was at the last one begins later,
            and so do its next tracks, as an arrow must not lead back in time.
    """
    before_ns, spans = sample.origin_ns, []
    for name, time_ns in sample.path():
        spans.append((name, before_ns, time_ns))
        before_ns = time_ns
    joints: list[tuple[str, int]] = []
    for track, steps in TRACKS.items():
        first = True
        for name, begin_ns, end_ns in (span for span in spans if span[0] in steps):
            earliest = max(free_ns[track], joints[-1][1] if joints else zero_ns)
            begin, end = _placed(begin_ns, end_ns, earliest)
            free_ns[track] = end
            args = {"frame": sample.frame, "what": STEPS[name]}
            yield _slice(name, track, begin - zero_ns, end - begin, "step", args)
            if first:
                joints.append((track, (begin + end) // 2))
                first = False
    if len(joints) < 2:
        return
    for place, (track, at_ns) in enumerate(joints):
        last = place == len(joints) - 1
        phase = "s" if place == 0 else "f" if last else "t"
        more = {"bp": "e"} if phase == "f" else {}
        at = _us(at_ns - zero_ns)
        yield _event(phase, _FLOW, _tid(track), ts=at, cat=_FLOW, id=sample.frame, **more)


def _aside(sample: Sample, zero_ns: int, free_ns: dict[str, int]) -> Iterator[Event]:
    """Give what happens beside a frame's way: the look whose answer it heard, and its paint."""
    if sample.detection is not None:
        look = sample.detection
        begin, end = _placed(look.taken_ns, look.answered_ns, free_ns[DETECTOR])
        free_ns[DETECTOR] = end
        args = {
            "heard in frame": sample.frame,
            "asked_us": _us(look.submitted_ns - zero_ns),
            "heard_us": _us(look.heard_ns - zero_ns),
        }
        yield _slice("detect", DETECTOR, begin - zero_ns, end - begin, "detection", args)
    if sample.painted_ns is not None:
        at = _us(sample.painted_ns - zero_ns)
        args = {"frame": sample.frame}
        yield _event("i", "painted", _tid(PAGE), ts=at, s="t", cat="paint", args=args)


def _counters(run: Run, zero_ns: int) -> Iterator[Event]:
    for sample in run.samples:
        at = _us(sample.delivered_ns - zero_ns)
        if sample.dropped:  # a counter without a value is refused
            yield _event("C", "dropped", 0, ts=at, args=dict(sample.dropped))
        yield _event("C", "latency_ms", 0, ts=at, args={"ms": round(sample.latency_ms, 3)})


def _placed(begin_ns: int, end_ns: int, earliest_ns: int) -> tuple[int, int]:
    """Return where a span is drawn: not before its track is free, and never without extent."""
    begin = max(begin_ns, earliest_ns)
    return begin, max(end_ns, begin + 1)


def _slice(name: str, track: str, begin_ns: int, long_ns: int, kind: str, args: Event) -> Event:
    begin, long = _us(begin_ns), _us(long_ns)
    return _event("X", name, _tid(track), ts=begin, dur=long, cat=kind, args=args)


def _event(phase: str, name: str, tid: int, **more: Any) -> Event:
    return {"ph": phase, "name": name, "pid": _PID, "tid": tid, "ts": 0.0} | more


def _tid(track: str) -> int:
    return (*TRACKS, DETECTOR, PAGE).index(track) + 1


def _us(time_ns: int) -> float:
    return round(time_ns / 1e3, 3)
