"""A run as its stages told it: one frame's worth of every figure."""

from __future__ import annotations

import pytest

from stream.buckets import FRAMES, Buckets
from stream.metrics.processes import Usage
from stream.vitals import Pulse, Vitals

NOW_NS = 1_000_000_000_000
MS = 1_000_000


class FakeProcesses:
    """Processes that used as much as their id says."""

    def read(self, pids: dict[str, int]) -> dict[str, Usage]:
        return {stage: Usage(pid / 10, pid << 20) for stage, pid in pids.items()}


def told(buckets: Buckets, *values: float) -> dict:
    for value in values:
        buckets.add(value)
    return buckets.to_data()


def gpu(allocated: int) -> dict:
    return {
        "device": "0", "allocated_bytes": allocated, "reserved_bytes": allocated * 2,
        "used_bytes": 500, "total_bytes": 1000, "load": 0.25,
    }  # fmt: skip


def make_vitals(texts: str = "cell") -> Vitals:
    """Everything that can be told, with words of a person wherever one could slip in."""
    vitals = Vitals("line-3", "micro", hung_after_s=5.0)
    reader = {
        "read": 90,
        "dropped": {"overrun": 20, "shutdown": 1},
        "source": {"counters": {"stale": 3, "reconnects": 2, texts: 4}, "name": texts},
        "reconnecting": False,
        "events": {"gap": 2, "size": 1},
        "queues": {"intake": 1, "frames": 2},
        "rings": {"frames": (3, 8)},
    }
    tracker = {
        "tracked": 67,
        "dropped": {"ring": 2, "shutdown": 0},
        "core": {
            "precision": "bf16",
            "detection": {"events": 9, "accepted": 30, "too_late": 1},
            "objects": {"now": 4, "ever": 11},
            "stream_events": {"cut": 1, f"asked {texts}": 1},
            "delay_frames": told(Buckets(FRAMES), 5, 7),
            "gpu": gpu(100),
        },
        "detect_s": told(Buckets(), 0.44),
        "queues": {"results": 1, "jobs": 1},
        "rings": {"jobs": (1, 2)},
    }
    figures = {
        "reader": reader,
        "tracker": tracker,
        "detector": {"answered": 9, "gpu": gpu(200)},
        "publisher": {},
        "supervisor": {},
    }
    pulses = {
        stage: Pulse("running", NOW_NS - 250 * MS, pid, values)
        for pid, (stage, values) in enumerate(figures.items(), start=10)
    }
    pulses["supervisor"] = Pulse("running", NOW_NS, 14)
    vitals.beat(NOW_NS)
    vitals.hear("running", pulses)
    for index in range(3):
        captured_ns = NOW_NS - (300 - 100 * index) * MS
        stamps = {"read": captured_ns + 2 * MS, "tracked": captured_ns + 62 * MS}
        vitals.published(captured_ns, stamps, captured_ns + 64 * MS)
    return vitals


@pytest.fixture
def vitals() -> Vitals:
    return make_vitals()
