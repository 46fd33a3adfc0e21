"""The loops that people write, beside a run of ours: latency, age and drops of the same film.

    python tools/compare_loops.py [--config configs/bench.yaml] [--fps 10,30,60] [--seconds 15]
        [--sides ours,plain,official] [--busy MS] [--after SECONDS] [--json FILE] [--svg FILE]

`ours` is `maskcast bench`: stages in processes, a subscriber. `plain` is the loop of most demos, in
one thread: read, detect on every N-th frame, track, draw, read the next; with our models.
`official` feeds `SAM2VideoPredictor` frame by frame, as camera loops around it do: what the text
finds in the first frame is its prompt, and is followed from there; with the same weights.

A source that is not read keeps its frames for whoever reads (a file, RTSP over TCP, a capture
thread with a queue), so these loops see every frame, late. All frames come from the same schedule,
and latency counts from when they were due. Neither loop publishes: their result counts as there
once it is drawn.

`step` is the median time that a side takes for one frame, from taking it to its masks; `age p99 /
step` says how many such times the newest result is old, 99 % of the time. Of a loop that keeps up
with what is newest it stays below three, however busy the machine; of one that queues it has no
bound, and `age p99 first` and `last` say where it began and where the run ended, second by second.
`--after 5` leaves out the first five seconds of every side, in which the first objects come and the
models see their sizes for the first time.

`--busy 50` puts a sleep of so many milliseconds in the place of all models, for what is left of a
loop when its speed is known: 20 a second are possible then. `official` is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from loop_sides import BUSY, loop, official_step, plain_step
from measuring import Parser
from rich.console import Console
from rich.table import Table

from stream.bench.figures import Warm, ages_of, figures_of, ticks_of
from stream.bench.measure import measure, with_field
from stream.bench.samples import Run
from stream.bench.statistics import needed, percentile
from stream.bench.table import shown
from stream.config import Config, load
from stream.errors import MaskcastError
from stream.offline.plots import Axis, Line, line_plot

SIDES = ("ours", "plain", "official")
WINDOW_S = 1.0
STYLE = (
    "svg{font:11.5px sans-serif;background:#fff}text{fill:#5a6b76}.grid{stroke:#dde4e8}"
    ".axis,.tick{stroke:#5a6b76}polyline{fill:none;stroke-width:2}"
    ".truth{stroke:#0b7fd6}.result{stroke:#d96a00}"
)


# -- figures ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One side at one rate."""

    side: str
    fps: float
    run: Run
    after_s: float = 0.0
    """Seconds from the first due time that are left out."""

    def plain(self) -> dict[str, Any]:
        """Figures as plain data."""
        figures = figures_of([self.part])
        samples = self.run.samples
        whole = Warm(self.run, samples, 0, settled=True)
        due = len(ticks_of(whole)) if samples else 0
        return {
            "side": self.side,
            "fps_in": self.fps,
            "after_s": self.after_s,
            "fps_out": figures.fps,
            "objects": samples[-1].objects if samples else 0,
            "step_ms": self.step_ms,
            "age_p99_ms": self.age_p99_ms,
            "age_p99_per_step": self.ratio,
            "latency_ms": figures.series["latency"].to_dict(),
            "age_ms": figures.series["age"].to_dict(),
            "drop_share": round(figures.drop_share, 4),
            "unread_share": round(1 - (samples[-1].frame + 1) / due, 4) if due else None,
            "last_latency_ms": round(samples[-1].latency_ms, 1) if samples else None,
            "age_p99_by_second": [round(age, 1) for _, age in self.curve()],
        }

    @property
    def part(self) -> Warm:
        """What is looked at: all but the first seconds."""
        samples = self.run.samples
        begin_ns = samples[0].origin_ns + round(self.after_s * 1e9) if samples else 0
        kept = [sample for sample in samples if sample.origin_ns >= begin_ns]
        return Warm(self.run, kept, len(samples) - len(kept), settled=True)

    @property
    def step_ms(self) -> float | None:
        """Median time of one frame in the models."""
        times = [sample.model_ms for sample in self.part.samples]
        return round(float(np.median(times)), 3) if times else None

    @property
    def age_p99_ms(self) -> float | None:
        """The 99th percentile of the age at the source's ticks; None with too few of them."""
        found = percentile(ages_of(self.part), 99.0)
        return None if found is None else round(found, 3)

    @property
    def ratio(self) -> float | None:
        """How many steps old the newest result is, 99 % of the time."""
        if self.age_p99_ms is None or not self.step_ms:
            return None
        return round(self.age_p99_ms / self.step_ms, 2)

    def curve(self) -> list[tuple[float, float]]:
        """The 99th percentile of the age in each second (of 60 ticks: the highest)."""
        part = self.part
        if len(part.samples) < 2:
            return []
        ages = ages_of(part)
        ticks = np.array(ticks_of(part)[-len(ages) :])
        seconds = (ticks - ticks[0]) / 1e9
        out = []
        for start in np.arange(0.0, seconds[-1], WINDOW_S):
            inside = ages[(seconds >= start) & (seconds < start + WINDOW_S)]
            if len(inside):
                out.append((float(start + WINDOW_S), float(np.quantile(inside, 0.99))))
        return out


def race(
    config: Config, sides: Sequence[str], fps: Sequence[float], busy: bool, after_s: float
) -> list[Row]:
    """Run all sides at all rates, one after another."""
    rows = []
    for rate in fps:
        at = config.model_copy(deep=True)
        at.source.uri = with_field(config.source.uri, "fps", f"{rate:g}")
        for side in sides:
            print(f"compare_loops: {side} at {rate:g} a second", file=sys.stderr)
            if side == "ours":
                parts = "loop_sides:BUSY_PARTS" if busy else "stream.bench.parts:PARTS"
                run = measure(at, parts)
            elif side == "plain":
                run = loop(at, plain_step(at, busy))
            else:
                run = loop(at, official_step(at))
            rows.append(Row(side, rate, run, after_s))
    return rows


def table_of(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the figures as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("fps in", "side", "fps out", "objects", "step", "latency p50", "p90", "max",
                 "at the end", "age p50", "p99", "max", "p99 first", "last", "age p99 / step",
                 "dropped %", "not reached %"):  # fmt: skip
        table.add_column(name, justify="left" if name == "side" else "right")
    for row in rows:
        latency, age, course = row["latency_ms"], row["age_ms"], row["age_p99_by_second"]
        table.add_row(
            f"{row['fps_in']:g}", row["side"], f"{row['fps_out'] or 0:.1f}", str(row["objects"]),
            shown(row["step_ms"]),
            *(shown(latency[key]) for key in ("p50", "p90", "max")), shown(row["last_latency_ms"]),
            *(shown(age[key]) for key in ("p50", "p99", "max")),
            *(shown(course[place] if course else None) for place in (0, -1)),
            shown(row["age_p99_per_step"]),
            f"{100 * row['drop_share']:.1f}", f"{100 * (row['unread_share'] or 0):.1f}",
        )  # fmt: skip
    return table


def svg_of(rows: Sequence[Row]) -> str:
    """Age over time of ours and of the first other side, at the highest rate, as one SVG file."""
    rate = max(row.fps for row in rows)
    shown_rows = [row for row in rows if row.fps == rate and row.side in ("ours", "plain")]
    curves = [(row.side, row.curve()) for row in shown_rows]
    most = max(age for _, curve in curves for _, age in curve)
    last = max(at for _, curve in curves for at, _ in curve)
    tones = {"ours": "truth", "plain": "result"}
    text = line_plot(
        f"Age, {rate:g} frames a second in",
        Axis("seconds", 0.0, last),
        Axis("p99 of age, ms", 0.0, most * 1.05),
        [
            Line(side, [at for at, _ in curve], [age for _, age in curve], tones[side])
            for side, curve in curves
        ],
    )
    body = text[text.index("<svg") : text.index("</svg>")]
    body = body.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, _, rest = body.partition(">")
    keys = "".join(
        f'<text x="60" y="{28 + 15 * n}" style="fill:{colour}">{name}</text>'
        for n, (name, colour) in enumerate(
            (("ours", "#0b7fd6"), ("read, detect, track, show in one thread", "#d96a00"))
        )
    )
    return f"{head}><style>{STYLE}</style>{rest}{keys}</svg>\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="compare_loops", description="Loops that people write, beside ours.")
    parser.add_argument("--config", type=Path, default=Path("configs/bench.yaml"))
    parser.add_argument("--fps", default="10,30,60")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--busy", type=float, metavar="MS", help="a sleep in place of the models")
    parser.add_argument("--after", type=float, default=0.0, metavar="SECONDS",
                        help="leave out the first seconds of every side")  # fmt: skip
    parser.add_argument("--transport", default="ipc")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="age over time, ours and plain")
    args = parser.parse_args(arguments)
    args.sides = [side for side in args.sides.split(",") if side]
    for side in args.sides:
        if side not in SIDES:
            parser.error(f"--sides {side!r} is not accepted; accepted are {', '.join(SIDES)}")
    try:
        args.fps = [float(value) for value in args.fps.split(",")]
    except ValueError:
        parser.error(f"--fps {args.fps!r} is not accepted; give numbers such as 10,30,60")
    if not 0 <= args.after < args.seconds:
        parser.error(f"--after {args.after:g} is not accepted; it must be 0 to below --seconds")
    if args.busy is not None:
        args.sides = [side for side in args.sides if side != "official"]
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, show, write; return the exit status."""
    args = parse(arguments)
    if args.busy is not None:
        os.environ[BUSY] = str(args.busy)
        here = str(Path(__file__).parent)
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        overrides = {"seconds": args.seconds, "transport.kind": args.transport}
        config, busy = load(args.config, overrides), args.busy is not None
        rows = race(config, args.sides, args.fps, busy, args.after)
    except MaskcastError as error:
        print(f"compare_loops: {error}", file=sys.stderr)
        return error.exit_status
    plain = [row.plain() for row in rows]
    Console(width=None if sys.stdout.isatty() else 200).print(table_of(plain))
    if any(row["age_p99_ms"] is None for row in plain):
        print(f"compare_loops: p99 of the age needs {needed(99.0)} ticks; give it more --seconds",
              file=sys.stderr)  # fmt: skip
    if args.json is not None:
        args.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    if args.svg is not None:
        args.svg.write_text(svg_of(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
