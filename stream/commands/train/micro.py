"""`maskcast train micro`: both micro models from data and drawn scenes, by one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.commands.train.writing import writes_into
from stream.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("micro")(micro)


def micro(
    recipe: Annotated[
        Path | None,
        typer.Argument(help="YAML file, as configs/train/micro.yaml; without one its values."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with dsb2018_nuclei, laptrack_crops, bccd_blood.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; one there goes on.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="films, segmenter, refiner, clip or calibration; may be given again."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Pause each training after so many minutes.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(help="Of the processor; 0: torch's own number.")] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Processes that draw batches ahead; 0: none.")
    ] = None,
) -> int:
    """Rebuild the packaged models; a run that was stopped goes on where it was.

    The folder gets checkpoints, logs, curves, pictures, and package/ at the end.
    """
    from train.micro.make import PARTS, Run, make
    from train.micro.recipe import MicroRecipe
    from train.recipes import load_recipe

    if data is None or not data.is_dir():
        given = "no --data is given" if data is None else f"--data {data} is no folder"
        raise UsageError(f"{given}; it takes the folder that holds dsb2018_nuclei")
    if out is None:
        raise UsageError("no --out is given; it takes the folder of the run, new or begun")
    unknown = [part for part in only or () if part not in PARTS]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: accepted are {', '.join(PARTS)}")
    if minutes is not None and minutes <= 0:
        raise UsageError(f"--minutes {minutes}: a number above 0 is needed")
    if threads < 0 or (workers or 0) < 0:
        raise UsageError(f"--threads {threads} --workers {workers or 0}: 0 or more is needed")
    run = Run(
        data,
        out,
        load_recipe(MicroRecipe, recipe, {}),
        tuple(only) if only else PARTS,
        minutes,
        device,
        threads,
        workers,
    )
    with writes_into(out, "give the same command again"):
        done = make(run, lambda line: typer.echo(f"maskcast: {line}", err=True))
    # Stopping when the minutes are over is what was asked for.
    return 0 if done or minutes is not None else 1
