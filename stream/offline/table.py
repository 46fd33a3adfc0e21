"""The figures as a table for people."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.evaluate.figures import MAIN, Figure, Group
from stream.offline.evaluation import Results

PIPE_WIDTH: Final = 200
ABSENT: Final = "–"
HEADS: Final = {"f1_50": "F1@50", "count_error": "count", "JF": "J&F"}
LOWER_CASE: Final = ("fps", "count_error")


def head_of(name: str) -> str:
    """Return what a figure is called in tables."""
    return HEADS.get(name, name if name in LOWER_CASE else name.upper())


def shown(name: str, value: Figure) -> str:
    """Return a figure as people read it."""
    if value is None:
        return ABSENT
    if name == "count_error":
        return f"{value:+.2f}"
    return f"{value:.1f}" if name == "fps" and value >= 10 else f"{value:.3f}"


def columns(results: Results) -> list[str]:
    """Return the figures that any group has."""
    groups = [*results.groups, results.overall]
    return [name for name in MAIN if any(group.figures.get(name) is not None for group in groups)]


def lines(results: Results) -> list[Group]:
    """Return the groups in the order of tables, all together last."""
    return [*(results.groups if len(results.groups) > 1 else []), results.overall]


def show(results: Results, console: Console | None = None) -> None:
    """Print the table and the notes.

    Args:
        results: What was measured.
        console: Where to; None for stdout.
    """
    # A pipe has no width; a table must not be cut to a guess of one.
    console = console or Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    names = columns(results)
    for name in names:
        table.add_column(head_of(name), justify="right")
    for group in lines(results):
        title = f"{group.name} (partial)" if group.partial else group.name
        cells = [shown(name, group.figures[name]) for name in names]
        style = "bold" if group is results.overall else None
        table.add_row(Text(title), *cells, style=style)
    console.print(table)
    for note in results.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)
