"""Samples with times that can be checked by hand."""

from __future__ import annotations

from stream.bench.figures import Warm
from stream.bench.measure import Point
from stream.bench.samples import Detection, Run, Sample
from stream.config import check
from stream.report import Report

MS = 1_000_000
PERIOD = 100 * MS
STEPS_MS = {"captured": 0, "read": 1, "picked": 2, "sent": 3, "taken": 1, "encoded": 20,
            "tracked": 30, "passed": 1, "received": 2, "published": 1, "delivered": 1}  # fmt: skip
LATENCY_MS = sum(STEPS_MS.values())


def sample(frame: int, slower_ms: float = 0.0, dropped: int = 0, heard: bool = False) -> Sample:
    """A frame due every 100 ms that takes 62 ms; `slower_ms` is added to `tracked`."""
    origin = at = 10**12 + frame * PERIOD
    stamps = {"intended": origin}
    for name, ms in STEPS_MS.items():
        at += int((ms + (slower_ms if name == "tracked" else 0.0)) * MS)
        stamps[name] = at
    look = None
    if heard:  # asked in the frame before, heard in this one
        before = origin - PERIOD
        look = Detection(before + 30 * MS, before + 31 * MS, origin + 9 * MS, origin + 12 * MS)
    causes = {"overrun": dropped} if dropped else {}
    return Sample(frame, origin, stamps, causes, 3, look)


def run(frames: int = 60, slower_ms: float = 0.0, **more: object) -> Run:
    report = Report(source={"name": "made", "fps": 10.0, "live": True})
    found = [sample(n, slower_ms, heard=bool(n) and n % 8 == 0) for n in range(frames)]
    return Run(list(more.get("samples", found)), 10.0, True, report, 10**12 - 10**9)  # type: ignore[call-overload]


def warm_of(found: Run, warm_up: int = 0) -> Warm:
    return Warm(found, found.samples[warm_up:], warm_up, settled=True)


def point(slower_ms: float = 0.0, spread_ms: float = 0.5, runs: int = 3) -> Point:
    """A load whose repetitions differ by a little."""
    made = Point("", check({"source": {"uri": "clock://cells?fps=10"}, "seconds": 6.0}))
    made.runs = [
        warm_of(run(slower_ms=slower_ms + spread_ms * (n - (runs - 1) / 2))) for n in range(runs)
    ]
    return made


MANIFEST = {
    "commit": {"sha": "a" * 40, "changed": False}, "command": ["maskcast", "bench"],
    "models": {"tracker": {"name": "micro"}}, "backend": "torch", "precision": "bf16",
    "transport": "ipc", "versions": {"torch": "2"}, "input": {"uri": "clock://cells"},
    "machine": {"processor": "<fast>", "cores": 2}, "config": {"seconds": 6.0},
}  # fmt: skip
