"""What a data set holds, as the lines of a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from train.readers.samples import Dataset

_SHOWN: Final = 8


def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """Return what a data set holds as rows of a name and a value; rows of nothing are left out."""
    counts = dataset.counts
    frames = sum(video.frames for video in dataset.videos)
    rows = [
        ("format", dataset.format),
        ("images", _number(len(dataset.images))),
        ("videos", f"{len(dataset.videos):,} of {frames:,} frames" if dataset.videos else ""),
        ("objects", _number(counts.objects)),
        ("ignored regions", _number(counts.ignored)),
        ("captions", _number(counts.captions)),
        ("classes", _most(counts.classes)),
        ("sizes", _most({f"{w}x{h}": times for (w, h), times in counts.sizes.items()})),
        ("faults", _number(len(dataset.faults))),
        ("left out", _number(dataset.left_out)),
    ]
    return [(name, value) for name, value in rows if value]


def _number(value: int) -> str:
    return f"{value:,}" if value else ""


def _most(times: Mapping[str, int]) -> str:
    """The most frequent ones with their counts, the rest as a number."""
    ranked = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {count:,}" for name, count in ranked[:_SHOWN])
    more = len(ranked) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
