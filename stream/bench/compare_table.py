"""A comparison as a table for people."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from stream.bench.compare import Change, Comparison, words_of
from stream.bench.table import PIPE_WIDTH, shown


def show(comparison: Comparison, bound_percent: float, console: Console | None = None) -> None:
    """Print what changed, or that nothing did.

    Args:
        comparison: What was found.
        bound_percent: What a regression is beyond.
        console: Where to; None for stdout.
    """
    console = console or Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for note in comparison.notes:
        console.print(note, highlight=False)
    if comparison.real:
        console.print(_table(comparison.real))
    for line in verdict(comparison, bound_percent):
        console.print(f"[bold]{line}[/bold]", highlight=False)


def verdict(comparison: Comparison, bound_percent: float) -> list[str]:
    """Return the result in a line or two."""
    if not comparison.real:
        return ["equal: nothing changed beyond noise"]
    if not comparison.regressions:
        return [f"no regression beyond {bound_percent:g} %"]
    lines = [f"regression beyond {bound_percent:g} %: {_list(comparison.regressions)}"]
    culprits = comparison.culprits()
    if culprits:
        worst = culprits[0]
        lines.append(
            f"the step that got slower: {worst.name} ({words_of(worst)}), {worst.change:+.2f} ms"
        )
    return lines


def _list(changes: list[Change]) -> str:
    return ", ".join(dict.fromkeys(f"{change.name} {change.figure}" for change in changes))


def _table(changes: list[Change]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "", "before", "after", "change", "%", "99 % of the change", ""):
        table.add_column(name, justify="left" if not name else "right")
    for change in changes:
        scale = 100 if change.kind == "drops" else 1
        unit = " %" if change.kind == "drops" else ""
        percent = "–" if change.percent is None else f"{change.percent:+.0f}"
        table.add_row(
            f"{change.point} {change.name}".strip(),
            change.figure,
            shown(scale * change.before) + unit,
            shown(scale * change.after) + unit,
            f"{scale * change.change:+.2f}",
            percent,
            f"{scale * change.low:+.2f} to {scale * change.high:+.2f}",
            "[red]worse[/red]" if change.worse else "",
        )
    return table
