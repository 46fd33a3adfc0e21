"""Run the tracker for a long time and see whether its memory or its steps grow.

    python tools/soak_tracker.py [--frames 20000] [--objects 8] [--churn] [--image-size 128]
        [--model micro] [--weights PATH|random:SEED] [--precision fp32] [--json FILE]

A drawn film of 50 frames is played forth and back, and every frame is encoded anew. With `--churn`
an object is replaced every 50 frames, in turn by one that is prompted in this frame and by one that
is prompted nine frames late with a replay; every 100 frames one is corrected as late.

Resident memory is read from the system as it is; nothing is collected or trimmed before. What the
tracker holds is counted as well: tensors and arrays that can be reached from it, model included.
The medians are of the processor time of `Tracker.step`. Other programs slow that as well, so steps
are judged at the end beside a fresh tracker, frame by frame in turn.
Exit status 1: memory grew by more than is allowed, or steps differ by more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from held import MIB, Held, held
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from soak_player import Player

from engines.errors import ModelError
from engines.precision import PRECISIONS
from engines.registry import load_tracker
from stream.errors import MaskcastError, UsageError
from stream.report import check_writable


@dataclass(frozen=True)
class Soaked:
    """What a long run showed."""

    frames: int
    objects: int
    added: int
    late_prompts: int
    settled_rss_mib: float
    end_rss_mib: float
    growth_mib: float
    settled_held: Held
    end_held: Held
    first_step_ms: float
    last_step_ms: float
    old_step_ms: float
    """Of the same tracker after the end, in turn with a fresh one."""
    fresh_step_ms: float
    step_ratio: float
    """The old tracker's step over the fresh one's."""
    first_step_wall_ms: float
    last_step_wall_ms: float
    rss_mib: list[float]
    """Twenty readings, evenly spread over the run."""


def soak(
    make: Callable[[], Player], frames: int, settle: int, window: int, tick: Callable[[], None]
) -> Soaked:
    """Play frames and compare the time after settling with the end.

    Args:
        make: Gives a player with a fresh tracker.
        frames: How many, at least `settle + 2 * window`.
        settle: Frames before the first reading.
        window: Frames that a median is taken of.
        tick: Called after each frame.
    """
    player = make()
    # Filled, so that the pages of these arrays are there before the first reading.
    spent = np.full((frames, 2), -1, dtype=np.int64)
    rss = np.full(20, np.nan)
    settled, settled_held = 0.0, Held(0, 0.0)
    for index in range(frames):
        spent[index] = player.play(index)
        if index == settle - 1:
            settled_held, settled = held(player.tracker), rss_mib()
        if (index + 1) * 20 % frames < 20:
            rss[(index + 1) * 20 // frames - 1] = rss_mib()
        tick()
    end, end_held = rss_mib(), held(player.tracker)
    old, fresh = beside_a_fresh_one(player, make(), frames, settle, window)
    first = np.median(spent[settle : settle + window], axis=0) / 1e6
    last = np.median(spent[-window:], axis=0) / 1e6
    return Soaked(
        frames=frames,
        objects=len(player.tracker.object_ids),
        added=player.added,
        late_prompts=player.late_prompts,
        settled_rss_mib=round(settled, 2),
        end_rss_mib=round(end, 2),
        growth_mib=round(end - settled, 2),
        settled_held=settled_held,
        end_held=end_held,
        first_step_ms=round(float(first[0]), 3),
        last_step_ms=round(float(last[0]), 3),
        old_step_ms=round(old, 3),
        fresh_step_ms=round(fresh, 3),
        step_ratio=round(old / fresh, 4),
        first_step_wall_ms=round(float(first[1]), 3),
        last_step_wall_ms=round(float(last[1]), 3),
        rss_mib=[round(float(value), 2) for value in rss],
    )


def beside_a_fresh_one(
    old: Player, fresh: Player, frames: int, settle: int, window: int
) -> tuple[float, float]:
    """Return the median steps of two players in ms, taken in turn.

    Args:
        old: Has played `frames` frames.
        fresh: Has played none.
        frames: The next index of the old one.
        settle: Frames that the fresh one plays before.
        window: Frames of each that the medians are taken of.
    """
    spent = []
    for index in range(settle):
        fresh.play(index)
    for index in range(window):
        spent.append((old.play(frames + index)[0], fresh.play(settle + index)[0]))
    mine, other = np.median(np.array(spent), axis=0) / 1e6
    return float(mine), float(other)


def rss_mib() -> float:
    """Return the resident memory of this process, as `/proc/self/statm` says it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError as error:
        raise UsageError(f"{error.filename}: not there; memory is read on Linux only") from error
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


# -- showing ---------------------------------------------------------------------------------------


def table_of(result: Soaked, settle: int, window: int) -> Table:
    """Return the readings as a table."""
    table = Table("", f"after {settle} frames", "at the end", "change")
    before, after = result.settled_held, result.end_held
    change = f"{result.growth_mib:+.2f}"
    table.add_row(
        "resident memory, MiB", f"{result.settled_rss_mib:.1f}", f"{result.end_rss_mib:.1f}", change
    )
    change = f"{after.mib - before.mib:+.2f}"
    table.add_row("held by the tracker, MiB", f"{before.mib:.2f}", f"{after.mib:.2f}", change)
    change = f"{after.tensors - before.tensors:+d}"
    table.add_row("tensors and arrays held", str(before.tensors), str(after.tensors), change)
    table.add_row(
        f"median step of {window} frames, ms",
        f"{result.first_step_ms:.2f}",
        f"{result.last_step_ms:.2f}",
        f"x {result.last_step_ms / result.first_step_ms:.3f}",
    )
    table.add_row(
        "the same beside a fresh tracker",
        f"{result.fresh_step_ms:.2f} (fresh)",
        f"{result.old_step_ms:.2f}",
        f"x {result.step_ratio:.3f}",
    )
    return table


def explanation(result: Soaked) -> str:
    """Return one line about what the readings mean."""
    grown = result.end_held.mib - result.settled_held.mib
    if abs(result.growth_mib) < 0.5:
        return "resident memory stays where it was"
    if grown > 0.5 * result.growth_mib > 0:
        return "the tracker itself holds more than before: this is growth of its state"
    return (
        "the tracker holds what it held before; the change is room that the C allocator took or "
        "gave back between tensors of changing sizes, or the interpreter's own"
    )


def faults(result: Soaked, most_mib: float, most_percent: float) -> list[str]:
    """Return a line for each limit that was passed."""
    lines = []
    if result.growth_mib > most_mib:
        lines.append(
            f"resident memory grew by {result.growth_mib:.1f} MiB, allowed are {most_mib:g} MiB "
            "(--max-growth-mib)"
        )
    change = 100 * (result.step_ratio - 1)
    if abs(change) > most_percent:
        lines.append(
            f"the median step differs by {change:+.1f} % from a fresh tracker's, allowed are "
            f"{most_percent:g} % (--max-change-percent)"
        )
    return lines


# -- command line ----------------------------------------------------------------------------------


def run(
    frames: Annotated[int, typer.Option(min=1)] = 20_000,
    objects: Annotated[int, typer.Option(min=1, help="Tracked at any time.")] = 8,
    churn: Annotated[bool, typer.Option("--churn", help="Objects come, go, come late.")] = False,
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 128,
    model: Annotated[str, typer.Option(help="micro or sam2.1-tiny, ...")] = "micro",
    weights: Annotated[str | None, typer.Option(help="A path or random:SEED.")] = None,
    precision: Annotated[str, typer.Option(help=", ".join(PRECISIONS))] = "fp32",
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    settle: Annotated[int, typer.Option(min=1, help="Frames before the first reading.")] = 500,
    window: Annotated[int, typer.Option(min=1, help="Frames of a median.")] = 1000,
    max_growth_mib: Annotated[float, typer.Option(help="Of resident memory.")] = 5.0,
    max_change_percent: Annotated[float, typer.Option(help="Of a step, old to fresh.")] = 5.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the readings.")] = None,
) -> int:
    """Run, compare, judge."""
    least = max(settle + 2 * window, 20)
    if frames < least:
        raise UsageError(
            f"--frames {frames}: with --settle {settle} and --window {window} at least {least} "
            "are needed"
        )
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision!r}: accepted are {', '.join(PRECISIONS)}")
    if json_file is not None:
        check_writable(json_file)
    torch.set_num_threads(threads)

    def make() -> Player:
        tracker = load_tracker(model, weights=weights, image_size=image_size, precision=precision)
        return Player(tracker, objects, churn)

    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("frames", total=frames)
        result = soak(make, frames, settle, window, lambda: bar.advance(task))
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{model} at {image_size} px, {objects} objects, {frames} frames, {precision}"
    coming = f", {result.added} objects ever, {result.late_prompts} late prompts" if churn else ""
    console.print(title + coming, table_of(result, settle, window), sep="\n", highlight=False)
    console.print(explanation(result), highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(result), indent=1) + "\n")
    lines = faults(result, max_growth_mib, max_change_percent)
    for line in lines:
        print(f"soak_tracker: {line}", file=sys.stderr)
    return 1 if lines else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and return the exit status."""
    app = typer.Typer(add_completion=False)
    app.command(help=(__doc__ or "").splitlines()[0])(run)
    try:
        command = typer.main.get_command(app)
        given = None if arguments is None else list(arguments)
        return int(command.main(given, standalone_mode=False) or 0)
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except (MaskcastError, ModelError, typer.TyperException) as error:
        text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        print(f"soak_tracker: {' '.join(text.split())}", file=sys.stderr)
        return error.exit_status if isinstance(error, MaskcastError) else 2


if __name__ == "__main__":
    sys.exit(main())
