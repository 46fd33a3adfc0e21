"""The result of a benchmark as plain JSON data (`docs/latency.md`), and its reading again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stream.bench.figures import Warm, figures_of
from stream.bench.measure import Point
from stream.errors import UsageError

SCHEMA: Final = 1
KIND: Final = "maskcast bench"


def document(
    points: Sequence[Point], manifest: dict[str, Any], stamping_us: float, partial: bool
) -> dict[str, Any]:
    """Return the result as `--json` writes it.

    Args:
        points: What was measured.
        manifest: Of what.
        stamping_us: What the stamps of a frame cost.
        partial: Whether it was interrupted.
    """
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "partial": partial,
        "manifest": manifest,
        "stamping_us": stamping_us,
        "points": [_point(point) for point in points if point.runs],
    }


def read(path: Path) -> dict[str, Any]:
    """Read a result that `--json` wrote.

    Raises:
        UsageError: It cannot be read, is no such result, or of another schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise UsageError(f"{path}: is no result of maskcast bench --json")
    if data.get("schema") != SCHEMA:
        raise UsageError(
            f"{path}: has schema {data.get('schema')}, this version reads {SCHEMA}; measure again"
        )
    return data


def _point(point: Point) -> dict[str, Any]:
    return {
        "name": point.name,
        "source": point.runs[0].run.report.source.get("name"),
        "fps": point.runs[0].run.fps,
        "open_loop": point.runs[0].run.live,
        "origin": point.origin,
        "overall": point.overall.to_dict(),
        "repetitions": [_repetition(part) for part in point.runs],
        "throughput": None if point.throughput is None else _throughput(point.throughput),
    }


def _repetition(part: Warm) -> dict[str, Any]:
    report = part.run.report
    return {
        "warm_up_frames": part.warm_up,
        "settled": part.settled,
        "cold_start_ms": part.cold_start_ms,
        "start_s": _start_s(part),
        **figures_of([part]).to_dict(),
        "page": dict(part.run.page) if part.run.page is not None else None,
        "pipeline": {
            "frames": report.frames,
            "dropped": report.dropped,
            "detection": report.detection,
            "objects": report.objects,
            "source": report.source,
            "rss_mb": report.rss_mb,
        },
    }


def _start_s(part: Warm) -> float | None:
    """Seconds from the start of the processes to the first result."""
    if not part.run.samples:
        return None
    return round((part.run.samples[0].delivered_ns - part.run.started_ns) / 1e9, 3)


def _throughput(part: Warm) -> dict[str, Any]:
    figures = figures_of([part])
    return {
        "fps": figures.fps,
        "frames": figures.delivered,
        "warm_up_frames": part.warm_up,
        "settled": part.settled,
    }
