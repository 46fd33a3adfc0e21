"""The statistics of a latency benchmark. Pure: numbers in, numbers out, time is an argument.

What these rules are against: a mean that hides the tail, a tail that is three samples, a stall
that disappears because nothing was measured while it lasted (coordinated omission), dropped frames
counted as quick ones, and a difference between two runs that is only noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
LEAST_TAIL: Final = 10
"""Samples above a percentile below which it is refused."""
AGREEMENT: Final = 0.10
"""How far the medians of three windows may be apart once the run has settled."""
WINDOWS: Final = 3
RESAMPLES: Final = 4000
LEVEL: Final = 0.95
"""Of the interval of a figure."""
CHANGE_LEVEL: Final = 0.99
"""Of the interval of a change: some twenty figures are compared at once, and with 95 % one of them
would seem to have changed in every comparison of two equal runs."""

Floats = npt.NDArray[np.float64]


def key_of(percent: float) -> str:
    """Return what a percentile is called: p50, p99, p99.9."""
    return f"p{percent:g}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is said of some numbers; None where too few are there to say it."""

    count: int
    mean: float | None
    std: float | None
    max: float | None
    percentiles: dict[str, float | None]
    refused: dict[str, str] = field(default_factory=dict)
    """Percentile -> why it is None."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, percentiles beside the other figures."""
        plain: dict[str, Any] = {"count": self.count, "mean": self.mean, "std": self.std}
        plain |= self.percentiles | {"max": self.max}
        return plain | ({"refused": self.refused} if self.refused else {})


def percentile(values: Sequence[float] | Floats, percent: float) -> float | None:
    """Return a percentile by nearest rank; None with fewer than 10 samples in its tail.

    Args:
        values: In any order.
        percent: 0 to 100; its tail is the smaller side.
    """
    if _tail(len(values), percent) < LEAST_TAIL:
        return None
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return float(ordered[math.ceil(percent / 100 * len(ordered)) - 1])


def distribution(values: Sequence[float] | Floats) -> Distribution:
    """Describe numbers; percentiles that the number of samples does not carry are refused."""
    array = np.asarray(values, dtype=np.float64)
    found = {key_of(p): _rounded(percentile(array, p)) for p in PERCENTILES}
    refused = {
        key_of(p): f"{len(array)} samples; {needed(p)} are needed for {LEAST_TAIL} in the tail"
        for p in PERCENTILES
        if found[key_of(p)] is None
    }
    if not len(array):
        return Distribution(0, None, None, None, found, refused)
    std = float(array.std(ddof=1)) if len(array) > 1 else None
    return Distribution(
        len(array), _rounded(float(array.mean())), _rounded(std), _rounded(float(array.max())),
        found, refused,
    )  # fmt: skip


def needed(percent: float) -> int:
    """Return how many samples a percentile needs."""
    count = 1
    while _tail(count, percent) < LEAST_TAIL:
        count = max(count + 1, count * 2 if _tail(count * 2, percent) < LEAST_TAIL else 0)
    return count


def settled_after(latencies_ms: Sequence[float], window: int) -> int | None:
    """Find the end of the warm-up: where three windows in a row have medians within 10 %.

    Args:
        latencies_ms: In the order of time.
        window: Samples in a window.

    Returns:
        Number of samples before the first of those windows; None where it never settled.
    """
    medians = [
        float(np.median(latencies_ms[start : start + window]))
        for start in range(0, len(latencies_ms) - window + 1, window)
    ]
    for first in range(len(medians) - WINDOWS + 1):
        three = medians[first : first + WINDOWS]
        if max(three) <= (1 + AGREEMENT) * min(three):
            return first * window
    return None


def window_for(count: int) -> int:
    """Return how many samples a window of the warm-up has: a fifteenth of them, 10 to 100."""
    return min(max(count // 15, 10), 100)


def ages_at_ticks(
    ticks_ns: Sequence[int], delivered_ns: Sequence[int], origins_ns: Sequence[int]
) -> Floats:
    """Return the age of the newest result that was there at each tick of the source.

    Unlike latency it grows while nothing comes, so that a stall and a drop both cost.

    Args:
        ticks_ns: Times at which the source was due, rising.
        delivered_ns: When each result came, rising.
        origins_ns: When the frame of each was due.

    Returns:
        Milliseconds, one for each tick that is not before the first result.
    """
    ticks = np.asarray(ticks_ns, dtype=np.int64)
    there = np.searchsorted(np.asarray(delivered_ns, dtype=np.int64), ticks, side="right")
    ticks, there = ticks[there > 0], there[there > 0]
    newest = np.maximum.accumulate(np.asarray(origins_ns, dtype=np.int64))
    return (ticks - newest[there - 1]) / 1e6


def drops(first: Mapping[str, int], last: Mapping[str, int], missing: int) -> dict[str, int]:
    """Return the frames that are missing between two that came, by cause.

    Args:
        first: Drops counted when the first one was sent, by cause.
        last: The same of the last one.
        missing: How many numbers are missing between the two.

    Returns:
        Counts that add up to `missing`; `undelivered` are those that no stage counted.
    """
    found: dict[str, int] = {}
    left = missing
    for cause, count in sorted(last.items()):
        # A frame that is replaced while another is being sent is counted one message early.
        here = min(max(count - first.get(cause, 0), 0), left)
        if here:
            found[cause] = here
            left -= here
    if left:
        found["undelivered"] = left
    return found


def overlaps(spans: Sequence[tuple[int, int]], begin: int, end: int) -> bool:
    """Return whether a time span meets any of others (begin, end)."""
    return any(start < end and begin < stop for start, stop in spans)


def interval(per_run: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """Return a 95 % bootstrap interval of the mean over repetitions; None for fewer than two.

    Repetitions are resampled and not frames: frames of a run are not independent. A bootstrap of a
    handful is too narrow, so its deviations are widened as Student's t is wider than the normal
    distribution, and by sqrt(n / (n - 1)).
    """
    if len(per_run) < 2:
        return None
    means = _resampled(per_run, np.random.default_rng(seed))
    low, high = np.quantile(means, _ends(LEVEL))
    middle, factor = float(np.mean(per_run)), widening(len(per_run), LEVEL)
    return middle + factor * (float(low) - middle), middle + factor * (float(high) - middle)


def difference(
    before: Sequence[float], after: Sequence[float], seed: int = 0
) -> tuple[float, float, float] | None:
    """Return by how much the mean over repetitions changed, and its 99 % bootstrap interval.

    Args:
        before: One figure of each repetition.
        after: The same of another run.
        seed: Of the resampling.

    Returns:
        Change, low, high; None where either side has fewer than two repetitions.
    """
    if min(len(before), len(after)) < 2:
        return None
    rng = np.random.default_rng(seed)
    middle = float(np.mean(after) - np.mean(before))
    # Each side is widened by its own number of repetitions.
    sides = [
        (_resampled(values, rng) - np.mean(values)) * widening(len(values), CHANGE_LEVEL)
        for values in (after, before)
    ]
    low, high = np.quantile(middle + sides[0] - sides[1], _ends(CHANGE_LEVEL))
    return middle, float(low), float(high)


def widening(runs: int, level: float) -> float:
    """Return how much wider than a plain bootstrap the interval of so few repetitions is."""
    _, end = _ends(level)
    student = float(stats.t.ppf(end, runs - 1)) / float(stats.norm.ppf(end))
    return student * math.sqrt(runs / (runs - 1))


def _ends(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


def _resampled(values: Sequence[float], rng: np.random.Generator) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    picks = rng.integers(0, len(array), (RESAMPLES, len(array)))
    means: Floats = array[picks].mean(axis=1)
    return means


def _tail(count: int, percent: float) -> int:
    share = min(percent, 100 - percent) / 100
    return math.floor(count * share + 1e-9)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
