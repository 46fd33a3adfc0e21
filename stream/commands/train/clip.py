"""`maskcast train clip`: teach a CLIP model the words of your own pictures."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.commands.options import ClipModel, Minutes

if TYPE_CHECKING:
    from train.clip.run import Outcome
    from train.readers import Dataset

INTERRUPTED = 130
AT_ONCE = (signal.SIGINT, signal.SIGTERM)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("clip")(clip)


def clip(
    data: Annotated[
        Path | None, typer.Argument(help="The data set: images with captions or labelled masks.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the result.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file; options on the line win over it.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Layout of the data set; auto.")] = None,
    held_out: Annotated[int | None, typer.Option(help="Per cent kept from training; 10.")] = None,
    skip_faulty: Annotated[
        bool, typer.Option("--skip-faulty", help="Train on the sound part of a faulty set.")
    ] = False,
    model: ClipModel = None,
    weights: Annotated[
        str | None, typer.Option(help="What it begins with: a path, a hub id or random:SEED.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="projection, last:K or all; last:2.")] = None,
    freeze_text: Annotated[
        bool, typer.Option("--freeze-text", help="Train the image tower only.")
    ] = False,
    batch: Annotated[int | None, typer.Option(help="Pairs of a step; 48.")] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Compute a batch in so many parts, to save memory.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; 300.")] = None,
    minutes: Minutes = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate; 1e-5.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps up to it; 20.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of matrices; 0.1.")] = None,
    hard_negatives: Annotated[
        int | None, typer.Option(help="Captions with a swapped attribute for each picture; 1.")
    ] = None,
    crops: Annotated[float | None, typer.Option(help="Share of object crops; 0.5.")] = None,
    dense_weight: Annotated[
        float | None, typer.Option(help="Weight of the patches under masks; 1 where there are.")
    ] = None,
    dense_windows: Annotated[
        int | None, typer.Option(help="Windows of a step whose patches are trained; 8.")
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(help="Steps between looks at what is held out; 25.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="End after so many looks without gain; 6, 0 never.")
    ] = None,
    wise: Annotated[
        str | None, typer.Option(help="Share of the trained weights in the result; auto.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the processor.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all random choices; 0.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.")
    ] = None,
) -> int:
    """Fine-tune a CLIP model on pictures with captions, and with labelled masks."""
    from stream.commands.train.writing import writes_into
    from stream.core.detect import default_clip_size
    from stream.errors import UsageError
    from train.clip.recipe import load_recipe
    from train.clip.run import fine_tune
    from train.interrupts import asked_to_stop

    overrides = {
        "data": data, "format": format, "held_out": held_out, "skip_faulty": skip_faulty or None,
        "model": model, "weights": weights, "train": train, "freeze_text": freeze_text or None,
        "batch": batch, "accumulate": accumulate, "steps": steps, "minutes": minutes, "lr": lr,
        "warmup": warmup, "weight_decay": weight_decay, "hard_negatives": hard_negatives,
        "crops": crops, "dense_weight": dense_weight, "dense_windows": dense_windows,
        "eval_every": eval_every, "patience": patience, "wise": wise, "device": device,
        "precision": precision, "threads": threads, "seed": seed,
    }  # fmt: skip
    recipe = load_recipe(config, overrides)
    if out is None:
        raise UsageError("--out is missing; name a folder for the result")
    if json_file is not None and (json_file.is_dir() or not json_file.resolve().parent.is_dir()):
        raise UsageError(f"{json_file}: cannot be written; name a file in a folder that is there")
    with writes_into(out, "go on with --resume"), asked_to_stop(AT_ONCE) as asked:
        outcome = fine_tune(
            recipe,
            out,
            dense_px=lambda visual: default_clip_size(recipe.model, visual),
            resume=resume,
            stop=asked,
            told=_describe,
        )
    return _tell(outcome, json_file)


def _describe(dataset: Dataset) -> None:
    from rich.console import Console
    from rich.table import Table

    from train.readers import describe

    shown = Table(box=None, show_header=False, pad_edge=False)
    for name, value in describe(dataset):
        shown.add_row(name, value)
    Console(stderr=True).print(shown)


def _tell(outcome: Outcome, json_file: Path | None) -> int:
    from rich.console import Console

    from train.clip.result import before_and_after, figures_json, wise_table

    console = Console()
    if outcome.kept is None:
        Console(stderr=True).print(
            f"stopped after step {outcome.steps}; go on with --resume", highlight=False
        )
        return INTERRUPTED
    console.print(before_and_after(outcome.before, outcome.kept))
    console.print(wise_table(outcome.table, outcome.kept))
    if outcome.passed_over:
        console.print(f"{outcome.passed_over} images could not be read and were left out")
    console.print(f"result in {outcome.folder}", highlight=False, markup=False)
    if json_file is not None:
        figures = figures_json(outcome.before, outcome.table, outcome.kept)
        figures |= {"steps": outcome.steps, "passed_over": outcome.passed_over}
        json_file.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", "utf-8")
    return 0
