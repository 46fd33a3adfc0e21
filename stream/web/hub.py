"""Between the sink's thread and the server's loop: the newest view, made only when wanted."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from stream.frame import Frame, Masks
from stream.sinks.overlay import draw_overlay
from stream.web.board import Board

IDLE_KEEP_S = 1.0
MAX_CLIENTS = 16
MAX_SIDE_PX = 1600

Rgb = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class View:
    """One frame taken for the page, with the figures that belong to it."""

    number: int
    rgb: Rgb
    """(H, W, 3) uint8, the view's own copy."""
    masks: Masks
    summary: dict[str, Any]
    history: dict[str, Any]


def to_jpeg(rgb: Rgb, masks: Masks, quality: int) -> bytes:
    """Return the overlay as JPEG, scaled down where a side exceeds `MAX_SIDE_PX`.

    Args:
        rgb: (H, W, 3) uint8.
        masks: Result for this frame.
        quality: 1 to 95.
    """
    image = Image.fromarray(draw_overlay(rgb, masks))
    if max(image.size) > MAX_SIDE_PX:
        image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    # Full colour resolution: outlines of two pixels blur without it.
    image.save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


class Hub:
    """Holds the newest view; clients wait for it, and one encoding serves them all.

    A frame is copied only when a client waits for one, at most `max_fps` times a second, or once
    a second so that a page opened during a stall has a picture. Nothing is drawn or encoded until
    somebody asks.
    """

    def __init__(
        self, board: Board, max_fps: float, jpeg_quality: int, clock_ns: Callable[[], int]
    ) -> None:
        self.clients = 0
        self.encoded = 0
        self.closed = False
        self._board = board
        self._gap_ns = round(1e9 / max_fps)
        self._jpeg_quality = jpeg_quality
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._empty = threading.Event()
        self._empty.set()
        self._waiting = 0
        self._view: View | None = None
        self._taken_ns = self._due_ns = -(1 << 62)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="web-jpeg")
        self._jpeg: tuple[int, asyncio.Future[bytes]] | None = None

    def offer(self, frame: Frame, masks: Masks) -> None:
        """Take a result; the sink's thread calls this for every frame."""
        now_ns = self._clock_ns()
        with self._lock:
            self._board.add(masks, now_ns)
            idle = now_ns - self._taken_ns >= IDLE_KEEP_S * 1e9
            if not (idle or (self._waiting and now_ns >= self._due_ns)):
                return
            # Steps on a schedule: waiting for a full gap each time would halve 30 fps to 10.
            self._due_ns = max(self._due_ns + self._gap_ns, now_ns - self._gap_ns // 2)
            self._taken_ns = now_ns
            number = self._view.number + 1 if self._view else 1
            summary, history = self._board.summary(now_ns), self._board.history()
            self._view = View(number, np.array(frame.rgb), masks, summary, history)
        self._wake_soon()

    def finish(self) -> None:
        """End: every client is told, and no frame is taken any more."""
        with self._lock:
            self._board.end()
            self.closed = True
        self._wake_soon()

    def status(self) -> dict[str, Any]:
        """Return the figures that need no new frame."""
        with self._lock:
            return self._board.status(self._clock_ns())

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop that the clients run in."""
        self._loop = loop

    def detach(self) -> None:
        """Say that the loop has ended."""
        self._loop = None
        self._pool.shutdown(wait=False, cancel_futures=True)

    def enter(self) -> bool:
        """Count a client in; False when there are too many."""
        if self.closed or self.clients >= MAX_CLIENTS:
            return False
        self.clients += 1
        self._empty.clear()
        return True

    def leave(self) -> None:
        """Count a client out."""
        self.clients -= 1
        if self.clients == 0:
            self._empty.set()

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait in another thread until no client is left; False after the timeout."""
        return self._empty.wait(timeout_s)

    @property
    def newest(self) -> View | None:
        """The newest view, however old."""
        return self._view

    async def next(self, after: int, timeout_s: float) -> View | None:
        """Wait for a view newer than number `after`.

        Returns:
            The newest one, or None after the timeout and at the end.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while not self.closed:
                    view, changed = self._view, self._changed
                    if view is not None and view.number > after:
                        return view
                    await changed.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        return None

    async def until_closed(self) -> None:
        """Wait for the end."""
        while not self.closed:
            await self._changed.wait()

    async def jpeg(self, view: View) -> bytes:
        """Return the view's picture, encoded once for all clients."""
        if self._jpeg is None or self._jpeg[0] != view.number:
            self.encoded += 1
            job = asyncio.get_running_loop().run_in_executor(
                self._pool, to_jpeg, view.rgb, view.masks, self._jpeg_quality
            )
            self._jpeg = (view.number, job)
        # One client that leaves must not cancel the picture of the others.
        return await asyncio.shield(self._jpeg[1])

    def _wake_soon(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            self._loop = None  # The server has ended; there is nobody to wake.

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
