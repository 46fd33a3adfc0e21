"""A histogram of fixed bounds: bounded memory, constant cost, sums that can be added up later."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

SECONDS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0,
)  # fmt: skip
"""Bounds for times, from our own share of a frame to a detection with a large model."""
FRAMES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
"""Bounds for how many frames late something is."""


class Buckets:
    """Counts numbers by the smallest bound that is not below them."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """One for each bound, and one for what is above the last."""
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Take in one number."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def to_data(self) -> dict[str, Any]:
        """Return plain data that can be sent."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Buckets:
        """Return what `to_data` described."""
        buckets = cls(tuple(data["bounds"]))
        buckets.counts, buckets.sum = list(data["counts"]), float(data["sum"])
        return buckets

    def cumulative(self) -> list[tuple[str, float]]:
        """Return how many numbers were at most each bound, as Prometheus wants them."""
        total, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            rows.append(("+Inf" if bound == float("inf") else str(float(bound)), float(total)))
        return rows
