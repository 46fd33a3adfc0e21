"""`maskcast doctor`: is everything here that a run needs?"""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from stream.commands.options import JsonList

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "wrong": "[red]wrong[/]"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(as_json: JsonList = False) -> None:
    """Check the machine and the installation; exit status 1 when something is wrong."""
    from rich.console import Console

    from stream.doctor import examine

    checks = []
    console = Console()
    for check in examine():
        checks.append(check)
        if not as_json:
            mark = MARKS[check.verdict]
            console.print(f"{mark:>6}  {check.name}: ", end="", highlight=False)
            console.print(check.detail, markup=False, highlight=False)
            if check.remedy:
                console.print(f"        -> {check.remedy}", markup=False, highlight=False)
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    raise typer.Exit(1 if any(check.verdict == "wrong" for check in checks) else 0)
