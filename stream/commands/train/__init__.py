"""`maskcast train`: data set in, checkpoint out; one file a model beside this one."""

from __future__ import annotations

import importlib
import pkgutil

import typer

_ORDER = ("clip", "sam2", "micro")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(build(), name="train")


def build() -> typer.Typer:
    """Return the application with every command of this package."""
    train = typer.Typer(
        help="Fine-tune a model on your own data.", no_args_is_help=True, add_completion=False
    )

    # A callback keeps a single command a sub-command.
    @train.callback()
    def top() -> None:
        """Fine-tune a model on your own data."""

    names = [module.name for module in pkgutil.iter_modules(__path__)]
    for name in sorted(names, key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "register"):
            module.register(train)
    return train
