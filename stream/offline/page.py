"""The result of an evaluation as one HTML page that needs nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from stream.evaluate.figures import Group
from stream.evaluate.pairs import THRESHOLDS
from stream.offline.document import About
from stream.offline.evaluation import Point, Results
from stream.offline.pictures import data_uri, draw
from stream.offline.plots import Axis, Line, histogram, line_plot, scatter
from stream.offline.table import columns, head_of, lines, shown

MOST_FILMS: Final = 12
"""Films that get plots of their own."""
STYLE: Final = Path(__file__).with_name("page.css")

HEADLINES: Final = {
    "J": "region similarity",
    "JF": "J and contour accuracy",
    "f1_50": "objects found, IoU 0.5",
    "hota": "detection and association",
    "idf1": "ids kept",
    "seg": "cell segmentation",
    "tra": "cell tracking",
    "count_error": "found − true a frame",
    "fps": "frames a second",
}


def page(results: Results, about: About, partial: bool) -> str:
    """Return the page.

    Args:
        results: What was measured.
        about: Of what.
        partial: Whether it was interrupted.
    """
    title = f"maskcast eval · {about.data['name']}"
    plots = "".join(_plots(results, about.data["stills"]))
    body = [
        _head(about, partial),
        _headlines(results.overall),
        f'<section><h2>Figures</h2><div class="wide">{_table(results)}</div></section>',
        f'<section><h2>Plots</h2><div class="plots">{plots}</div></section>',
        _pictures(results, about.data["stills"]),
        _notes(results.notes),
        _facts(about),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(about: About, partial: bool) -> str:
    tracker = about.models["tracker"]
    asked = about.question
    what = (
        f"prompt <b>{escape(asked['prompt'])}</b>"
        if asked["prompt"]
        else f"text <b>{escape(', '.join(asked['texts']))}</b>"
    )
    frames = about.data["frames"]
    warning = '<p class="warning">Interrupted: these are the frames measured so far.</p>'
    return (
        f"<header><h1>{escape(about.data['name'])}</h1>"
        f"<p>{what} · model <b>{escape(tracker['name'])}</b> · {frames} "
        f"{'images' if about.data['stills'] else 'frames'}</p>"
        f"<pre>{escape(shlex.join(about.command))}</pre>{warning if partial else ''}</header>"
    )


def _headlines(group: Group) -> str:
    tiles = [
        f'<div class="tile"><span>{head_of(name)}</span><b>{shown(name, value)}</b>'
        f"<small>{escape(words)}</small></div>"
        for name, words in HEADLINES.items()
        if (value := group.figures.get(name)) is not None
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(results: Results) -> str:
    names = columns(results)
    head = "".join(f"<th>{head_of(name)}</th>" for name in names)
    rows = []
    for group in lines(results):
        cells = "".join(f"<td>{shown(name, group.figures[name])}</td>" for name in names)
        title = f"{group.name} (partial)" if group.partial else group.name
        last = ' class="all"' if group is results.overall else ""
        rows.append(f"<tr{last}><th>{escape(title)}</th>{cells}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _plots(results: Results, stills: bool) -> list[str]:
    share = Axis("IoU", 0.0, 1.0)
    out = [histogram("IoU of each true object", share, "objects", results.ious)]
    if results.overall.more:
        out.append(
            line_plot(
                "F1 by IoU threshold",
                Axis("IoU threshold", THRESHOLDS[0], THRESHOLDS[-1]),
                Axis("F1", 0.0, 1.0),
                [Line("F1", THRESHOLDS, results.overall.more["f1_by_iou"])],
            )
        )
    if results.curve is not None and len(results.curve.recall):
        out.append(
            line_plot(
                f"Precision and recall, IoU 0.5, AP {_or_dash(results.overall.more['ap_50'])}",
                Axis("recall", 0.0, 1.0),
                Axis("precision", 0.0, 1.0),
                [
                    Line(
                        "precision", results.curve.recall.tolist(), results.curve.precision.tolist()
                    )
                ],
            )
        )
    if stills:
        return [*out, _counts(results.points)]
    by_film: dict[str, list[Point]] = {}
    for point in results.points:
        by_film.setdefault(point.group, []).append(point)
    for name, points in list(by_film.items())[:MOST_FILMS]:
        out += _film(name, points, "J" if results.curve is None else "panoptic quality")
    return out


def _counts(points: Sequence[Point]) -> str:
    most = float(max((max(point.true, point.found) for point in points), default=1)) or 1.0
    dots = [
        (float(p.true), float(p.found), f"{p.name}: {p.true} true, {p.found} found") for p in points
    ]
    axis = most * 1.05
    return scatter(
        "Counts, image by image",
        Axis("true", 0, axis, whole=True),
        Axis("found", 0, axis, whole=True),
        dots,
    )


def _film(name: str, points: Sequence[Point], quality: str) -> list[str]:
    frames = [float(point.index) for point in points]
    along = Axis("frame", frames[0], max(frames[-1], frames[0] + 1.0), whole=True)
    most = float(max(max(point.true, point.found) for point in points)) or 1.0
    return [
        line_plot(
            f"{name}: {quality}",
            along,
            Axis(quality, 0.0, 1.0),
            [Line(quality, frames, [point.quality for point in points])],
        ),
        line_plot(
            f"{name}: objects",
            along,
            Axis("objects", 0.0, most * 1.1, whole=True),
            [
                Line("true", frames, [float(point.true) for point in points], "truth"),
                Line("found", frames, [float(point.found) for point in points]),
            ],
        ),
    ]


def _pictures(results: Results, stills: bool) -> str:
    if not results.shots:
        return ""
    cards = [
        f'<figure class="shot"><img alt="{escape(shot.title)}" src="{data_uri(draw(shot))}">'
        f"<figcaption><b>{escape(shot.title)}</b> quality {shot.quality:.2f}, "
        f"{shot.true} true, {shot.found} found</figcaption></figure>"
        for shot in results.shots
    ]
    keys = (
        '<span class="key"><i class="truth"></i>truth</span>'
        '<span class="key"><i class="result"></i>result</span>'
    )
    head = f"<h2>Worst {'images' if stills else 'frames'} {keys}</h2>"
    return f'<section>{head}<div class="shots">{"".join(cards)}</div></section>'


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<section><h2>Notes</h2><ul>{items}</ul></section>"


def _facts(about: About) -> str:
    def block(name: str, data: Any) -> str:
        text = json.dumps(data, indent=1, ensure_ascii=False)
        return f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>"

    return (
        "<section><h2>How</h2>"
        + block("Models", about.models)
        + block("Versions and machine", {"versions": about.versions, "machine": about.machine})
        + block("Configuration", about.config)
        + "</section>"
    )


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
