"""What detection costs the tracker: frames a second with it and without it, in turn.

    python tools/compare_detection.py [--config configs/demo.yaml] [--source URI] [--seconds 10]
        [--repeats 3] [--json FILE]

Each turn is a whole `maskcast run` on a live film, counted as a subscriber sees it. Without
detection only the very first frame is looked at, so that there are objects to track, and in the
film cells neither enter nor leave nor divide. Every track is published from the start, so that what
is published is what is tracked. Detection still finds what the first look missed, so the ratio is
also given at equal numbers of objects: over the numbers that both sides saw often enough, weighted
by the rarer side.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
import yaml
import zmq
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stream.errors import MaskcastError, UsageError
from stream.report import check_writable

SETTLE_S = 3.0
FILM = (
    "demo://cells?objects=8&width=640&height=480&fps=30&seed=0"
    "&enter_leave=0&divide_per_min=0&speed_px_s=10"
)
NEVER_AGAIN = 1_000_000
ENOUGH = 10
START_TIMEOUT_S = 120.0


@dataclass
class Side:
    """What was published on one side."""

    fps: list[float] = field(default_factory=list)
    """By turn."""
    intervals_ms: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By number of published objects."""

    def add(self, moments: list[tuple[int, int]]) -> None:
        """Take a turn: (published_ns, objects) by frame."""
        span_s = (moments[-1][0] - moments[0][0]) / 1e9
        self.fps.append((len(moments) - 1) / span_s)
        for (before_ns, _), (now_ns, objects) in pairwise(moments):
            self.intervals_ms[objects].append((now_ns - before_ns) / 1e6)

    @property
    def objects(self) -> float:
        """Mean number of published objects."""
        counts = {n: len(values) for n, values in self.intervals_ms.items()}
        return sum(n * count for n, count in counts.items()) / max(sum(counts.values()), 1)


def at_equal_objects(on: Side, off: Side) -> tuple[float | None, int]:
    """Return frames a second with detection over those without, and how many frames it rests on."""
    weights, with_ms, without_ms = [], [], []
    for objects, intervals in on.intervals_ms.items():
        others = off.intervals_ms.get(objects, [])
        if min(len(intervals), len(others)) >= ENOUGH:
            weights.append(min(len(intervals), len(others)))
            with_ms.append(float(np.mean(intervals)))
            without_ms.append(float(np.mean(others)))
    if not weights:
        return None, 0
    ratio = float(np.average(without_ms, weights=weights) / np.average(with_ms, weights=weights))
    return ratio, sum(weights)


def turn(config: Path, source: str, every: int | None, seconds: float) -> list[tuple[int, int]]:
    """Run once; return (published_ns, objects) by frame, after things have settled.

    Raises:
        MaskcastError: The run failed, or published too little.
    """
    folder = tempfile.TemporaryDirectory(prefix="maskcast-")
    shown = Path(folder.name) / "config.yaml"
    shown.write_text(yaml.safe_dump(_all_shown(config)))
    endpoint = f"ipc://{folder.name}/masks"
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe(b"")
    socket.connect(endpoint)
    command = [sys.executable, "-m", "stream.cli", "run", str(shown), "--no-web"]
    command += ["--source", source]
    command += ["--control", "none", "--endpoint", endpoint]
    command += ["--seconds", str(SETTLE_S + seconds + 1)]
    command += [] if every is None else ["--every", str(every)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        moments = _listen(socket, run, seconds)
    finally:
        _, words = run.communicate(timeout=START_TIMEOUT_S)
        socket.close(0)
        context.term()
        folder.cleanup()
    if run.returncode or len(moments) < 2:
        last = (words.strip().splitlines() or ["it said nothing"])[-1]
        raise MaskcastError(f"the run ended with status {run.returncode}: {last}")
    return moments


def _all_shown(config: Path) -> dict[str, Any]:
    """Return a configuration under which no track waits to be confirmed."""
    try:
        data: dict[str, Any] = yaml.safe_load(config.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"--config {config} cannot be read: {error}") from error
    data.setdefault("lifecycle", {})["confirm_score"] = 0.0
    return data


def _listen(
    socket: zmq.Socket[Any], run: subprocess.Popen[str], seconds: float
) -> list[tuple[int, int]]:
    moments: list[tuple[int, int]] = []
    first_ns, until = None, time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and run.poll() is None:
        if not socket.poll(100):
            continue
        message = msgspec.msgpack.decode(socket.recv_multipart()[1])
        now_ns, objects = message["published_ns"], len(message["objects"])
        if first_ns is None and objects:
            first_ns = now_ns
        if first_ns is None or now_ns < first_ns + SETTLE_S * 1e9:
            continue
        moments.append((now_ns, objects))
        if now_ns >= first_ns + (SETTLE_S + seconds) * 1e9:
            break
    return moments


def main(
    config: Annotated[Path, typer.Option(help="What is run.")] = Path("configs/demo.yaml"),
    source: Annotated[str, typer.Option(help="A live source.")] = FILM,
    seconds: Annotated[float, typer.Option(min=1.0, help="Counted in each turn.")] = 10.0,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Compare frames a second with detection and without it."""
    if not config.is_file():
        raise UsageError(f"--config {config} is not there; take for example configs/demo.yaml")
    if json_path is not None:
        check_writable(json_path)
    on, off = Side(), Side()
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("turns", total=2 * repeats)
        for number in range(repeats):
            for side in ((on, off), (off, on))[number % 2]:
                side.add(turn(config, source, None if side is on else NEVER_AGAIN, seconds))
                progress.advance(bar)
    ratio = float(np.median(on.fps) / np.median(off.fps))
    equal, frames = at_equal_objects(on, off)
    console = Console()
    console.print(source)
    table = Table(title=f"{config}, {repeats} turns of {seconds:g} s each")
    for name in ("detection", "frames a second, by turn", "median", "objects"):
        table.add_column(name)
    for name, side in (("on", on), ("off", off)):
        turns = " ".join(f"{fps:.1f}" for fps in side.fps)
        table.add_row(name, turns, f"{np.median(side.fps):.1f}", f"{side.objects:.1f}")
    console.print(table)
    console.print(f"with detection over without: {ratio:.2f}")
    if equal is None:
        console.print("at equal numbers of objects: too few frames in common")
    else:
        console.print(f"at equal numbers of objects: {equal:.2f} (over {frames} frames)")
    if json_path is not None:
        found = {"on_fps": on.fps, "off_fps": off.fps, "ratio": ratio, "equal_objects": equal}
        found |= {"on_objects": on.objects, "off_objects": off.objects}
        json_path.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    try:
        typer.run(main)
    except MaskcastError as error:
        print(f"compare_detection: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
