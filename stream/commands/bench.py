"""`maskcast bench`: how late masks are, from when their frames were due."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stream.bench.measure import Point

INTERRUPTED = 130
PARTS = "stream.bench.parts:PARTS"
"""What the stages carry; tests put fakes here."""
WITHOUT_MODELS = "stream.bench.parts:WITHOUT_MODELS"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go; None: nowhere."""

    json: Path | None = None
    html: Path | None = None
    samples: Path | None = None
    trace: Path | None = None

    def check(self) -> None:
        """Check that all can be written, before minutes of measuring.

        Raises:
            UsageError: One cannot, or a library that it needs is missing.
        """
        from stream.offline.document import check_file

        for name in ("json", "html", "samples", "trace"):
            path = getattr(self, name)
            if path is not None:
                check_file(path, f"--{name}")
        if self.samples is not None:
            from stream.bench.parquet import check_installed

            check_installed()


@dataclass(frozen=True, slots=True)
class How:
    """What is measured of each load."""

    repeat: int
    parts: str
    """`module:attribute` of what the stages carry."""
    closed_loop: bool = True
    """Whether throughput is measured too."""
    page: bool = False
    """Whether a browser shows the page, and paints are measured."""
    handicap_ms: float = 0.0
    """How long the tracker sleeps in each frame."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    config: Annotated[
        Path | None, typer.Argument(help="A run's YAML file; options on the line win over it.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="As of `maskcast run`, and clock://cells, which says when it was due."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Of each repetition; without it the file's, or 30.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions; 5 say what is noise.")] = 5,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2",
            help="Measure each value, interleaved; may be given again. KEY is one of the "
            "configuration's, or source.FIELD of the address.",
        ),
    ] = None,
    transport: Annotated[str | None, typer.Option(help="ipc, inproc or tcp.")] = None,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="Stand-ins that cost nothing: our own share.")
    ] = False,
    closed_loop: Annotated[
        bool, typer.Option(help="Measure throughput too, in a run of its own.")
    ] = True,
    page: Annotated[
        bool,
        typer.Option("--page", help="Measure paints, too: a headless Chromium shows the page."),
    ] = False,
    handicap_ms: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="MS",
            help="Let the tracker sleep so long in each frame: to see whether a change of that "
            "size would be found on this machine.",
        ),
    ] = 0.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every frame's times as Parquet.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a trace for Perfetto.")
    ] = None,
    streams_under: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Instead: how many streams at once keep the p99 of the age under MS and drop less "
            "than 0.1 %.",
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A.json B.json", help="Instead: say what changed beyond noise."),
    ] = None,
    bound: Annotated[
        float,
        typer.Option(min=0.0, metavar="PERCENT", help="--compare: what a regression is beyond."),
    ] = 10.0,
) -> int:
    """Measure latency, age and drops of a run; exit with 1 on a regression (--compare)."""
    if compare is not None:
        return compare_results(*compare, bound)
    options: dict[str, Any] = {
        "source.uri": source,
        "seconds": seconds,
        "transport.kind": transport,
    }
    overrides = {key: value for key, value in options.items() if value is not None}
    outputs = Outputs(json_file, html, samples, trace)
    parts = WITHOUT_MODELS if no_models else PARTS
    if streams_under is not None:
        if page or handicap_ms:
            from stream.errors import UsageError

            raise UsageError("--streams-under goes without --page and --handicap-ms")
        return search_streams(config, overrides, parts, streams_under, json_file)
    how = How(repeat, parts, closed_loop, page, handicap_ms)
    return start(config, overrides, outputs, sweep or [], how)


def compare_results(before: Path, after: Path, bound_percent: float) -> int:
    """Show what changed; return 1 where something got worse by more than the bound."""
    from stream.bench import compare_table, document
    from stream.bench.compare import compare

    found = compare(document.read(before), document.read(after), bound_percent)
    compare_table.show(found, bound_percent)
    return 1 if found.regressions else 0


def search_streams(
    path: Path | None,
    overrides: dict[str, Any],
    parts: str,
    budget_ms: float,
    json_file: Path | None,
) -> int:
    """Find how many streams at once keep within a budget; print each trial."""
    from stream.bench.manifest import manifest
    from stream.bench.measure import SECONDS
    from stream.bench.streams import Trial, most_streams, try_streams
    from stream.config import load
    from stream.offline.document import check_file, write_json

    if json_file is not None:
        check_file(json_file, "--json")
    config = load(path, overrides)
    config.seconds = config.seconds or SECONDS
    trials: list[Trial] = []

    def holds(streams: int) -> bool:
        trial = try_streams(config, streams, parts)
        trials.append(trial)
        held = trial.holds(budget_ms)
        typer.echo(
            f"{streams} streams: p99 of the age {trial.worst_age_p99_ms:.1f} ms, "
            f"{100 * trial.drop_share:.2f} % dropped, {trial.seconds:.0f} s together: "
            f"{'within' if held else 'not within'} {budget_ms:g} ms"
        )
        return held

    found = most_streams(holds)
    typer.echo(f"most streams within {budget_ms:g} ms: {found}")
    if json_file is not None:
        about = manifest(config, ["maskcast", *sys.argv[1:]], parts != WITHOUT_MODELS)
        rows = [asdict(trial) for trial in trials]
        write_json(
            json_file,
            {"kind": "maskcast bench streams", "schema": 1, "budget_ms": budget_ms,
             "streams": found, "trials": rows, "manifest": about},
        )  # fmt: skip
    return 0


def start(
    path: Path | None,
    overrides: dict[str, Any],
    outputs: Outputs,
    sweeps: Sequence[str],
    how: How,
) -> int:
    """Measure, show, write.

    Args:
        path: Configuration file, or None.
        overrides: Values by dotted key that win over it.
        outputs: Where results go.
        sweeps: Loads, `KEY=V1,V2` each.
        how: What is measured.

    Returns:
        The exit status.

    Raises:
        MaskcastError: A run failed, or what was asked for cannot be.
    """
    from stream.bench import table
    from stream.bench.browser import Browser, find_browser
    from stream.bench.measure import (
        SECONDS,
        InterruptedRun,
        has_throughput,
        measure_all,
        measure_throughput,
        sweep,
    )
    from stream.bench.parts import handicap
    from stream.config import load
    from stream.errors import MaskcastError

    outputs.check()
    browser_path = find_browser() if how.page else None
    config = load(path, overrides)
    if config.seconds is None and config.frames is None:
        config.seconds = SECONDS
    points = sweep(config, sweeps)
    partial, failed, began_s = False, None, time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(handicap(how.handicap_ms))
            browser = stack.enter_context(Browser(browser_path)) if browser_path else None
            for point, number in measure_all(points, how.repeat, how.parts, browser):
                _say(f"{point.name or 'run'} {number} of {how.repeat}: {_line(point)}")
            for point in points:
                if how.closed_loop and has_throughput(point.config):
                    measure_throughput(point, how.parts)
    except (InterruptedRun, KeyboardInterrupt):
        partial = True
    except MaskcastError as error:
        partial, failed = True, error
    if any(point.runs for point in points):
        table.show(points)
        _write(outputs, points, how, partial, round(time.monotonic() - began_s, 1))
    if failed is not None:
        raise failed  # after what was measured before it is safe
    if partial:
        _say("interrupted; the figures are of what was measured so far")
    return INTERRUPTED if partial else 0


def _line(point: Point) -> str:
    from stream.bench.figures import figures_of

    figures = figures_of(point.runs[-1:])
    median = figures.series["latency"].percentiles["p50"]
    shown = "–" if median is None else f"{median:.1f}"
    return f"{figures.delivered} frames, latency p50 {shown} ms"


def _write(
    outputs: Outputs, points: Sequence[Point], how: How, partial: bool, wall_s: float
) -> None:
    from stream.bench.document import document
    from stream.bench.manifest import manifest
    from stream.bench.overhead import stamping_us
    from stream.offline.document import write_json, write_text

    data: dict[str, Any] = {}
    if outputs.json is not None or outputs.html is not None:
        about = manifest(
            points[0].config,
            ["maskcast", *sys.argv[1:]],
            how.parts != WITHOUT_MODELS,
            page=how.page,
            handicap_ms=how.handicap_ms,
        )
        data = document(points, about, stamping_us(), partial) | {"wall_s": wall_s}
    if outputs.json is not None:
        write_json(outputs.json, data)
    if outputs.html is not None:
        from stream.bench.page import page

        write_text(outputs.html, page(points, data))
    if outputs.trace is not None:
        from stream.bench.trace import trace

        write_json(outputs.trace, trace(points[0].runs[-1].run))
    if outputs.samples is not None:
        from stream.bench.parquet import write

        write(outputs.samples, points)


def _say(text: str) -> None:
    typer.echo(f"maskcast: {text}", err=True)
