"""`maskcast run`: a stream in, masks out."""

from __future__ import annotations

import sys
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
    from stream.config import Config

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file; options on the line win over it.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Images, a video file, rtsp://, v4l2://, http://, tiff://, demo://cells."
        ),
    ] = None,
    text: Texts = None,
    negative: Negatives = None,
    model: TrackerModel = None,
    weights: TrackerWeights = None,
    clip: ClipModel = None,
    clip_weights: ClipWeights = None,
    frames: Annotated[int | None, typer.Option(help="End after so many frames.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="End so many seconds after the first frame.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a JSON report of the run.")] = None,
    record: Annotated[Path | None, typer.Option(help="Record masks and video here.")] = None,
    no_web: Annotated[bool, typer.Option("--no-web", help="No live page.")] = False,
    web_port: Annotated[int | None, typer.Option(help="Port of the page; 0: a free one.")] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve /metrics and /health alone at this port; 0: a free one."),
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser once it is there.")
    ] = False,
    endpoint: Annotated[
        str | None, typer.Option(help="Where to publish (tcp://, ipc://); none: nowhere.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Where to listen to `maskcast ask`; none: nowhere.")
    ] = None,
    every: Every = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what the libraries print.")
    ] = False,
) -> int:
    """Find what the texts describe in a stream, follow it, publish its masks."""
    options = {
        **asked(text, negative, model, weights, clip, clip_weights, every),
        "source.uri": source,
        "frames": frames,
        "seconds": seconds,
        "record.dir": record,
        "web.port": web_port,
        "metrics.port": metrics_port,
        "web.enabled": False if no_web else None,
        "publish.endpoint": endpoint,
        "control.endpoint": control,
    }
    overrides = given(options)
    if endpoint == "none":
        overrides["publish.endpoint"] = None
    if control == "none":
        overrides["control.endpoint"] = None
    return start(config, overrides, report, verbose, open_page)


def start(
    path: Path | None,
    overrides: dict[str, Any],
    report_path: Path | None,
    verbose: bool,
    open_page: bool = False,
) -> int:
    """Run, show, report.

    Args:
        path: Configuration file, or None.
        overrides: Values by dotted key that win over it.
        report_path: Where the report goes, or None; written whatever the end of the run is.
        verbose: Show what libraries print.
        open_page: Open the page in a browser once it is there.

    Returns:
        The exit status.

    Raises:
        UsageError: The configuration is wrong, or the report cannot be written there.
    """
    from stream import pipeline
    from stream.config import load
    from stream.pipeline import Observer
    from stream.report import Report, check_writable
    from stream.terminal import LiveView, PageOpener, PlainView, end_line

    if report_path is not None:
        check_writable(report_path)
    config = load(path, overrides)

    def seen(view: Observer) -> Observer:
        return PageOpener(view) if open_page else view

    for line in _open_to_all(config):
        typer.echo(f"maskcast: {line}", err=True)
    report = Report(errors=["the run ended by a defect of maskcast"], exit=1)
    try:
        if sys.stderr.isatty():
            with LiveView(verbose=verbose) as view:
                report = pipeline.run(config, seen(view), parts=PARTS)
        else:
            report = pipeline.run(config, seen(PlainView(verbose=verbose)), parts=PARTS)
    finally:
        if report_path is not None:
            report.write(report_path)
    if report.frames["read"]:
        typer.echo(f"maskcast: {end_line(report)}", err=True)
    for line in report.errors:
        typer.echo(f"maskcast: {line}", err=True)
    return report.exit


def _open_to_all(config: Config) -> list[str]:
    """Return a line for each server that others than this machine can reach."""
    lines = []
    reach = "everyone who reaches this machine can"
    if config.web.enabled and config.web.host not in _LOOPBACK:
        lines.append(f"web.host is {config.web.host}: {reach} see the page; it has no password")
    if config.metrics.port is not None and config.metrics.host not in _LOOPBACK:
        lines.append(f"metrics.host is {config.metrics.host}: {reach} read the metrics")
    return lines


PARTS = "stream.stages.parts:PARTS"
"""What the stages carry; tests put fakes here."""
