"""`maskcast train sam2`: a data set with masks in, a segmenter that knows its objects out."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.commands.options import Minutes, TrackerModel

if TYPE_CHECKING:
    from train.readers import Dataset
    from train.sam2.run import Outcome

INTERRUPTED = 130
# A launcher of several processes may send a SIGTERM of its own beside a Ctrl-C.
AT_ONCE = (signal.SIGINT,)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sam2")(sam2)


def sam2(
    data: Annotated[
        Path | None, typer.Argument(help="Folder or file of the data set, with instance masks.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("trained-sam2"),
    config: Annotated[
        Path | None, typer.Option(help="YAML file of the recipe; options on the line win over it.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Layout of the data set; auto looks.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this part of it, e.g. train.")] = None,
    films: Annotated[
        bool | None, typer.Option("--films", help="Folders of frames are films.")
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(help="Another data set to measure before and after; may be given again."),
    ] = None,
    replay: Annotated[
        list[Path] | None,
        typer.Option(help="Another data set to train on, not to be forgotten; again for more."),
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(help="Per cent of the samples kept from training.")
    ] = None,
    skip_faulty: Annotated[
        bool | None, typer.Option("--skip-faulty", help="Train on the sound samples only.")
    ] = None,
    model: TrackerModel = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights to begin with: a path, a hub id or random:SEED.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the input in pixels; else the model's own.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="decoder, memory (and decoder) or all.")] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Beginning of parameter names to leave alone; may be given again."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    minutes: Minutes = None,
    batch: Annotated[int | None, typer.Option(help="Clips of a step, a process.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches of a step.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of a clip.")] = None,
    objects: Annotated[int | None, typer.Option(help="Objects of a clip.")] = None,
    animate: Annotated[
        float | None, typer.Option(help="Share of image batches moved into pseudo-films.")
    ] = None,
    corrections: Annotated[int | None, typer.Option(help="Corrective clicks a prompt.")] = None,
    mask_loss: Annotated[str | None, typer.Option(help="focal or bce.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    encoder_lr_scale: Annotated[
        float | None, typer.Option(help="The image encoder's share of it.")
    ] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of averaged weights; 0: none.")] = None,
    wise: Annotated[
        float | None, typer.Option(help="Share of the trained weights in the result, 0 to 1.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="End after so many looks without a better IoU.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:0 ...")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing", help="Less memory, more time.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the processor.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is random.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other key of the recipe, as KEY=VALUE; again for more."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in --out.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the figures before and after here.")
    ] = None,
) -> int:
    """Fine-tune a SAM2 model on images and films with instance masks."""
    values = dict(locals())
    others = ("out", "config", "set_", "resume", "json_path")
    overrides = {k: v for k, v in values.items() if k not in others and v is not None}
    overrides |= _pairs(set_ or [])
    return _start(config, overrides, out, resume, json_path)


def _start(
    config: Path | None,
    overrides: dict[str, Any],
    out: Path,
    resume: bool,
    json_path: Path | None,
) -> int:
    from stream.commands.train.writing import writes_into
    from stream.report import check_writable
    from train.interrupts import asked_to_stop
    from train.sam2.recipe import load_recipe
    from train.sam2.run import fine_tune

    if json_path is not None:
        check_writable(json_path)
    recipe = load_recipe(config, overrides)
    with writes_into(out, "go on with --resume"), asked_to_stop(AT_ONCE) as asked:
        outcome = fine_tune(recipe, out, resume=resume, stop=asked, told=_tell)
    if not outcome.finished:
        typer.echo(
            f"maskcast: stopped after step {outcome.steps}; --resume goes on from there", err=True
        )
        return INTERRUPTED
    # Only the first of several processes has the figures.
    if outcome.after:
        _show(outcome, json_path)
    return 0


def _tell(dataset: Dataset) -> None:
    from train.readers import describe

    for name, value in describe(dataset):
        typer.echo(f"maskcast: {name} {value}", err=True)
    if dataset.left_out:
        typer.echo(f"maskcast: {dataset.left_out} faulty samples are left out", err=True)


def _show(outcome: Outcome, json_path: Path | None) -> None:
    from rich.console import Console

    from train.sam2.result import table

    Console().print(table(outcome.before, outcome.after))
    where = f"maskcast: the model is in {outcome.folder}"
    if outcome.passed_over:
        where += f"; {outcome.passed_over} draws of samples that cannot be read were passed over"
    print(where, file=sys.stderr)
    if json_path is not None:
        figures = {"steps": outcome.steps, "before": outcome.before, "after": outcome.after}
        json_path.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def _pairs(texts: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE; values are YAML, so that numbers and lists are what they look like."""
    import yaml

    from stream.errors import UsageError

    values = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise UsageError(f"--set {text!r} is no KEY=VALUE, as in --set colour=0.3")
        try:
            values[key.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {text!r}: the value is not readable as YAML") from None
    return values
