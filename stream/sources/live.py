"""A live source that comes back: cameras over RTSP, MJPEG over HTTP, video devices.

What FFmpeg does on faults decides the form of this file: a server that dies ends the stream
without an error, one that hangs blocks until the timeout, and what lay in buffers during a stall
comes out late.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from stream.av_io import MediaError, Picture, VideoInput
from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.errors import SourceError, UsageError
from stream.frame import Frame
from stream.sources.backoff import Backoff
from stream.sources.clock import StreamClock, Timing
from stream.sources.connect import Address, address_of, explain
from stream.sources.frames import FrameMaker


class Input(Protocol):
    """What a live source needs of `VideoInput`."""

    fps: float | None
    duration_s: float | None
    before_keyframe: int

    def read(self) -> list[Picture] | None:
        """Return the next packet's pictures, None when the connection ended."""

    def close(self) -> None:
        """Free everything."""


_END_S: Final = 1.0
"""A film that ends this close to its length has ended."""

Connect = Callable[[Address, SourceConfig], Input]


def connect(address: Address, config: SourceConfig) -> Input:
    """Open an address with FFmpeg.

    Raises:
        MediaError: It did not open within its time.
    """
    return VideoInput(
        address.url,
        container_format=address.container_format,
        options=address.options,
        timeout_s=(config.open_timeout_s, config.read_timeout_s),
        wait_for_keyframe=True,
    )


class LiveSource:
    """Frames as they come, with every loss counted.

    The first `open` fails at once where the server refuses; later failures are tried again until
    `reconnect.give_up_after_s`. A read that waits for the network cannot be interrupted: after
    `stop` is set, `read` returns within `read_timeout_s` (or `open_timeout_s` while it connects);
    who cannot wait that long ends the process.

    Args:
        config: Address, timeouts, age limit and reconnection.
        connect: Opens the address.
        now_ns: The clock.
        rng: Jitter of the delays between attempts.

    Raises:
        UsageError: The address is not accepted.
    """

    live = True

    def __init__(
        self,
        config: SourceConfig,
        connect: Connect = connect,
        now_ns: Callable[[], int] = time.monotonic_ns,
        rng: random.Random | None = None,
    ) -> None:
        self._address = address_of(config)
        self.name = self._address.name
        self.fps: float | None = None
        self.frames_total: int | None = None
        self.counters = dict.fromkeys(
            ("stale", "before_keyframe", "corrupt", "lost", "reconnects"), 0
        )
        self._config = config
        self._connect = connect
        self._now_ns = now_ns
        self._maker = FrameMaker(self.name, config.normalize)
        self._backoff = Backoff(config.reconnect, rng or random.Random())
        self._input: Input | None = None
        self._clock = StreamClock(config.stale_after_s, None)
        self._queue: deque[Frame | StreamEvent] = deque()
        self._lost = 0
        self._gate_counted = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._reconnecting = False
        self._why = ""
        self._attempt = ""
        self._pts_s = 0.0
        self._ended = False

    @property
    def reconnecting(self) -> bool:
        """Whether the connection is gone and no frame has come of a new one yet."""
        return self._reconnecting

    def open(self) -> None:
        """Connect for the first time.

        Raises:
            SourceError: Refused, unreachable, silent, unauthorised or no video.
            UsageError: The address is a film with an end.
        """
        try:
            self._attach(self._connect(self._address, self._config))
        except MediaError as error:
            raise explain(self._address, error, self._config.open_timeout_s) from None
        length_s = self._input.duration_s if self._input else None
        if length_s and self.name.startswith("http"):
            self.close()
            raise UsageError(
                f"{self.name}: is a film of {length_s:.0f} s, not a live stream; download it and "
                "give its path"
            )

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        """Return the next frame or event; None after `stop`, or when an RTSP film has ended.

        Raises:
            SourceError: Broken for longer than `reconnect.give_up_after_s`.
        """
        while not stop.is_set():
            if self._queue:
                return self._queue.popleft()
            if self._ended:
                return None
            if self._input is None:
                self._try_again(stop)
            else:
                self._fetch(self._input)
        return None

    def close(self) -> None:
        """Free the connection; may be called twice."""
        if self._input is not None:
            self._input.close()
        self._input = None

    def report(self) -> dict[str, Any]:
        """Return facts for the run's report; a live source has none but its counters."""
        return {}

    def _attach(self, opened: Input) -> None:
        self._input = opened
        self.fps = opened.fps or self.fps
        self._clock = StreamClock(self._config.stale_after_s, opened.fps)
        self._gate_counted = 0

    def _fetch(self, source: Input) -> None:
        try:
            pictures = source.read()
        except MediaError as error:
            if error.kind == "damaged":
                self.counters["corrupt"] += 1
                return
            self._detach(error.detail if error.kind != "timeout" else "no frames came")
            return
        finally:
            gated = source.before_keyframe - self._gate_counted
            self.counters["before_keyframe"] += gated
            self._gate_counted += gated
        if pictures is None:
            # A server that dies looks the same as a film that ends, but for the time.
            length_s = source.duration_s
            self._ended = bool(length_s) and self._pts_s > (length_s or 0.0) - _END_S
            self._detach("the connection ended")
            return
        for picture in pictures:
            self._take(picture)

    def _take(self, picture: Picture) -> None:
        now_ns = self._now_ns()
        self._backoff.works()
        if picture.pts_s is None:
            timing = Timing(now_ns, 0.0, False, 0, False)
        else:
            timing = self._clock.observe(picture.pts_s, now_ns)
            self._pts_s = picture.pts_s
        self.counters["lost"] += timing.lost
        self._lost += timing.lost
        if timing.stale:
            self.counters["stale"] += 1
            self._lost += 1
            return
        self._announce_gap(timing)
        # One line of time for the whole run: a new connection starts its own clock at 0.
        if self._first_ns is None:
            self._first_ns = timing.captured_ns
        captured_ns = max(timing.captured_ns, (self._last_ns or 0) + 1)
        pts_s = (captured_ns - self._first_ns) / 1e9
        made = self._maker.make(picture.image, pts_s, captured_ns, self._lost)
        for item in made:
            if isinstance(item, Frame):
                item.stamps["decoded"] = now_ns
        self._queue.extend(made)
        self._lost = 0
        self._last_ns = captured_ns

    def _announce_gap(self, timing: Timing) -> None:
        gap_s = (timing.captured_ns - self._last_ns) / 1e9 if self._last_ns is not None else 0.0
        if self._reconnecting:
            self._reconnecting = False
            self.counters["reconnects"] += 1
            detail = f"{self._why}; connected again after {gap_s:.1f} s"
        elif self._last_ns is not None and gap_s > self._config.stale_after_s:
            detail = f"no usable frame for {gap_s:.1f} s"
        elif timing.new_clock:
            detail = "the times of the stream jumped"
        else:
            return
        self._queue.append(StreamEvent("gap", detail, gap_s=max(gap_s, 0.0)))

    def _detach(self, why: str) -> None:
        self.close()
        if not self._reconnecting:
            self._why = why
        self._reconnecting = True
        self._backoff.broke(self._now_ns())

    def _try_again(self, stop: threading.Event) -> None:
        if self._backoff.gives_up(self._now_ns()):
            limit_s = self._config.reconnect.give_up_after_s
            raise SourceError(
                f"{self.name}: gone ({self._why}) and not back within {limit_s:g} s"
                f"{self._attempt}; check the camera, or raise "
                "source.reconnect.give_up_after_s (0 waits for ever)"
            )
        if stop.wait(self._backoff.next_delay_s()):
            return
        try:
            self._attach(self._connect(self._address, self._config))
        except MediaError as error:
            self._attempt = f" (last attempt: {error.detail or error.kind})"
