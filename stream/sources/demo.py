"""`demo://cells`: the drawn microscope film, live on its own clock or frame by frame."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.errors import UsageError
from stream.frame import Frame
from stream.sources.frames import FrameMaker
from stream.synth import CellFilm, CellFilmSpec, FilmFrame

_SPEC_KINDS: Final[dict[str, str]] = {
    item.name: str(item.type) for item in dataclasses.fields(CellFilmSpec)
}
_OWN: Final = {"live": "bool", "frames": "int", "seconds": "float"}
_WORDS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


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
        spec, own = parse_demo(config.uri)
        self.name = config.uri
        self.live = bool(own.get("live", True))
        self.fps: float | None = spec.fps
        limits = [own["frames"]] if "frames" in own else []
        if "seconds" in own:
            limits.append(max(1, round(own["seconds"] * spec.fps)))
        self.frames_total: int | None = min(limits) if limits else None
        self.counters = {"overrun": 0}
        self.truth: FilmFrame | None = None
        self._spec = spec
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


def parse_demo(uri: str) -> tuple[CellFilmSpec, dict[str, Any]]:
    """Read a demo address; see `parse_film`."""
    return parse_film(uri, _OWN)


def parse_film(uri: str, kinds: Mapping[str, str]) -> tuple[CellFilmSpec, dict[str, Any]]:
    """Read the address of a drawn film.

    Args:
        uri: `scheme://cells?field=value&...`.
        kinds: Fields beside those of the film, and whether each is `bool`, `int` or `float`.

    Returns:
        The film's spec, and those other fields that were given.

    Raises:
        UsageError: The film, a field or a value is not accepted.
    """
    parts = urlsplit(uri)
    if parts.netloc != "cells" or parts.path not in ("", "/"):
        raise UsageError(f"{uri}: no such film; accepted is {parts.scheme}://cells")
    accepted = ", ".join([*_SPEC_KINDS, *kinds])
    spec: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key in _SPEC_KINDS:
            spec[key] = _value(uri, key, text, _SPEC_KINDS[key])
        elif key in kinds:
            own[key] = _value(uri, key, text, kinds[key])
        else:
            raise UsageError(f"{uri}: no such field {key!r}; accepted are {accepted}")
    for key in ("frames", "seconds"):
        if key in own and not 0 < own[key] < 1e9:
            raise UsageError(f"{uri}: {key}={own[key]} is not accepted; it must be more than 0")
    try:
        return CellFilmSpec(**spec), own
    except ValueError as error:
        raise UsageError(f"{uri}: {error}") from error


def _value(uri: str, key: str, text: str, kind: str) -> Any:
    try:
        if kind == "bool":
            return _WORDS[text.lower()]
        if kind == "int":
            return int(text)
        return float(text) if kind.startswith("float") else text
    except (ValueError, KeyError):
        wanted = {"bool": "0 or 1", "int": "a whole number"}.get(kind, "a number")
        raise UsageError(f"{uri}: {key}={text!r} is not accepted; {wanted} is needed") from None
