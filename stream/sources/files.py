"""What all sources that end by themselves share: damage, numbering, end."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.frame import Frame, Image
from stream.sources.frames import Damage, FrameMaker


class UnreadableError(Exception):
    """One image of a file could not be decoded; the next one may be."""


class FileSource:
    """A source that waits for its reader. Kinds of files fill in `_start`, `_next` and `close`.

    Args:
        name: What to print.
        config: Its normalisation is used.
        fps: Nominal rate, used for times where the file has none.
        unit: What the file calls a frame, for messages.
    """

    live = False

    def __init__(self, name: str, config: SourceConfig, fps: float, unit: str = "frame") -> None:
        self.name = name
        self.fps: float | None = fps
        self.frames_total: int | None = None
        self.counters: dict[str, int] = {}
        self._maker = FrameMaker(name, config.normalize)
        self._damage = Damage(name, self.counters, unit)
        self._queue: deque[Frame | StreamEvent] = deque()
        self._draining = False

    def open(self) -> None:
        """Open and decode the first frame, so that a bad file is known before models are loaded.

        Raises:
            UsageError: It is missing, of a kind that is not accepted, or holds no good frame.
        """
        self._start()
        self._fetch()

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        """Return the next frame or event, None at the end.

        Raises:
            SourceError: The end of the file is damaged; all good frames were given before.
        """
        if stop.is_set():
            return None
        if not self._queue:
            self._fetch()
        return self._queue.popleft() if self._queue else None

    def close(self) -> None:
        """Free everything."""

    def report(self) -> dict[str, Any]:
        """Return facts for the run's report; a file has none."""
        return {}

    def _start(self) -> None:
        """Open the file and fill in `fps` and `frames_total`."""
        raise NotImplementedError

    def _next(self) -> tuple[Image, float | None] | None:
        """Return the next image and its time in seconds, or None at the end.

        Raises:
            UnreadableError: This one is damaged.
        """
        raise NotImplementedError

    def _fetch(self) -> None:
        while True:
            try:
                item = self._next()
            except UnreadableError as error:
                self._damage.bad(str(error))
                continue
            if item is None:
                self._damage.at_end(self._maker.made, self.frames_total)
                return
            image, pts_s = item
            if pts_s is None:
                pts_s = self._maker.made / (self.fps or 1.0)
            # What the decoder held back is from before the damage and does not mend the end.
            lost = 0 if self._draining else self._damage.good()
            self._queue.extend(self._maker.make(image, pts_s, time.monotonic_ns(), lost))
            return
