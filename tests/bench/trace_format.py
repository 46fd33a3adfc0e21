"""A strict reader of the Trace Event Format (Google, 2016), as far as our traces use it.

Stricter than the format where Perfetto is: times are whole nanoseconds, slices of a track lie apart
or within each other, and an arrow's end lies within a slice that is there before it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

Event = dict[str, Any]

PHASES = "XMCistf"
NAMING = {"process_name": "name", "thread_name": "name", "thread_sort_index": "sort_index"}


class BadTraceError(AssertionError):
    """What a viewer would drop, warn of or draw wrongly."""


def require(met: bool, words: str, event: object = "") -> None:
    if not met:
        raise BadTraceError(f"{words}: {event}")


def read_trace(path: Path) -> list[Event]:
    """Read a file and check all of it; return its events.

    Raises:
        BadTraceError: A rule is broken.
    """

    def no_constant(text: str) -> None:
        raise BadTraceError(f"{text} is no JSON number")

    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constant)
    require(isinstance(data, dict), "the file must be an object")
    require(data.get("displayTimeUnit", "ms") in ("ms", "ns"), "displayTimeUnit must be ms or ns")
    events = data["traceEvents"]
    for event in events:
        check_shape(event)
    check_names(events)
    check_nesting(events)
    check_flows(events)
    return list(events)


def check_shape(event: Event) -> None:
    """Check an event alone."""
    kind = event.get("ph")
    require(isinstance(kind, str) and len(kind) == 1 and kind in PHASES, "ph is unknown", event)
    require(isinstance(event.get("name"), str) and event["name"] != "", "name is missing", event)
    for key in ("pid", "tid"):
        require(type(event.get(key)) is int and event[key] >= 0, f"{key} must be whole", event)
    times = [event.get("ts"), *([event.get("dur")] if kind == "X" else [])]
    for time_us in times:
        require(type(time_us) in (int, float) and math.isfinite(time_us), "no time", event)
        require(time_us >= 0, "a time is negative", event)
        require(abs(time_us * 1000 - round(time_us * 1000)) < 1e-3, "finer than ns", event)
    args = event.get("args", {})
    require(isinstance(args, dict), "args must be an object", event)
    if kind == "X":
        require(_ns(event["dur"]) > 0, "a slice without extent holds no arrow", event)
    if kind == "C":
        require(bool(args), "a counter needs a value", event)
        numbers = all(type(value) in (int, float) for value in args.values())
        require(numbers, "a counter's values are numbers", event)
    if kind in "stf":
        require(isinstance(event.get("cat"), str) and "id" in event, "cat or id missing", event)
    if kind == "i":
        require(event.get("s") in ("g", "p", "t"), "s says how far it reaches", event)


def check_names(events: list[Event]) -> None:
    """Every process and every track with something on it has one name of its own."""
    named: dict[tuple[str, int, int], Any] = {}
    for event in (e for e in events if e["ph"] == "M"):
        require(event["name"] in NAMING, "metadata of an unknown kind", event)
        kind = int if event["name"] == "thread_sort_index" else str
        require(type(event["args"].get(NAMING[event["name"]])) is kind, "no name", event)
        key = (event["name"], event["pid"], event["tid"] if "thread" in event["name"] else 0)
        require(key not in named, "named twice", event)
        named[key] = event["args"][NAMING[event["name"]]]
    tracks = [name for key, name in named.items() if key[0] == "thread_name"]
    require(len(set(tracks)) == len(tracks), "two tracks have one name", tracks)
    for event in events:
        require(("process_name", event["pid"], 0) in named, "a process without name", event)
        if event["ph"] in "Xistf":
            key = ("thread_name", event["pid"], event["tid"])
            require(key in named, "a track without name", event)


def check_nesting(events: list[Event]) -> None:
    """Slices of a track lie apart or within each other."""
    for slices in _tracks(events).values():
        open_ends: list[int] = []
        for begin, end, event in sorted(slices, key=lambda item: (item[0], -item[1])):
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            require(not open_ends or end <= open_ends[-1], "slices overlap", event)
            open_ends.append(end)


def check_flows(events: list[Event]) -> None:
    """Arrows begin, lead on and end, forward in time, each end in a slice that came before it."""
    tracks, order = _tracks(events), {id(event): place for place, event in enumerate(events)}
    flows: dict[tuple[str, str, Any], list[Event]] = {}
    for event in (e for e in events if e["ph"] in "stf"):
        flows.setdefault((event["cat"], event["name"], event["id"]), []).append(event)
    for key, flow in flows.items():
        phases = "".join(event["ph"] for event in flow)
        require(phases == "s" + "t" * (len(flow) - 2) + "f", f"arrow {key} goes {phases}")
        times = [_ns(event["ts"]) for event in flow]
        require(times == sorted(times), f"arrow {key} goes back in time", times)
        places = [event["tid"] for event in flow]
        require(len(set(places)) == len(places), f"arrow {key} meets a track twice", places)
        # Without it the end is bound to the slice after.
        require(flow[-1].get("bp") == "e", "the end must name its enclosing slice", flow[-1])
        for event in flow:
            held = any(
                begin <= _ns(event["ts"]) < end and order[id(one)] < order[id(event)]
                for begin, end, one in tracks.get((event["pid"], event["tid"]), [])
            )
            require(held, "an arrow's end is in no slice", event)


def _tracks(events: list[Event]) -> dict[tuple[int, int], list[tuple[int, int, Event]]]:
    found: dict[tuple[int, int], list[tuple[int, int, Event]]] = {}
    for event in (e for e in events if e["ph"] == "X"):
        begin = _ns(event["ts"])
        item = (begin, begin + _ns(event["dur"]), event)
        found.setdefault((event["pid"], event["tid"]), []).append(item)
    return found


def _ns(time_us: float) -> int:
    return round(time_us * 1000)
