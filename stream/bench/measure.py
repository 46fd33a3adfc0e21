"""Runs that are measured: the real pipeline, and a subscriber in this process."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from stream import pipeline
from stream.bench.browser import Browser, Visitor
from stream.bench.collect import HIGH_WATER_MARK, Collector
from stream.bench.figures import Figures, Warm, figures_of, warm
from stream.bench.paints import join
from stream.bench.samples import Run, Sample
from stream.config import Config
from stream.errors import MaskcastError, UsageError
from stream.pipeline import INTERRUPTED
from stream.sources.uri import scheme_of

SECONDS: Final = 30.0
THROUGHPUT_S: Final = 12.0


class InterruptedRun(Exception):  # noqa: N818 - a person's wish, not an error
    """Ctrl-C ended a repetition."""


@dataclass(slots=True)
class Point:
    """One load, and what was measured of it."""

    name: str
    """What is special about it, `key=value` for a sweep; "" where there is one only."""
    config: Config
    runs: list[Warm] = field(default_factory=list)
    throughput: Warm | None = None
    """A run that was fed as fast as it takes frames; None where that was not measured."""

    @property
    def overall(self) -> Figures:
        """Figures of all repetitions."""
        return figures_of(self.runs)

    @property
    def origin(self) -> str:
        """What latency counts from: `intended`, or `captured` where due times are not known."""
        samples = [sample for part in self.runs for sample in part.samples]
        known = sum("intended" in sample.stamps for sample in samples)
        if known == len(samples):
            return "intended"
        return "captured" if not known else f"intended in {known} of {len(samples)} frames"


def measure(config: Config, parts: str, browser: Browser | None = None) -> Run:
    """Run a pipeline to its end and return what a subscriber saw of it.

    Args:
        config: The run; where it publishes is replaced by a socket of our own, the page is off.
        parts: `module:attribute` of what the stages carry.
        browser: Shows the page, which is on then, and says what it painted.

    Raises:
        MaskcastError: The run failed; the first line of its report.
        InterruptedRun: Somebody ended it.
    """
    folder = Path(tempfile.mkdtemp(prefix="maskcast-bench-"))
    try:
        endpoint = f"ipc://{folder}/masks"
        run_config = config.model_copy(
            update={
                "publish": config.publish.model_copy(
                    update={"endpoint": endpoint, "high_water_mark": HIGH_WATER_MARK}
                ),
                "control": config.control.model_copy(update={"endpoint": None}),
                "web": config.web.model_copy(update=_web(browser is not None)),
            }
        )
        started_ns = time.monotonic_ns()
        with Collector(endpoint, config.stream) as collector:
            visitor = Visitor(browser) if browser is not None else None
            report = pipeline.run(run_config, visitor, parts=parts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if report.exit == INTERRUPTED:
        raise InterruptedRun
    if report.exit:
        error = MaskcastError(report.errors[0] if report.errors else "the run failed")
        error.exit_status = report.exit
        raise error
    samples, page = collector.samples(), None
    if browser is not None:
        samples, page = _painted(samples, browser)
    return Run(
        samples,
        report.source.get("fps"),
        bool(report.source.get("live")),
        report,
        started_ns,
        page,
    )


def _web(shown: bool) -> dict[str, Any]:
    """Return the section of a page that only our own browser is to see, or of none."""
    return {"enabled": shown, "host": "127.0.0.1", "port": 0, "control": False}


def _painted(samples: list[Sample], browser: Browser) -> tuple[list[Sample], dict[str, Any]]:
    """Ask the browser what it painted, and when."""
    clock, paints = browser.clock(), browser.paints()
    if not paints:
        raise MaskcastError("the browser painted nothing; give it more --seconds")
    facts = {
        "browser": browser.version,
        "paints": len(paints),
        "clock_error_ms": round(clock.error_ns / 1e6, 4),
    }
    return join(samples, paints, clock), facts


def measure_all(
    points: Sequence[Point], repeat: int, parts: str, browser: Browser | None = None
) -> Iterator[tuple[Point, int]]:
    """Measure all loads, interleaved: every load once, then every load again.

    What the machine does beside us drifts; interleaved, it touches all loads alike.

    Args:
        points: Filled with what was measured.
        repeat: Repetitions of each.
        parts: `module:attribute` of what the stages carry.
        browser: Shows the page of each.

    Yields:
        Each load and the number of its repetition, from 1, after it was measured.

    Raises:
        MaskcastError: A run failed, or no frame came.
    """
    for number in range(1, repeat + 1):
        for point in points:
            run = measure(point.config, parts, browser)
            if not run.samples:
                raise MaskcastError(
                    f"{point.config.seconds or 0:g} s brought no result; give it more --seconds"
                )
            point.runs.append(warm(run))
            yield point, number


def measure_throughput(point: Point, parts: str) -> None:
    """Measure how many frames a second a load takes when it is fed as it asks (closed loop)."""
    config = point.config.model_copy(deep=True)
    config.source.uri = with_field(config.source.uri, "live", "0")
    config.seconds = min(config.seconds or THROUGHPUT_S, THROUGHPUT_S)
    run = measure(config, parts)
    if run.samples:
        point.throughput = warm(run)


def has_throughput(config: Config) -> bool:
    """Return whether a load can be fed as fast as it takes frames: drawn ones can."""
    return scheme_of(config.source.uri) in ("clock", "demo") and config.source.policy == "auto"


def with_field(uri: str, name: str, value: str) -> str:
    """Return an address with a query field set."""
    parts = urlsplit(uri)
    fields = dict(parse_qsl(parts.query, keep_blank_values=True)) | {name: value}
    head = uri.partition("?")[0]
    return f"{head}?{urlencode(fields)}"


def sweep(config: Config, texts: Sequence[str]) -> list[Point]:
    """Return the loads of a sweep: every combination of `key=v1,v2,...`.

    Args:
        config: What they have in common.
        texts: `key=v1,v2`; a key is a dotted one of the configuration, or `source.FIELD` for a
            field of the source's address such as `source.width`.

    Raises:
        UsageError: A text is not of that form, or a key or value is not accepted.
    """
    points = [Point("", config)]
    for text in texts:
        key, found, listed = text.partition("=")
        values = [value.strip() for value in listed.split(",") if value.strip()]
        if not found or not key or not values:
            raise UsageError(f"--sweep {text!r} is not accepted; give KEY=VALUE,VALUE,...")
        points = [
            Point(
                " ".join([*([point.name] if point.name else []), f"{key}={value}"]),
                _with(point.config, key, value),
            )
            for point in points
            for value in values
        ]
    return points


def _with(config: Config, key: str, value: str) -> Config:
    import yaml

    from stream.config import SourceConfig, check

    data: dict[str, Any] = config.model_dump(mode="json")
    section, _, name = key.partition(".")
    if section == "source" and name and name not in SourceConfig.model_fields:
        data["source"]["uri"] = with_field(config.source.uri, name, value)
        return check(data)
    inner = data
    *parents, last = key.split(".")
    for parent in parents:
        found = inner.get(parent)
        if not isinstance(found, dict):
            raise UsageError(f"--sweep {key}: there is no section {parent!r} to set it in")
        inner = found
    inner[last] = yaml.safe_load(value)
    return check(data)
