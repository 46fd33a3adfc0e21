"""`maskcast watch`: see what a run publishes."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    endpoint: Annotated[str, typer.Argument(help="tcp://HOST:PORT or ipc://PATH of a run.")],
    stream: Annotated[str | None, typer.Option(help="Only this stream.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Longest silence in seconds.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a frame.")] = False,
) -> int:
    """Show the masks that a run publishes: a table in a terminal, lines in a pipe."""
    from stream.watch import watch as show

    return show(endpoint, stream, frames, as_json, timeout)
