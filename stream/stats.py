"""Latency, age and rate, measured with bounded memory. Time is always an argument."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping

CAPACITY = 8192
PERCENTILES = (50, 90, 99)


class Reservoir:
    """A fair sample of a stream of numbers: exact up to its capacity, bounded beyond.

    The maximum and the count are always exact.
    """

    def __init__(self, capacity: int = CAPACITY, seed: int = 0) -> None:
        self._capacity = capacity
        self._random = random.Random(seed)
        self._values: list[float] = []
        self.count = 0
        self.max = -math.inf

    def add(self, value: float) -> None:
        """Take in one number (algorithm R)."""
        self.count += 1
        self.max = max(self.max, value)
        if len(self._values) < self._capacity:
            self._values.append(value)
            return
        place = self._random.randrange(self.count)
        if place < self._capacity:
            self._values[place] = value

    def percentiles(self) -> dict[str, float | None]:
        """Return `p50`, `p90`, `p99` (nearest rank) and `max`; None where nothing was added."""
        if not self.count:
            return dict.fromkeys((*(f"p{p}" for p in PERCENTILES), "max"))
        ordered = sorted(self._values)
        found: dict[str, float | None] = {
            f"p{p}": round(ordered[math.ceil(p / 100 * len(ordered)) - 1], 3) for p in PERCENTILES
        }
        found["max"] = round(self.max, 3)
        return found


class Age:
    """Age of the newest published result, sampled at fixed ticks.

    Unlike latency it grows while nothing comes out, so a stall cannot hide in it.
    """

    _MOST_TICKS = 100_000

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._captured_ns: int | None = None
        self._tick_ns = 0
        self.ages_ms = Reservoir()

    def published(self, now_ns: int, captured_ns: int) -> None:
        """A frame captured at one time was published at another, both `time.monotonic_ns()`."""
        if self._captured_ns is None:
            self._tick_ns = now_ns
            self._captured_ns = captured_ns
        self.advance(now_ns)
        self._captured_ns = captured_ns

    def advance(self, now_ns: int) -> None:
        """Sample at all ticks that have passed."""
        if self._captured_ns is None:
            return
        passed = (now_ns - self._tick_ns) // self._period_ns
        # After a very long sleep of the machine the oldest ticks are left out.
        self._tick_ns += max(0, passed - self._MOST_TICKS) * self._period_ns
        while self._tick_ns + self._period_ns <= now_ns:
            self._tick_ns += self._period_ns
            self.ages_ms.add((self._tick_ns - self._captured_ns) / 1e6)


class Rate:
    """Events per second over the last seconds."""

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_ns = int(window_s * 1e9)
        self._times: deque[int] = deque(maxlen=4096)

    def add(self, now_ns: int) -> None:
        """Something happened."""
        self._times.append(now_ns)

    def per_second(self, now_ns: int) -> float:
        """Return the rate; 0 before the second event and after a pause as long as the window."""
        while self._times and now_ns - self._times[0] > self._window_ns:
            self._times.popleft()
        if len(self._times) < 2:
            return 0.0
        span_ns = max(now_ns - self._times[0], 1)
        return (len(self._times) - 1) * 1e9 / span_ns


def steps_between(captured_ns: int, stamps: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the steps of one frame in their order, each named by the stamp that ends it.

    Args:
        captured_ns: Where the first step begins.
        stamps: Monotonic times by name, in nanoseconds. Those until the capture end no step; those
            whose names hold a dot are about another frame.
    """
    before, steps = captured_ns, []
    for name, time_ns in sorted(stamps.items(), key=lambda item: item[1]):
        if time_ns > captured_ns and "." not in name:
            steps.append((name, time_ns - before))
            before = time_ns
    return steps


class Steps:
    """Times between a frame's stamps: each step is named by the stamp that ends it."""

    _MOST_STEPS = 64

    def __init__(self) -> None:
        self._steps: dict[str, Reservoir] = {}

    def add_stamps(self, captured_ns: int, stamps: Mapping[str, int]) -> None:
        """Take in one frame's stamps, in the order of their times."""
        for name, step_ns in steps_between(captured_ns, stamps):
            self.add(name, step_ns / 1e6)

    def add(self, name: str, ms: float) -> None:
        """Take in one time of a step, in milliseconds."""
        if name in self._steps or len(self._steps) < self._MOST_STEPS:
            self._steps.setdefault(name, Reservoir()).add(ms)

    def percentiles(self) -> dict[str, dict[str, float | None]]:
        """Return the percentiles of each step, in milliseconds."""
        return {name: values.percentiles() for name, values in self._steps.items()}
