"""Encodes the overlay in a thread of its own, behind a bounded queue."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from stream.frame import Masks
from stream.sinks.overlay import draw_overlay

Rgb = npt.NDArray[np.uint8]
Policy = Literal["every", "latest"]

QUEUE_FRAMES = 8


class Writer(Protocol):
    """What encodes: `stream.av_io.VideoWriter`."""

    def write(self, rgb: Rgb, pts_s: float) -> None:
        """Encode one (H, W, 3) uint8 frame at a time in seconds."""

    def close(self) -> None:
        """Finish the file."""


MakeWriter = Callable[[Path, tuple[int, int], float], Writer]
"""Opens a file for frames of (H, W) at a nominal frame rate."""


class OverlayVideo:
    """Draws and encodes frames into `overlay.mp4`, and `overlay-2.mp4` after a change of size.

    Times in each file begin at 0 and follow the frames' `pts_s`.

    Attributes:
        frames: Frames encoded.
        behind: Frames left out because the encoder was behind (`latest` only).
        error: What stopped the encoding, or None.
        files: Files begun, in order.
    """

    def __init__(self, folder: Path, fps: float, policy: Policy, make_writer: MakeWriter) -> None:
        self.frames = 0
        self.behind = 0
        self.error: Exception | None = None
        self.files: list[Path] = []
        self._folder = folder
        self._fps = fps
        self._policy = policy
        self._make_writer = make_writer
        self._queue: queue.Queue[tuple[Rgb, Masks] | None] = queue.Queue(QUEUE_FRAMES)
        self._writer: Writer | None = None
        self._size = (0, 0)
        self._first_pts_s = 0.0
        self._last_s = 0.0
        self._thread = threading.Thread(target=self._run, name="overlay-video", daemon=True)
        self._thread.start()

    def put(self, rgb: Rgb, masks: Masks) -> None:
        """Hand over a frame; it is copied. Waits for room unless the policy is `latest`."""
        if self._policy == "latest" and self._queue.full():
            self.behind += 1
            return
        self._queue.put((np.array(rgb), masks))

    def close(self, timeout_s: float) -> bool:
        """Encode what is queued and finish the file.

        Returns:
            False when that took longer than `timeout_s`; the file then ends at a complete second.
        """
        give_up_s = time.monotonic() + timeout_s
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=timeout_s)
            except queue.Full:
                return False
            self._thread.join(max(give_up_s - time.monotonic(), 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            # After an error the queue is still emptied: whoever waits in `put` must go on.
            if self.error is None:
                self._guarded(lambda job=job: self._encode(*job))  # type: ignore[misc]
        self._guarded(self._finish)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # The thread's edge: `write` and `close` of the sink raise it.
            self.error = self.error or error

    def _encode(self, rgb: Rgb, masks: Masks) -> None:
        if self._writer is None or masks.size != self._size:
            self._finish()
            number = len(self.files) + 1
            path = self._folder / ("overlay.mp4" if number == 1 else f"overlay-{number}.mp4")
            self._writer = self._make_writer(path, masks.size, self._fps)
            self.files.append(path)
            self._size = masks.size
            self._first_pts_s, self._last_s = masks.pts_s, -1.0 / self._fps
        time_s = masks.pts_s - self._first_pts_s
        # A source that starts again sends its time back; the film goes on by one frame.
        time_s = time_s if time_s > self._last_s else self._last_s + 1.0 / self._fps
        self._writer.write(draw_overlay(rgb, masks), time_s)
        self._last_s = time_s
        self.frames += 1

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
