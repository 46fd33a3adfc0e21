"""The trace, read again by the rules of its format."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.bench.samples import STEPS, Detection, Run, Sample
from stream.bench.trace import TRACKS, trace
from tests.bench.made import MS, run, sample
from tests.bench.trace_format import BadTraceError, read_trace

Event = dict[str, Any]


def written(found: Run, folder: Path) -> Path:
    path = folder / "t.json"
    path.write_text(json.dumps(trace(found)))
    return path


def test_a_trace_keeps_to_its_format(tmp_path: Path) -> None:
    painted = [replace(s, painted_ns=s.delivered_ns + 9 * MS) for s in run(40).samples]
    events = read_trace(written(run(samples=painted), tmp_path))
    for phase, count in (("s", 40), ("f", 40), ("t", 40 * (len(TRACKS) - 2)), ("i", 40)):
        assert sum(event["ph"] == phase for event in events) == count
    assert sum(event["ph"] == "X" for event in events) == 40 * 9 + 4
    assert min(event["ts"] for event in events) == 0


def test_drops_are_counted_from_the_first_on(tmp_path: Path) -> None:
    found = [sample(n, dropped=0 if n < 5 else 3) for n in (0, 1, 2, 3, 4, 8, 9)]
    events = read_trace(written(run(samples=found), tmp_path))
    assert [e["args"] for e in events if e["name"] == "dropped"] == [{"overrun": 3}] * 2


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Frames that overlap, overtake what came before, and lack what frames may lack."""
    samples, origin = [], 10**12
    for number in range(draw(st.integers(1, 8))):
        origin += draw(st.integers(0, 40 * MS))
        names = [n for n in STEPS if n == "delivered" or draw(st.integers(0, 5))]
        at, stamps = origin - draw(st.sampled_from([0, 0, 5 * MS])), {"intended": origin}
        for name in names:
            at += draw(st.sampled_from([0, 1, 500, 1499, 7 * MS, 90 * MS]))
            stamps[name] = at
        stamps["delivered"] = max(at, origin)
        samples.append(Sample(number, origin, stamps))
    return Run(samples, 30.0, True, run(1).report)


@settings(max_examples=200, deadline=None)
@given(found=runs())
def test_whatever_the_times_are_the_trace_keeps_to_its_format(
    tmp_path_factory: pytest.TempPathFactory, found: Run
) -> None:
    read_trace(written(found, tmp_path_factory.getbasetemp()))


def drop(what: Callable[[Event], bool]) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        events[:] = [event for event in events if not what(event)]

    return change


def edit(what: Callable[[Event], bool], **values: Any) -> Callable[[list[Event]], None]:
    def change(events: list[Event]) -> None:
        next(event for event in events if what(event)).update(values)

    return change


def is_phase(phase: str) -> Callable[[Event], bool]:
    return lambda event: bool(event["ph"] == phase)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (edit(is_phase("X"), dur=-1.0), "negative"),
        (edit(is_phase("X"), dur=0.0), "without extent"),
        (edit(is_phase("X"), dur=100_500.0), "overlap"),
        (edit(is_phase("X"), tid=77), "track without name"),
        (edit(is_phase("X"), ts=float("nan")), "no JSON number"),
        (edit(is_phase("X"), ts="0"), "no time"),
        (edit(is_phase("f"), bp="x"), "enclosing"),
        (edit(is_phase("f"), id=77), "goes"),
        (edit(is_phase("f"), cat="other"), "goes"),
        (edit(is_phase("f"), ts=0.0), "back in time"),
        (edit(is_phase("s"), ts=55_555.0), "back in time"),
        (edit(is_phase("C"), args={}), "needs a value"),
        (edit(is_phase("C"), args={"ms": "4"}), "numbers"),
        (drop(lambda event: event["name"] == "process_name"), "process without name"),
        (drop(is_phase("X")), "in no slice"),
        (drop(is_phase("s")), "goes"),
    ],
)
def test_the_reader_finds_what_is_wrong(
    tmp_path: Path, spoil: Callable[[list[Event]], None], said: str
) -> None:
    data = copy.deepcopy(trace(run(3)))
    spoil(data["traceEvents"])
    path = tmp_path / "t.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BadTraceError, match=said):
        read_trace(path)


def test_looks_of_the_detector_lie_apart(tmp_path: Path) -> None:
    """The next look may begin in the very moment in which one was answered."""
    found = run(3).samples
    zero = found[0].origin_ns
    looks = [
        Detection(zero, zero, zero + 5, zero + 9),
        Detection(zero, zero + 5, zero + 5, zero + 9),
    ]
    made = [replace(s, detection=look) for s, look in zip(found, [*looks, None], strict=True)]
    read_trace(written(run(samples=made), tmp_path))
