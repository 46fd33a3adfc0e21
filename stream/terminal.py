"""How a run shows itself: a live line in a terminal, plain lines in a pipe. Always on stderr."""

from __future__ import annotations

import os
import sys
import time
import webbrowser
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from stream.logs import redact
from stream.pipeline import Observer, Snapshot
from stream.report import Report

PLAIN_EVERY_S = 2.0


def where_lines(now: Snapshot) -> list[str]:
    """Return a line for each place where results go."""
    words = {
        "web": "page",
        "metrics": "metrics at",
        "publisher": "publishing at",
        "recorder": "recording to",
        "control": "listening to `maskcast ask` at",
    }
    lines = []
    for name, facts in now.sinks.items():
        place = next(iter(facts.values()), None)
        if place is not None:
            lines.append(f"{words.get(name, name)} {place}")
    return lines


def source_line(now: Snapshot) -> str:
    """Return one line about the source."""
    parts = [f"source {now.source.get('name', '')}"]
    if now.source.get("fps"):
        parts.append(f"{now.source['fps']:g} fps")
    parts.append("live" if now.source.get("live") else "every frame")
    return ", ".join(parts)


def status_line(now: Snapshot) -> str:
    """Return the run as it is now, on one line."""
    if now.state == "starting":
        waiting = ", ".join(now.waiting_for)
        return f"starting, waiting for {waiting}" if waiting else "starting"
    parts = [now.state, f"{now.published} frames", f"{now.fps:.1f} fps"]
    parts.append(f"{now.objects.get('now', 0)} objects")
    if now.latency_ms is not None:
        parts.append(f"latency {now.latency_ms:.0f} ms")
    parts.append(f"{now.detections} detections")
    parts.append(_dropped(now.dropped))
    return ", ".join(parts)


def end_line(report: Report) -> str:
    """Return what the run did, on one line."""
    frames = report.frames
    parts = [
        f"{frames['read']} frames read",
        f"{frames['published']} published",
        _dropped(report.dropped),
        f"{report.objects['ever']} objects",
    ]
    if report.latency_ms["p50"] is not None:
        parts.append(
            f"latency p50 {report.latency_ms['p50']:.0f} ms, p99 {report.latency_ms['p99']:.0f} ms"
        )
    return f"{', '.join(parts)}; {report.seconds:.1f} s"


class PlainView(Observer):
    """One line every two seconds at most."""

    def __init__(
        self,
        out: TextIO | None = None,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out or sys.stderr
        self._verbose = verbose
        self._clock = clock
        self._shown_at: float | None = None
        self._shown = ""

    def started(self, now: Snapshot) -> None:
        """See `Observer.started`."""
        for line in [source_line(now), *where_lines(now)]:
            self._say(line)

    def update(self, now: Snapshot) -> None:
        """See `Observer.update`."""
        at = self._clock()
        if self._shown_at is None or at - self._shown_at >= PLAIN_EVERY_S:
            line = status_line(now)
            if line != self._shown:
                self._shown_at, self._shown = at, line
                self._say(line)

    def note(self, stage: str, text: str) -> None:
        """See `Observer.note`."""
        self._say(f"{stage}: {text}")

    def output(self, stage: str, line: str) -> None:
        """See `Observer.output`."""
        if self._verbose:
            self._say(f"{stage}: {line}")

    def _say(self, line: str) -> None:
        print(f"maskcast: {redact(line)}", file=self._out, flush=True)


class LiveView(Observer):
    """One line that is redrawn, above it what happened."""

    def __init__(self, console: Console | None = None, verbose: bool = False) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._verbose = verbose
        self._live = Live(
            Text("starting"), console=self._console, transient=True, auto_refresh=False
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, now: Snapshot) -> None:
        """See `Observer.started`."""
        for line in [source_line(now), *where_lines(now)]:
            self._console.print(Text(redact(line), style="bold"))

    def update(self, now: Snapshot) -> None:
        """See `Observer.update`."""
        colour = {"starting": "yellow", "running": "green"}.get(now.state, "cyan")
        line = Text.assemble(("● ", colour), status_line(now), no_wrap=True, overflow="ellipsis")
        self._live.update(line, refresh=True)

    def note(self, stage: str, text: str) -> None:
        """See `Observer.note`."""
        self._console.print(Text(redact(f"{stage}: {text}"), style="yellow"))

    def output(self, stage: str, line: str) -> None:
        """See `Observer.output`."""
        if self._verbose:
            self._console.print(Text(redact(f"{stage}: {line}"), style="dim"))


class PageOpener(Observer):
    """Passes everything on to a view, and opens the page in a browser when there is a screen."""

    def __init__(self, view: Observer, open_url: Callable[[str], object] = webbrowser.open) -> None:
        self._view = view
        self._open_url = open_url

    def update(self, now: Snapshot) -> None:
        """See `Observer.update`."""
        self._view.update(now)

    def note(self, stage: str, text: str) -> None:
        """See `Observer.note`."""
        self._view.note(stage, text)

    def output(self, stage: str, line: str) -> None:
        """See `Observer.output`."""
        self._view.output(stage, line)

    def started(self, now: Snapshot) -> None:
        """See `Observer.started`."""
        self._view.started(now)
        url = now.sinks.get("web", {}).get("url")
        # Without a screen, a text browser would take over the terminal.
        if url and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            self._open_url(url)


def _dropped(dropped: dict[str, int]) -> str:
    if not dropped:
        return "none dropped"
    causes = ", ".join(f"{count} {cause}" for cause, count in dropped.items())
    return f"dropped {causes}"
