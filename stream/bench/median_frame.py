"""Where the median latency goes: steps whose times add up to it.

Medians do not add: of many steps with a tail each, the sum of medians is less than the median of
the sum, however complete the steps are. What adds up is the mean of each step among the frames
whose latency is about the median (the contribution of a part to a quantile of the whole: Tasche,
"Conditional expectation as quantile derivative", 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from stream.bench.samples import STEPS, Sample

NEAR: Final = 0.05
"""How far from the median latency a frame may lie, of the median."""
LEAST_FRAMES: Final = 10
"""Frames near the median below which nothing is said."""
WORDS: Final = "mean among the frames within 5 % of the median latency"


@dataclass(frozen=True, slots=True)
class MedianFrame:
    """The frames about the median, as one."""

    frames: int
    """How many lie within 5 % of the median latency."""
    steps_ms: dict[str, float] = field(default_factory=dict)
    """Mean of each step over them; empty where they are too few."""
    unnamed_ms: float | None = None
    """Mean of the time in which a stage did not say where the frame was."""
    explained: float | None = None
    """Sum of the steps over the median latency; less by what is unnamed."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        plain: dict[str, Any] = {
            "frames": self.frames,
            "steps_ms": {name: round(ms, 4) for name, ms in self.steps_ms.items()},
            "unnamed_ms": self.unnamed_ms,
            "explained": self.explained,
        }
        if self.explained is None:
            plain["refused"] = f"{self.frames} frames near the median; {LEAST_FRAMES} are needed"
        return plain


def median_frame(samples: Sequence[Sample]) -> MedianFrame:
    """Return what the frames near the median latency have in common.

    Args:
        samples: Without warm-up, in any order.
    """
    if not samples:
        return MedianFrame(0)
    latencies = np.array([sample.latency_ms for sample in samples])
    median = float(np.median(latencies))
    near = [
        sample
        for sample, ms in zip(samples, latencies, strict=True)
        if abs(ms - median) <= NEAR * median
    ]
    if len(near) < LEAST_FRAMES:
        return MedianFrame(len(near))
    sums = dict.fromkeys(STEPS, 0.0)
    unnamed = 0.0
    for sample in near:
        named = sample.named_ms()
        for name, ms in named.items():
            sums[name] += ms
        unnamed += sample.latency_ms - sum(named.values())
    seen = {name for sample in near for name in sample.named_ms()}
    means = {name: total / len(near) for name, total in sums.items() if name in seen}
    return MedianFrame(
        len(near),
        means,
        round(unnamed / len(near), 4),
        round(sum(means.values()) / median, 4) if median else None,
    )
