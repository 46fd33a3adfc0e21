"""The figures of one group of frames: their names, and how those of several groups are joined."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

Figure = float | None

MAIN: Final = (
    "J", "F", "JF", "seg", "det", "tra", "lnk", "idf1", "hota", "f1_50", "count_error", "fps",
)  # fmt: skip
"""What every group has, in the order of tables; None where it is not defined."""


@dataclass(slots=True)
class Group:
    """One line of the result: a sequence, a kind of images, or all."""

    name: str
    figures: dict[str, Figure] = field(default_factory=lambda: dict.fromkeys(MAIN))
    more: dict[str, Any] = field(default_factory=dict)
    """What the figures were made of, and figures beside them (`docs/eval.md`)."""
    partial: bool = False
    """Whether it was interrupted."""


def rounded(value: Figure, digits: int = 6) -> Figure:
    """Return a number as it is written down; None for what is not a finite one."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def mean(values: Iterable[Figure]) -> Figure:
    """Return the mean of what is defined; None where nothing is."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else None


def spread(values: Sequence[float]) -> dict[str, Figure]:
    """Return how IoUs are spread: mean, percentiles, and shares from 0.5 and 0.75 on."""
    names = ("p10", "p25", "p50", "p75", "p90")
    if not len(values):
        return dict.fromkeys(("mean", *names, "from_50", "from_75"))
    numbers = np.asarray(values, dtype=np.float64)
    points = np.percentile(numbers, [int(name[1:]) for name in names]).tolist()
    return {
        "mean": rounded(float(numbers.mean())),
        **{name: rounded(point) for name, point in zip(names, points, strict=True)},
        "from_50": rounded(float((numbers >= 0.5).mean())),
        "from_75": rounded(float((numbers >= 0.75).mean())),
    }
