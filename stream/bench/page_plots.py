"""The plots of the page: waterfall, distribution, the course of a run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np

from stream.bench.figures import Figures, Warm, ages_of, is_detecting, series_of, ticks_of
from stream.bench.measure import Point
from stream.bench.samples import MODEL_STEPS, STEPS
from stream.offline.plots import MOST_POINTS, Axis, Line, line_plot

_ROW: Final = 24
_LEFT: Final = 90
_WIDTH: Final = 900
_RIGHT: Final = 330
_QUANTILES: Final = 300


def waterfall(figures: Figures) -> str:
    """Draw the steps end to end, and how far the 90th percentile of each reaches.

    They are the median frame's, which end at the median latency; where too few frames lie near it,
    the steps' own medians.
    """
    steps = [(name, values) for name, values in figures.steps.items() if values.count]
    middle = figures.median_frame.steps_ms
    kind_of = "median frame" if middle else "median"
    medians = [
        middle.get(name, 0.0) if middle else values.percentiles["p50"] or values.mean or 0.0
        for name, values in steps
    ]
    total = sum(medians) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / total
    out, at = [], 0.0
    for row, ((name, values), median) in enumerate(zip(steps, medians, strict=True)):
        top, left, wide = row * _ROW + 4, _LEFT + at * scale, max(median * scale, 1.0)
        kind = "model" if name in MODEL_STEPS else "ours"
        reach = values.percentiles["p90"]
        out.append(f'<text x="{_LEFT - 10}" y="{top + 12}" text-anchor="end">{name}</text>')
        out.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{wide:.1f}" height="15" rx="2"/>'
        )
        if reach is not None and reach > median:
            end = min(_LEFT + (at + reach) * scale, _WIDTH - _RIGHT + 30)
            out.append(
                f'<line class="spread" x1="{left + wide:.1f}" y1="{top + 7.5}" x2="{end:.1f}" '
                f'y2="{top + 7.5}"/>'
            )
        out.append(
            f'<text x="{_WIDTH - _RIGHT + 42}" y="{top + 12}">{median:.2f} ms · '
            f"{escape(STEPS[name])}</text>"
        )
        at += median
    height = len(steps) * _ROW + 8
    return (
        '<figure class="waterfall"><figcaption><i style="background:var(--truth)"></i>ours'
        '<i style="background:var(--result)"></i>models'
        f" · {kind_of}, line to the 90th percentile</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Waterfall of the steps">{"".join(out)}</svg></figure>'
    )


def plots(point: Point) -> list[str]:
    """Return the plots of a load: of all repetitions, then the course of the last one."""
    numbers = [series_of(part) for part in point.runs if part.samples]
    latency = [value for found in numbers for value in found["latency"]]
    age = [value for found in numbers for value in found["age"]]
    out = [_distribution("Latency, part of the frames below", [("latency", latency)])]
    split = [
        (name, [v for found in numbers for v in found[name]]) for name in ("quiet", "detecting")
    ]
    if all(values for _, values in split):
        out.append(_distribution("With a detection under way, and without", split))
    if age:
        out.append(_distribution("Age at every tick of the source", [("age", age)], "age, ms"))
    last = point.runs[-1]
    return [*out, *_course(last)] if len(last.samples) > 2 else out


def _course(part: Warm) -> list[str]:
    samples, zero = part.samples, part.samples[0].origin_ns
    times = [(sample.origin_ns - zero) / 1e9 for sample in samples]
    latency = [sample.latency_ms for sample in samples]
    along = Axis("seconds", 0.0, max(times[-1], 0.1))
    spans = [(look.submitted_ns, look.heard_ns) for look in part.run.detections]
    busy = [place for place, sample in enumerate(samples) if is_detecting(sample, spans)]
    ages, ticks = ages_of(part), [(tick - zero) / 1e9 for tick in ticks_of(part)]
    under_way = _under_way(part)
    out = [
        line_plot("Latency, last repetition", along, _up("latency, ms", latency),
                  [peaks("latency", times, latency)]),
        line_plot("Age, last repetition", along, _up("age, ms", ages),
                  [peaks("age", ticks[-len(ages):], ages.tolist())]),
        line_plot("Frames under way", along, _up("frames", [n for _, n in under_way], whole=True),
                  [peaks("frames", [t for t, _ in under_way], [n for _, n in under_way])]),
        line_plot("Dropped so far", along, _up("frames", _dropped(part), whole=True),
                  [Line("dropped", times, _dropped(part))]),
    ]  # fmt: skip
    if busy:
        out.insert(1, line_plot(
            "Latency of frames with a detection under way", along, _up("latency, ms", latency),
            [peaks("detecting", [times[n] for n in busy], [latency[n] for n in busy], "truth")],
        ))  # fmt: skip
    return out


def peaks(name: str, x: Sequence[float], y: Sequence[float], tone: str = "result") -> Line:
    """Return a line that is thinned to its peaks, so that no outlier is left out of a long one."""
    if len(x) <= MOST_POINTS:
        return Line(name, x, y, tone)
    parts = np.array_split(np.arange(len(x)), MOST_POINTS // 2)
    ends = ((min(part, key=y.__getitem__), max(part, key=y.__getitem__)) for part in parts)
    places = sorted({int(place) for pair in ends for place in pair})
    return Line(name, [x[n] for n in places], [y[n] for n in places], tone)


def _distribution(
    title: str, lines: Sequence[tuple[str, Sequence[float]]], name: str = "latency, ms"
) -> str:
    shares = np.linspace(0.0, 1.0, _QUANTILES)
    most = max(max(values) for _, values in lines)
    drawn = [
        Line(label, np.quantile(values, shares).tolist(), shares.tolist(), tone)
        for (label, values), tone in zip(lines, ("result", "truth"), strict=False)
    ]
    return line_plot(title, Axis(name, 0.0, most * 1.02 or 1.0), Axis("part", 0.0, 1.0), drawn)


def _under_way(part: Warm) -> list[tuple[float, float]]:
    """Return how many delivered frames were on their way, at each change."""
    zero = part.samples[0].origin_ns
    changes = [(sample.origin_ns, 1) for sample in part.samples]
    changes += [(sample.delivered_ns, -1) for sample in part.samples]
    count, out = 0, []
    for time_ns, change in sorted(changes):
        count += change
        out.append(((time_ns - zero) / 1e9, float(count)))
    return out


def _dropped(part: Warm) -> list[float]:
    first = part.samples[0]
    return [float(sample.frame - first.frame - place) for place, sample in enumerate(part.samples)]


def _up(name: str, values: Sequence[float] | np.ndarray, whole: bool = False) -> Axis:
    return Axis(name, 0.0, max(float(np.max(values)) * 1.05, 1.0 if whole else 0.01), whole)
