"""The figures as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from stream.bench.figures import SERIES, Figures, figures_of
from stream.bench.measure import Point
from stream.bench.median_frame import WORDS
from stream.bench.samples import STEPS
from stream.bench.statistics import PERCENTILES, Distribution, key_of

PIPE_WIDTH: Final = 160
ABSENT: Final = "–"


def shown(value: float | None) -> str:
    """Return milliseconds as people read them."""
    if value is None:
        return ABSENT
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.2f}"
        if abs(value) < 10
        else f"{value:.1f}"
    )


def show(points: Sequence[Point], console: Console | None = None) -> None:
    """Print what was measured of each load.

    Args:
        points: The loads.
        console: Where to; None for stdout.
    """
    console = console or Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for point in points:
        if point.runs:
            _show_point(point, console)


def summary(point: Point) -> list[str]:
    """Return the lines above the table of a load."""
    figures = point.overall
    runs = point.runs
    lost = ", ".join(f"{cause} {count}" for cause, count in figures.dropped.items()) or "none"
    lines = [
        f"{len(runs)} repetitions; {figures.delivered} of {figures.due} frames delivered after "
        f"the warm-up, {figures.fps or 0:.1f} a second; dropped: {lost} "
        f"({100 * figures.drop_share:.2f} %)",
        f"latency counts from the {point.origin} time; warm-up "
        f"{', '.join(str(part.warm_up) if part.settled else 'not settled' for part in runs)} "
        f"frames; first frame {', '.join(shown(part.cold_start_ms) for part in runs)} ms",
    ]
    if figures.explained is not None:
        lines.append(_sums(figures))
    if point.throughput is not None:
        fps = figures_of([point.throughput]).fps
        lines.append(f"fed as fast as it takes frames (closed loop): {fps or 0:.1f} a second")
    return lines


def _sums(figures: Figures) -> str:
    middle = figures.median_frame
    medians = f"the steps' own medians add up to {100 * (figures.explained or 0):.1f} %"
    if middle.explained is None:
        return f"{medians} of the median latency; too few frames lie near it to say more"
    return (
        f"the median frame ({WORDS}; {middle.frames} of them): its steps add up to "
        f"{100 * middle.explained:.1f} % of the median latency; {medians}"
    )


def _show_point(point: Point, console: Console) -> None:
    console.print(f"[bold]{point.name or point.config.source.uri}[/bold]", highlight=False)
    for line in summary(point):
        console.print(line, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ms", *map(key_of, PERCENTILES), "max", "std", "median frame", "n", ""):
        table.add_column(name, justify="left" if name in ("ms", "") else "right")
    figures = point.overall
    for name, words in SERIES.items():
        if figures.series[name].count:
            table.add_row(name, *_cells(figures.series[name], None), words)
    table.add_section()
    for name, values in figures.steps.items():
        middle = figures.median_frame.steps_ms.get(name)
        table.add_row(f"  {name}", *_cells(values, middle), STEPS[name])
    console.print(table)


def _cells(values: Distribution, middle: float | None) -> list[str]:
    found = [values.percentiles[key_of(percent)] for percent in PERCENTILES]
    part = "" if middle is None else shown(middle)
    return [*map(shown, (*found, values.max, values.std)), part, str(values.count)]
