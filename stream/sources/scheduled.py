"""`clock://`: frames on an absolute schedule that nothing behind can slow down, each with its time.

For measurements. Frame k is due at start + k / fps and is given then, however busy the run is: it
is never left out and its due time never moves, so that a latency counted from there has no gaps
where the pipeline was slow. The pictures are drawn beforehand and run back and forth.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import numpy.typing as npt

from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.errors import UsageError
from stream.frame import Frame
from stream.sources.film_address import OWN_KINDS, FilmAddress, parse_film
from stream.sources.frames import FrameMaker
from stream.sources.video import VideoSource
from stream.synth import CellFilm, CellFilmSpec
from stream.synth.timecode import TimeCode, check_fits, draw_timecode

_KINDS: Final = {**OWN_KINDS, "loop": "int", "code": "bool"}
_LOOP_FRAMES: Final = 120
_LOOP_BYTES: Final = 128 * 2**20
_NO_LESS: Final = 2

Rgb = npt.NDArray[np.uint8]


class Loop:
    """The drawn film, back and forth without a cut, so that it never ends and costs nothing."""

    def __init__(self, spec: CellFilmSpec, frames: int | None) -> None:
        fits = _LOOP_BYTES // (spec.width * spec.height * 3)
        self._count = max(_NO_LESS, frames or min(_LOOP_FRAMES, fits))
        self._spec = spec
        self._images: list[Rgb] = []

    def open(self) -> None:
        """Draw it."""
        film = CellFilm(self._spec)
        self._images = [film.frame().image.astype(np.uint8, copy=False) for _ in range(self._count)]

    def image(self, index: int) -> Rgb | None:
        """Return a copy of the picture of a frame, (H, W, 3) uint8."""
        place = index % (2 * self._count - 2)
        return self._images[min(place, 2 * self._count - 2 - place)].copy()

    def close(self) -> None:
        """Free it."""
        self._images = []


class Paced:
    """A video file, decoded frame by frame when each is due."""

    def __init__(self, path: str, config: SourceConfig) -> None:
        self._source = VideoSource(path, config)
        self._stop = threading.Event()

    def open(self) -> None:
        """Open the file."""
        self._source.open()

    def image(self, index: int) -> Rgb | None:
        """Decode the next frame; None at the end."""
        item = self._source.read(self._stop)
        while isinstance(item, StreamEvent):
            item = self._source.read(self._stop)
        return None if item is None else np.array(item.rgb)

    def close(self) -> None:
        """Free the file."""
        self._source.close()


class ScheduledSource:
    """Frames at their due times, to whoever reads.

    `clock://cells?...` takes the fields of `demo://cells`, and `loop` (frames drawn beforehand),
    `code=0` (no time code in the picture) and `live=0` (no schedule: as fast as it is read, for
    throughput). `clock:///path/film.mp4?fps=30` plays a file; decoding is then part of what is
    measured.

    A frame carries `captured_ns` and the stamp `intended`, its due time, and the stamp `captured`,
    when it was really given.

    Args:
        config: Its URI and normalisation are used.
        now_ns: The clock.

    Raises:
        UsageError: The address or a field is not accepted.
    """

    def __init__(self, config: SourceConfig, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        address, path = parse_clock(config.uri)
        spec, own = address.spec, address.own
        self.name = config.uri
        self.live = address.live
        self.fps: float | None = spec.fps
        self.frames_total = address.frames_total
        self.counters: dict[str, int] = {}
        self._rate = spec.fps
        self._code = bool(own.get("code", True))
        self._film: Loop | Paced = Paced(path, config) if path else Loop(spec, own.get("loop"))
        self._decodes = bool(path)
        self._maker = FrameMaker(self.name, config.normalize)
        self._now_ns = now_ns
        self._start_ns: int | None = None
        self._next = 0
        self._late_ns = 0
        self._queue: deque[Frame | StreamEvent] = deque()

    def open(self) -> None:
        """Draw the loop, or open the file; time starts with the first read."""
        self._film.open()

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        """Return the next frame when it is due; None at the end or when stopped."""
        if not self._queue and not self._fetch(stop):
            return None
        return self._queue.popleft()

    def close(self) -> None:
        """Free the pictures; may be called twice."""
        self._film.close()

    def report(self) -> dict[str, Any]:
        """Return how late a frame was given at most: by the machine, as nothing else can."""
        return {"latest_ms": round(self._late_ns / 1e6, 3)}

    def _fetch(self, stop: threading.Event) -> bool:
        if stop.is_set() or self._next == self.frames_total:
            return False
        stamps: dict[str, int] = {}
        # Drawn pictures are made ready before they are due; a file is decoded after.
        image = None if self._decodes else self._film.image(self._next)
        due_ns = self._due_ns()
        if image is not None:
            self._sign(image, due_ns)
        while self.live and (left_ns := due_ns - self._now_ns()) > 0:
            if stop.wait(left_ns / 1e9):
                return False
        stamps["intended"], stamps["captured"] = due_ns, self._now_ns()
        self._late_ns = max(self._late_ns, stamps["captured"] - due_ns)
        if self._decodes:
            image = self._film.image(self._next)
            if image is None:
                return False
            self._sign(image, due_ns)
            stamps["decoded"] = self._now_ns()
        assert image is not None
        made = self._maker.make(image, self._next / self._rate, due_ns)
        for item in made:
            if isinstance(item, Frame):
                item.stamps.update(stamps)
        self._queue.extend(made)
        self._next += 1
        return True

    def _due_ns(self) -> int:
        if self._start_ns is None or not self.live:
            self._start_ns = self._now_ns()
        if not self.live:
            return self._start_ns
        return self._start_ns + round(self._next / self._rate * 1e9)

    def _sign(self, image: Rgb, due_ns: int) -> None:
        if self._code:
            draw_timecode(image, TimeCode(due_ns // 1000, self._next))


def parse_clock(uri: str) -> tuple[FilmAddress, str]:
    """Read a clock address.

    Returns:
        What it says, and the path of a file or "".

    Raises:
        UsageError: The film, a field or a value is not accepted.
    """
    parts = urlsplit(uri)
    path = parts.path if not parts.netloc and parts.path != "/" else ""
    given = {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if path and (foreign := given - {"fps", "live", "frames", "seconds", "code"}):
        raise UsageError(
            f"{uri}: no such field {min(foreign)!r}; accepted for a file are fps, live, frames, "
            "seconds, code"
        )
    address = parse_film(f"clock://cells?{parts.query}" if path else uri, _KINDS)
    spec, own = address.spec, address.own
    if spec.bits != 8:
        raise UsageError(f"{uri}: bits={spec.bits} is not accepted; a time code needs 8")
    if own.get("loop", _NO_LESS) < _NO_LESS:
        raise UsageError(f"{uri}: loop={own['loop']} is not accepted; it must be 2 or more")
    if own.get("code", True) and not path:
        try:
            check_fits((spec.height, spec.width))
        except ValueError as error:
            raise UsageError(f"{uri}: {error}; or ask for code=0") from error
    return address, path
