"""`maskcast models`: what there is, what is present, and how to get the rest."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from stream.commands.options import JsonList


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models)


def models(as_json: JsonList = False) -> None:
    """List the models, whether their weights are present, and check their SHA-256."""
    from rich.console import Console
    from rich.table import Table

    from engines.registry import status

    rows = status()
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("model", "kind", "present", "sha256", "where, or how to get it"):
        table.add_column(column, overflow="fold")
    for row in rows:
        digest = f"{row.sha256[:12]} {row.check}" if row.present else ""
        table.add_row(
            row.name, row.kind, "yes" if row.present else "no", digest, row.path or row.get
        )
    console = Console()
    console.print(table)
    console.print(
        "\nAny other open_clip name works as --clip NAME with --clip-weights PATH; "
        "random:SEED gives random weights, for speed and parity only.",
        highlight=False,
    )
    if any(row.check == "differs" for row in rows):
        raise typer.Exit(1)
