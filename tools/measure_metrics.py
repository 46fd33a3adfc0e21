"""What live metrics cost: of each frame, of each look of the detector, and of each scrape.

    python tools/measure_metrics.py [--repeats 5]

Each figure is the best of the repeats, so that what else the machine does stays out of it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from stream.buckets import FRAMES, Buckets
from stream.metrics import Exposition
from stream.transport import headers
from stream.vitals import STAGES, SUPERVISOR, Pulse, Vitals

STEPS = ("read", "sent", "taken", "encoded", "tracked", "received")
MS = 1_000_000


def best_us(call: Callable[[], object], number: int, repeats: int) -> float:
    """Return the microseconds of one call, in the best of some repeats."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(number):
            call()
        found.append((time.perf_counter() - began) / number * 1e6)
    return min(found)


def told() -> dict[str, Pulse]:
    """Return what a supervisor passes on, each stage with the figures of a tracker."""
    values = {
        "tracked": 1000,
        "dropped": {"shutdown": 0, "ring": 0},
        "core": {
            "precision": "bf16",
            "detection": {"events": 100, "accepted": 500, "too_late": 0},
            "objects": {"now": 12, "ever": 20},
            "delay_frames": Buckets(FRAMES).to_data(),
        },
        "detect_s": Buckets().to_data(),
        "queues": {"results": 1, "jobs": 1},
        "rings": {"jobs": (1, 2)},
    }
    now_ns = time.monotonic_ns()
    return {s: Pulse("running", now_ns, os.getpid(), values) for s in (*STAGES, SUPERVISOR)}


def measure(repeats: int) -> dict[str, float]:
    """Return microseconds by what is done."""
    vitals, pulses = Vitals(), told()
    stamps = {name: (10 * number + 10) * MS for number, name in enumerate(STEPS)}
    late, seconds = Buckets(FRAMES), Buckets()
    exposition = Exposition(vitals)

    def look() -> None:
        late.add(5)
        seconds.add(0.44)

    def pass_on() -> None:
        headers.decode_control(headers.encode(headers.Vitals("running", pulses)))

    vitals.hear("running", pulses)
    return {
        f"frame, latency and {len(STEPS) + 1} steps": best_us(
            lambda: vitals.published(0, stamps, 80 * MS), 20_000, repeats
        ),
        "look of the detector": best_us(look, 20_000, repeats),
        "passing on, twice a second": best_us(pass_on, 500, repeats),
        f"scrape of {len(exposition.render()[0]) / 1000:.0f} kB": best_us(
            exposition.render, 50, repeats
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    for what, cost_us in measure(parser.parse_args().repeats).items():
        print(f"{cost_us:8.1f} us  {what}")


if __name__ == "__main__":
    main()
