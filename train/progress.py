"""How a training shows itself: a log of JSON lines, a bar in a terminal, curves as a picture."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_FILE = "log.jsonl"
PLAIN_EVERY_S = 10.0

Curve = Sequence[tuple[float, float]]

_COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14))
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 30, 34


class Reporter:
    """Writes `log.jsonl` and shows where a training is; on stderr, a bar where that is a terminal.

    Args:
        folder: Where the log goes.
        title: What is shown before the bar.
        every: Steps whose figures are averaged into one row of the log.
        resume_at: Keep the log's rows up to this step and go on; 0 begins a new log.
        show: Whether anything is printed; the log is written always.
        out: Where to print; stderr unless given.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        *,
        every: int = 20,
        resume_at: int = 0,
        show: bool = True,
        out: TextIO | None = None,
    ) -> None:
        self.path = folder / LOG_FILE
        self._every = max(1, every)
        self._out = out or sys.stderr
        self._show = show
        self._title = title
        kept = [row for row in read_log(self.path) if row.get("step", 0) <= resume_at]
        lines = [json.dumps(row) for row in kept] if resume_at else []
        self.path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        self._sums: dict[str, list[float]] = {}
        self._said_at = -math.inf
        self._bar: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> Reporter:
        if self._show and self._out.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[says]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(file=self._out),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=1.0, says="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def step(self, step: int, done: float, figures: Mapping[str, float]) -> None:
        """Take one step's figures.

        Args:
            step: Steps done so far.
            done: Share of the training that is done, 0 to 1.
            figures: What is logged, averaged over some steps; `loss` is shown as well.
        """
        for name, value in figures.items():
            self._sums.setdefault(name, []).append(float(value))
        if step % self._every == 0 or done >= 1.0:
            means = {name: round(sum(v) / len(v), 5) for name, v in self._sums.items()}
            self.row({"step": step, **means})
            self._sums = {}
        says = f"step {step}, loss {figures['loss']:.3f}" if "loss" in figures else f"step {step}"
        if self._bar is not None:
            self._bar.update(self._task, completed=min(done, 1.0), says=says)
        elif self._show and time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            self._print(f"{self._title}: {says}, {min(done, 1.0):.0%}")

    def row(self, row: Mapping[str, Any]) -> None:
        """Write one row of the log, now."""
        # NaN is no JSON; a loss that is one should still leave a log that can be read.
        clean = {name: _finite(value) for name, value in row.items()}
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(clean, ensure_ascii=False) + "\n")

    def note(self, text: str) -> None:
        """Say something that happened, above the bar."""
        if self._show:
            self._print(text)

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(f"maskcast: {text}", file=self._out, flush=True)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a log's rows; a last line that was cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if isinstance(row, dict)]


def curve_of(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """Return (step, value) of the rows that have a finite value of this name."""
    return [
        (float(row["step"]), float(row[name]))
        for row in rows
        if isinstance(row.get(name), int | float) and "step" in row
    ]


def draw_curves(path: Path, panels: Mapping[str, Mapping[str, Curve]], width: int = 640) -> None:
    """Draw curves over steps as a PNG, one panel below the other.

    Args:
        path: The picture.
        panels: Title -> name of a curve -> its (step, value) points; empty ones are left out.
        width: Of the picture in pixels; a panel is 240 high.
    """
    shown = {t: {n: c for n, c in p.items() if len(c)} for t, p in panels.items()}
    shown = {title: curves for title, curves in shown.items() if curves}
    height = 240
    picture = Image.new("RGB", (width, height * max(1, len(shown))), "white")
    pen = ImageDraw.Draw(picture)
    for index, (title, curves) in enumerate(shown.items()):
        _panel(pen, (0, index * height, width, (index + 1) * height), title, curves)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _panel(
    pen: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    title: str,
    curves: Mapping[str, Curve],
) -> None:
    x0, y0, x1, y1 = box[0] + _LEFT, box[1] + _TOP, box[2] - _RIGHT, box[3] - _BOTTOM
    steps = [x for curve in curves.values() for x, _ in curve]
    values = [y for curve in curves.values() for _, y in curve]
    left, right = min(steps), max(max(steps), min(steps) + 1)
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / (right - left), (y - low) / (high - low)
        return x0 + across * (x1 - x0), y1 - up * (y1 - y0)

    for part in (0.0, 0.5, 1.0):
        value, step = low + part * (high - low), left + part * (right - left)
        _, y = place(left, value)
        x, _ = place(step, low)
        pen.line([(x0, y), (x1, y)], fill=(225, 225, 225))
        pen.text((box[0] + 6, y - 6), f"{value:.3g}", fill=(90, 90, 90))
        pen.text((x - (18 if part else 0), y1 + 6), f"{step:.0f}", fill=(90, 90, 90))
    pen.rectangle([x0, y0, x1, y1], outline=(150, 150, 150))
    pen.text((x0, box[1] + 8), title, fill=(20, 20, 20))
    at = x0 + 12 + 7 * len(title)
    for (name, curve), colour in zip(curves.items(), _COLOURS * len(curves), strict=False):
        points = [place(x, y) for x, y in curve]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2)
        for x, y in points if len(points) < 30 else ():
            pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
        pen.text((at, box[1] + 8), name, fill=colour)
        at += 12 + 7 * len(name)
