"""Small plots as SVG text. Colours are CSS variables, so that a page can be light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 440
HEIGHT: Final = 250
LEFT: Final = 46
RIGHT: Final = 14
TOP: Final = 14
BOTTOM: Final = 40
MOST_POINTS: Final = 400
"""Points of a line; a longer one is thinned."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    tone: str = "result"
    """`truth` or `result`: the CSS variable of its colour."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis says."""

    name: str
    least: float
    most: float
    whole: bool = False
    """Whether it counts things, so that there is nothing between two numbers."""

    @property
    def ticks(self) -> list[float]:
        """Round numbers along it, about five."""
        span = self.most - self.least
        step = 10 ** math.floor(math.log10(span / 4))
        if self.whole:
            step = max(step, 1)
        for factor in (1, 2, 2.5, 5, 10):
            if span / (step * factor) <= 5:
                step *= factor
                break
        first = math.ceil(self.least / step - 1e-9)
        last = math.floor(self.most / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def line_plot(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Draw lines; with more than one, their names stand above."""
    parts = [_path(line, x, y) for line in lines]
    return _plot(title, x, y, parts, lines if len(lines) > 1 else ())


def histogram(title: str, x: Axis, y_name: str, values: Sequence[float], bins: int = 20) -> str:
    """Draw how many of the values lie in each of so many equal parts of the axis."""
    counts = [0] * bins
    for value in values:
        place = int((value - x.least) / (x.most - x.least) * bins)
        counts[min(max(place, 0), bins - 1)] += 1
    y = Axis(y_name, 0.0, float(max(*counts, 1)) * 1.05)
    wide = (x.most - x.least) / bins
    parts = []
    for number, count in enumerate(counts):
        left, right = _x(x, x.least + number * wide), _x(x, x.least + (number + 1) * wide)
        top = _y(y, float(count))
        parts.append(
            f'<rect class="bar" x="{left + 0.75:.1f}" y="{top:.1f}" '
            f'width="{right - left - 1.5:.1f}" height="{HEIGHT - BOTTOM - top:.1f}">'
            f"<title>{count}</title></rect>"
        )
    return _plot(title, x, y, parts, ())


def scatter(title: str, x: Axis, y: Axis, points: Sequence[tuple[float, float, str]]) -> str:
    """Draw points with names, and the line on which both are equal."""
    least, most = max(x.least, y.least), min(x.most, y.most)
    parts = [
        f'<line class="equal" x1="{_x(x, least):.1f}" y1="{_y(y, least):.1f}" '
        f'x2="{_x(x, most):.1f}" y2="{_y(y, most):.1f}"/>'
    ]
    for across, up, name in points:
        parts.append(
            f'<circle class="dot" cx="{_x(x, across):.1f}" cy="{_y(y, up):.1f}" r="3.5">'
            f"<title>{escape(name)}</title></circle>"
        )
    return _plot(title, x, y, parts, ())


def _plot(title: str, x: Axis, y: Axis, parts: Sequence[str], named: Sequence[Line]) -> str:
    keys = "".join(
        f'<span class="key"><i class="{line.tone}"></i>{escape(line.name)}</span>' for line in named
    )
    return (
        f'<figure class="plot"><figcaption><b>{escape(title)}</b>{keys}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{_grid(x, y)}{''.join(parts)}</svg></figure>"
    )


def _grid(x: Axis, y: Axis) -> str:
    foot, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    out = []
    for tick in y.ticks:
        at = _y(y, tick)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        out.append(f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x.ticks:
        at = _x(x, tick)
        out.append(f'<line class="tick" x1="{at:.1f}" y1="{foot}" x2="{at:.1f}" y2="{foot + 4}"/>')
        out.append(f'<text x="{at:.1f}" y="{foot + 17}" text-anchor="middle">{tick:g}</text>')
    middle = (LEFT + right) / 2
    out.append(f'<line class="axis" x1="{LEFT}" y1="{foot}" x2="{right}" y2="{foot}"/>')
    out.append(
        f'<text class="name" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x.name)}</text>"
    )
    out.append(
        f'<text class="name" transform="translate(11 {(TOP + foot) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y.name)}</text>'
    )
    return "".join(out)


def _path(line: Line, x: Axis, y: Axis) -> str:
    places = list(range(len(line.x)))
    if len(places) > MOST_POINTS:
        step = (len(places) - 1) / (MOST_POINTS - 1)
        places = [round(number * step) for number in range(MOST_POINTS)]
    points = [(_x(x, line.x[place]), _y(y, line.y[place])) for place in places]
    if len(points) == 1:
        (across, up) = points[0]
        return f'<circle class="{line.tone} end" cx="{across:.1f}" cy="{up:.1f}" r="3.5"/>'
    text = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
    return f'<polyline class="{line.tone}" points="{text}"/>'


def _x(axis: Axis, value: float) -> float:
    return LEFT + (value - axis.least) / (axis.most - axis.least) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return (
        HEIGHT - BOTTOM - (value - axis.least) / (axis.most - axis.least) * (HEIGHT - BOTTOM - TOP)
    )
