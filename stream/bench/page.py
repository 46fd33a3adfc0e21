"""The result of a benchmark as one HTML page that needs nothing else, and prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from stream.bench import page_plots
from stream.bench.figures import SERIES, Figures, figures_of
from stream.bench.measure import Point
from stream.bench.samples import STEPS
from stream.bench.statistics import PERCENTILES, Distribution, key_of
from stream.bench.table import shown, summary
from stream.offline.page import STYLE

OWN_STYLE: Final = Path(__file__).with_name("page.css")


def page(points: Sequence[Point], data: dict[str, Any]) -> str:
    """Return the page.

    Args:
        points: What was measured.
        data: The same as `document` returns it.
    """
    measured = [point for point in points if point.runs]
    style = "".join(path.read_text(encoding="utf-8") for path in (STYLE, OWN_STYLE))
    body = [_head(data), *(_point(point) for point in measured), _facts(data)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>maskcast bench · {escape(_title(data))}</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _title(data: dict[str, Any]) -> str:
    models = data["manifest"]["models"]
    return str(models["tracker"]["name"]) if models else "without models"


def _head(data: dict[str, Any]) -> str:
    about = data["manifest"]
    commit = about["commit"]
    code = f"{commit['sha'][:12]}{' (changed)' if commit['changed'] else ''}" if commit else "–"
    facts = [
        f"model <b>{escape(_title(data))}</b>",
        f"{escape(str(about['precision'] or '–'))}, {escape(about['backend'])}",
        f"stages joined by <b>{escape(about['transport'])}</b>",
        f"commit {escape(code)}",
        f"{escape(about['machine']['processor'])}, {about['machine']['cores']} cores",
    ]
    warning = '<p class="warning">Interrupted: these are the runs measured so far.</p>'
    return (
        f"<header><h1>Latency, {escape(_title(data))}</h1><p>{' · '.join(facts)}</p>"
        f"<pre>{escape(shlex.join(about['command']))}</pre>"
        f"{warning if data['partial'] else ''}</header>"
    )


def _point(point: Point) -> str:
    figures = point.overall
    lines = "".join(f"<li>{escape(line)}</li>" for line in summary(point))
    plots = "".join(page_plots.plots(point))
    name = point.name or "Figures"
    return (
        f"<section><h2>{escape(name)}</h2>{_tiles(point, figures)}"
        f"<ul>{lines}</ul></section>"
        f"<section><h2>Where the time goes</h2>{page_plots.waterfall(figures)}</section>"
        f'<section><h2>Milliseconds</h2><div class="wide">{_table(figures)}</div></section>'
        f'<section><h2>Plots</h2><div class="plots">{plots}</div></section>'
    )


def _tiles(point: Point, figures: Figures) -> str:
    latency, age = figures.series["latency"].percentiles, figures.series["age"].percentiles
    closed = figures_of([point.throughput]).fps if point.throughput else None
    tiles = [
        ("latency p50", shown(latency["p50"]), "ms from the due time"),
        ("latency p99", shown(latency["p99"]), "ms"),
        ("age p99", shown(age["p99"]), "ms, of what is there"),
        ("dropped", f"{100 * figures.drop_share:.2f}", "% of the frames due"),
        ("delivered", f"{figures.fps or 0:.1f}", "frames a second"),
        ("closed loop", "–" if closed is None else f"{closed:.1f}", "frames a second"),
    ]
    cells = (
        f'<div class="tile"><span>{name}</span><b>{value}</b><small>{unit}</small></div>'
        for name, value, unit in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _table(figures: Figures) -> str:
    names = [*map(key_of, PERCENTILES), "max", "std", "95 % of p50", "n"]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = [
        _row(name, values, words=SERIES[name], limits=figures.intervals.get(name))
        for name, values in figures.series.items()
        if values.count
    ]
    rows += [
        _row(name, values, words=STEPS[name], part=True) for name, values in figures.steps.items()
    ]
    return (
        f"<table><thead><tr><th></th>{head}<th></th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(
    name: str,
    values: Distribution,
    *,
    words: str,
    limits: tuple[float, float] | None = None,
    part: bool = False,
) -> str:
    cells = []
    for percent in PERCENTILES:
        key = key_of(percent)
        why = values.refused.get(key)
        title = f' title="{escape(why)}"' if why else ""
        cells.append(f"<td{title}>{shown(values.percentiles[key])}</td>")
    span = "–" if limits is None else f"{shown(limits[0])} to {shown(limits[1])}"
    cells += [f"<td>{value}</td>" for value in (shown(values.max), shown(values.std), span)]
    kind = ' class="part"' if part else ""
    return (
        f"<tr{kind}><th>{escape(name)}</th>{''.join(cells)}<td>{values.count}</td>"
        f'<td class="words">{escape(words)}</td></tr>'
    )


def _facts(data: dict[str, Any]) -> str:
    def block(name: str, value: Any) -> str:
        text = json.dumps(value, indent=1, ensure_ascii=False)
        return f"<details><summary>{name}</summary><pre>{escape(text)}</pre></details>"

    about = data["manifest"]
    machine = {key: about[key] for key in ("machine", "versions")}
    models = {key: about[key] for key in ("models", "precision", "backend")}
    return (
        "<section><h2>How</h2>"
        f"<p>The stamps of a frame cost {data['stamping_us']} µs.</p>"
        + block("Machine and versions", machine)
        + block("Models", models)
        + block("Code and input", {key: about[key] for key in ("commit", "input")})
        + block("Configuration", about["config"])
        + "</section>"
    )
