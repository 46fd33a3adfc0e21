"""How `maskcast watch` shows messages: plain lines, JSON lines, or a live table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TextIO

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream.sinks.jsonl import to_line
from stream.sinks.palette import hex_of
from stream.wire import Message, WireObject

LATENCIES = 300


@dataclass(slots=True)
class Tally:
    """Counts received and missed frames of one stream.

    A frame that the run itself dropped was never published, so it is not missed. Numbers that
    begin again mean a new run.
    """

    received: int = 0
    missed_before: int = 0
    first: Message | None = None
    last: Message | None = None
    in_run: int = 0

    def add(self, message: Message) -> None:
        """Count one message."""
        if self.last is None or message.frame <= self.last.frame:
            self.missed_before = self.missed
            self.first, self.in_run = message, 0
        self.last = message
        self.received += 1
        self.in_run += 1

    @property
    def missed(self) -> int:
        """Published frames that did not arrive here."""
        if self.first is None or self.last is None:
            return 0
        passed = self.last.frame - self.first.frame + 1
        dropped = sum(self.last.dropped.values()) - sum(self.first.dropped.values())
        return self.missed_before + max(passed - self.in_run - dropped, 0)


@dataclass(slots=True)
class Arrival:
    """A message with what is known about its way."""

    message: Message
    latency_ms: float | None
    """Time since capture; None where publisher and reader do not share a clock."""
    received: int
    missed: int


class View(Protocol):
    """Shows arrivals."""

    def show(self, arrival: Arrival) -> None:
        """Show one."""

    def note(self, text: str) -> None:
        """Show a line about the stream."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def shown(message: Message) -> list[WireObject]:
    """Return the confirmed objects, by id."""
    found = (item for item in message.objects if item.state == "confirmed")
    return sorted(found, key=lambda item: item.id)


def counts_of(message: Message) -> dict[str, int]:
    """Return the number of confirmed objects per label."""
    counts: dict[str, int] = {}
    for item in shown(message):
        counts[item.label] = counts.get(item.label, 0) + 1
    return counts


@dataclass(slots=True)
class PlainLines:
    """One line a frame, for pipes and logs."""

    out: TextIO
    err: TextIO

    def show(self, arrival: Arrival) -> None:
        """Print one line: frame, latency, objects per label, ids, frames missed so far."""
        message = arrival.message
        late = "-" if arrival.latency_ms is None else f"{arrival.latency_ms:.1f}"
        labels = ", ".join(f"{label} {count}" for label, count in counts_of(message).items())
        ids = " ".join(str(item.id) for item in shown(message))
        self.out.write(
            f"frame {message.frame}  latency {late} ms  objects {len(shown(message))}"
            f"  [{labels}]  ids [{ids}]  missed {arrival.missed}\n"
        )
        self.out.flush()

    def note(self, text: str) -> None:
        """Print a line beside the data."""
        self.err.write(f"{text}\n")
        self.err.flush()

    def close(self) -> None:
        """Do nothing."""


@dataclass(slots=True)
class JsonLines(PlainLines):
    """One JSON object a line, as the recorder writes them."""

    def show(self, arrival: Arrival) -> None:
        """Print the whole message."""
        self.out.write(to_line(arrival.message).decode())
        self.out.flush()


@dataclass(slots=True)
class LiveTable:
    """A table that is drawn anew, for a terminal."""

    console: Console
    endpoint: str
    clock_s: Callable[[], float]
    _live: Live = field(init=False)
    _latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    _times_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    _note: str = ""
    _last: Arrival | None = None

    def __post_init__(self) -> None:
        self._live = Live(console=self.console, refresh_per_second=8, transient=False)
        self._live.start()

    def show(self, arrival: Arrival) -> None:
        """Draw the newest frame."""
        self._note, self._last = "", arrival
        self._times_s.append(self.clock_s())
        if arrival.latency_ms is not None:
            self._latencies_ms.append(arrival.latency_ms)
        self._live.update(self.render())

    def note(self, text: str) -> None:
        """Draw a line about the stream."""
        self._note = text
        self._live.update(self.render())

    def close(self) -> None:
        """Leave the last table standing."""
        self._live.stop()

    def render(self) -> Group:
        """Return what is drawn."""
        note = [Text(self._note, style="yellow")] if self._note else []
        if self._last is None:
            return Group(Text(f"waiting for {self.endpoint}", style="dim"), *note)
        return Group(self._head(self._last), self._objects(self._last.message), *note)

    def _head(self, arrival: Arrival) -> Text:
        message = arrival.message
        late = "-"
        if self._latencies_ms:
            p50, p90 = np.percentile(self._latencies_ms, (50, 90))
            late = f"p50 {p50:.1f} p90 {p90:.1f} ms"
        span_s = self._times_s[-1] - self._times_s[0]
        fps = f"{(len(self._times_s) - 1) / span_s:.1f}" if span_s > 0 else "-"
        counts = "  ".join(f"{label} {count}" for label, count in counts_of(message).items())
        return Text.assemble(
            (message.stream, "bold"),
            (f"  {counts or 'no objects'}", "bold cyan"),
            f"  frame {message.frame}  fps {fps}  latency {late}",
            f"  dropped {sum(message.dropped.values())}  missed {arrival.missed}",
        )

    def _objects(self, message: Message) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("id", "label", "score", "area px", "box x0 y0 x1 y1"):
            table.add_column(name, justify="left" if name == "label" else "right", no_wrap=True)
        rows = shown(message)
        room = max(self.console.height - 5, 1)
        for item in rows[:room]:
            table.add_row(
                Text(f" {item.id} ", style=f"black on {hex_of(item.id)}"),
                Text(item.label),
                f"{item.score:.2f}",
                str(item.area),
                " ".join(str(edge) for edge in item.box),
            )
        if len(rows) > room:
            table.add_row("", Text(f"and {len(rows) - room} more", style="dim"))
        return table
