"""`maskcast eval`: how good masks and tracks are, on pictures whose truth is known."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.commands.options import (
    ClipModel,
    ClipWeights,
    Every,
    Negatives,
    Texts,
    TrackerModel,
    TrackerWeights,
    asked,
    given,
)

if TYPE_CHECKING:
    from stream.evaluate import AnnotatedSequence
    from stream.offline.document import About
    from stream.offline.evaluation import Evaluation, Models, Options, Results
    from stream.offline.request import Request

INTERRUPTED = 130
MOST_BY_HAND = 1000
MODELS: Models | None = None
"""Where the models come from; None: the configuration's. Tests put fakes here."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go; None: nowhere."""

    json: Path | None = None
    html: Path | None = None
    save: Path | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Holds images/ and masks/, or folders that do."),
    ],
    text: Texts = None,
    negative: Negatives = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Instead of a text: first-mask, first-box, first-click or boxes:FILE, of the true "
            "objects in the first frame; with --stills of every image."
        ),
    ] = None,
    stills: Annotated[bool, typer.Option("--stills", help="Every image stands alone.")] = False,
    zoom: Annotated[
        str | None,
        typer.Option(help="Stills: auto, 1 (the whole image), or tiles along each edge."),
    ] = None,
    model: TrackerModel = None,
    weights: TrackerWeights = None,
    clip: ClipModel = None,
    clip_weights: ClipWeights = None,
    config: Annotated[
        Path | None, typer.Option(help="A run's YAML file; options on the line win over it.")
    ] = None,
    every: Every = None,
    detect_delay: Annotated[
        int | None,
        typer.Option(
            min=0, help="Frames that a detection takes, as live; without it as a run over a file."
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many of each sequence.")
    ] = None,
    only_held_out: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, metavar="PERCENT", help="Stills: only those that training sets aside."
        ),
    ] = None,
    split_prefix: Annotated[
        str | None,
        typer.Option(help="What training calls the data; DIR's name without it."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots and pictures.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the masks that were found.")
    ] = None,
) -> int:
    """Measure masks and tracks on annotated pictures."""
    from stream.offline.request import Request

    overrides = given(asked(text, negative, model, weights, clip, clip_weights, every))
    request = Request(
        folder=folder,
        stills=stills,
        texts=tuple(text or ()),
        negatives=tuple(negative or ()),
        prompt=prompt,
        zoom=zoom,
        detect_delay=detect_delay,
        frames=frames,
        held_out_percent=only_held_out,
        split_prefix=split_prefix,
    )
    request.check()
    return start(request, config, overrides, Outputs(json_file, html, save))


def start(request: Request, path: Path | None, overrides: dict[str, Any], outputs: Outputs) -> int:
    """Measure, show, write.

    Args:
        request: What is measured.
        path: Configuration file, or None.
        overrides: Values by dotted key that win over it.
        outputs: Where results go.

    Returns:
        The exit status.

    Raises:
        UsageError: Something that was asked for cannot be.
    """
    from stream.config import load
    from stream.evaluate.celltracking import EXTRA, is_installed
    from stream.evaluate.sequences import names_of
    from stream.offline import saving
    from stream.offline.document import check_file
    from stream.offline.evaluation import Options
    from stream.offline.looks import parse_zoom
    from stream.offline.prompts import Prompter
    from stream.offline.request import AUTO

    for file, option in ((outputs.json, "--json"), (outputs.html, "--html")):
        if file is not None:
            check_file(file, option)
    prompter = Prompter.parse(request.prompt) if request.prompt is not None else None
    if prompter is not None:
        overrides |= {"texts": ["object"], "tracker.max_objects": MOST_BY_HAND}
    options = Options(
        load(path, overrides),
        prompter,
        request.detect_delay,
        parse_zoom(request.zoom or AUTO),
        outputs.save,
    )
    sequences = request.sequences()
    if prompter is not None:
        prompter.require_known(names_of(sequences), some=request.takes_some)
    if outputs.save is not None:
        saving.prepare(outputs.save)
    evaluation = _evaluation(request, options)
    if not is_installed():
        evaluation.note(
            "det, tra and lnk are not measured: they need py-ctcmetrics, which "
            f"`pip install 'maskcast[{EXTRA}]'` brings"
        )
    evaluation.prepare()
    partial = _run(evaluation, sequences)
    results = evaluation.results()
    if results.points:
        _write(outputs, results, request.about(options, sequences), partial)
    if partial:
        typer.echo("maskcast: interrupted; the figures are of what was measured so far", err=True)
    return INTERRUPTED if partial else 0


def _evaluation(request: Request, options: Options) -> Evaluation:
    from stream.evaluate.aside import kinds_in
    from stream.offline.film_evaluation import FilmEvaluation
    from stream.offline.still_evaluation import StillEvaluation

    if request.stills:
        return StillEvaluation(options, MODELS, kinds_in(request.folder))
    return FilmEvaluation(options, MODELS)


def _run(evaluation: Evaluation, sequences: list[AnnotatedSequence]) -> bool:
    """Evaluate with a progress bar; return whether it was interrupted.

    An interruption waits for the frame under way, so that every figure is of the same frames.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from stream.pipeline.signals import Signals

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar, Signals() as signals:
        task = bar.add_task("", total=sum(map(len, sequences)))
        with closing(evaluation.run(sequences)) as steps:
            for name in steps:
                bar.update(task, advance=1, description=name)
                if signals.count:
                    return True
    return False


def _write(outputs: Outputs, results: Results, about: About, partial: bool) -> None:
    from stream.offline import table
    from stream.offline.document import document, write_json, write_text
    from stream.offline.page import page

    table.show(results)
    if outputs.json is not None:
        write_json(outputs.json, document(results, about, partial))
    if outputs.html is not None:
        write_text(outputs.html, page(results, about, partial))
