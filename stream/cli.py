"""`maskcast`: puts the commands together, and turns every error into one line and a status."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

import stream.commands
from stream.errors import MaskcastError
from stream.logs import RunLog, redact

INTERRUPTED = 130

_ORDER = ("run", "ask", "watch", "eval", "bench", "export", "train", "models", "doctor")


def build() -> typer.Typer:
    """Return the application with every command in `stream.commands`."""
    app = typer.Typer(
        name="maskcast",
        help="Say what you want to see; get its masks, live.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_top)
    names = [module.name for module in pkgutil.iter_modules(stream.commands.__path__)]
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        module = importlib.import_module(f"stream.commands.{name}")
        if hasattr(module, "register"):
            module.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the console script; exits with the status of the command.

    Args:
        arguments: Command line without the program's name; None takes the process's own.
    """
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        command = typer.main.get_command(build())
        found = command.main(
            list(arguments) if arguments is not None else None, "maskcast", standalone_mode=False
        )
        return int(found or 0)
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except MaskcastError as error:
        return _say(str(error), error.exit_status)
    except typer.TyperException as error:
        return _say(f"{error.format_message()} (maskcast --help lists what there is)", 2)
    except Exception as error:
        log = RunLog()
        log.write("maskcast", traceback.format_exc())
        log.close(keep=True)
        text = f"{type(error).__name__}: {error}"
        return _say(f"{text}; this is a defect of maskcast: please report it with {log.path}", 1)


def _say(text: str, status: int) -> int:
    print(f"maskcast: {redact(' '.join(text.split()))}", file=sys.stderr)
    return status


def _top(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.")
    ] = False,
) -> None:
    """Say what you want to see; get its masks, live."""
    if show_version:
        try:
            typer.echo(f"maskcast {version('maskcast')}")
        except PackageNotFoundError:
            typer.echo("maskcast (not installed)")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


if __name__ == "__main__":
    main()
