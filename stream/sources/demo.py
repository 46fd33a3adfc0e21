"""`demo://cells`: the drawn microscope film, live on its own clock or frame by frame."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.frame import Frame
from stream.sources.film_address import OWN_KINDS, parse_film
from stream.sources.frames import FrameMaker
from stream.synth import CellFilm, FilmFrame


class DemoSource:
    """A film of cells with known truth.

    Live, frame k is due at start + k / fps whether it is read or not: frames whose successor is
    already due are not drawn, and counted as `overrun`. With `live=0` every frame is given as
    fast as it is read.

    Args:
        config: Its URI and normalisation are used.
        now_ns: The clock.

    Attributes:
        truth: The film's frame behind the last frame given, with its true ids.

    Raises:
        UsageError: The address or a query field is not accepted.
    """

    def __init__(self, config: SourceConfig, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        address = parse_film(config.uri, OWN_KINDS)
        self.name = config.uri
        self.live = address.live
        self.fps: float | None = address.spec.fps
        self.frames_total = address.frames_total
        self.counters = {"overrun": 0}
        self.truth: FilmFrame | None = None
        self._spec = address.spec
        self._film: CellFilm | None = None
        self._maker = FrameMaker(self.name, config.normalize)
        self._now_ns = now_ns
        self._start_ns: int | None = None
        self._next = 0
        self._queue: deque[Frame | StreamEvent] = deque()

    @property
    def ever(self) -> int:
        """Number of cells that could be seen so far."""
        return self._film.ever if self._film else 0

    def open(self) -> None:
        """Make the film; its time starts with the first read."""
        self._film = CellFilm(self._spec)

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        """Return the next frame or event; None at the end or when stopped."""
        if stop.is_set():
            return None
        if not self._queue and not self._fetch(stop):
            return None
        return self._queue.popleft()

    def close(self) -> None:
        """Nothing is held; the truth stays readable."""

    def report(self) -> dict[str, Any]:
        """Return the number of cells that really were there."""
        return {"true_objects_ever": self.ever}

    def _fetch(self, stop: threading.Event) -> bool:
        assert self._film is not None, "open() comes first"
        lost = self._skip_overdue(self._film) if self.live else 0
        if self.frames_total is not None and self._next >= self.frames_total:
            return False
        captured_ns = self._now_ns()
        film_frame = self._film.frame()
        if self.live:
            captured_ns = self._due_ns(self._next)
            wait_s = (captured_ns - self._now_ns()) / 1e9
            if wait_s > 0 and stop.wait(wait_s):
                return False
        self.truth = film_frame
        self._next += 1
        self._queue.extend(self._maker.make(film_frame.image, film_frame.time_s, captured_ns, lost))
        return True

    def _due_ns(self, index: int) -> int:
        assert self._start_ns is not None
        return self._start_ns + round(index / self._spec.fps * 1e9)

    def _skip_overdue(self, film: CellFilm) -> int:
        """Let the film run on past frames whose successor is already due; return how many."""
        now_ns = self._now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        newest = int((now_ns - self._start_ns) / 1e9 * self._spec.fps)
        if self.frames_total is not None:
            newest = min(newest, self.frames_total)
        skipped = max(0, newest - self._next)
        if skipped:
            film.skip(skipped)
            self._next += skipped
            self.counters["overrun"] += skipped
        return skipped
