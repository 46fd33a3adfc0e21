"""How old a live frame is, and how many are missing before it. Pure: time is an argument.

A stream's own times run on a clock of their own. The fastest way that any of its frames took ties
that clock to ours: `reference = min(arrival - pts)`. A frame that comes later than that says is as
old as the difference. The reference creeps upward, because no two clocks run at the same rate.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

_CREEP: Final = 1e-3
"""Seconds a second by which the reference may rise; crystals differ by less than 1e-4."""
_JUMP_S: Final = 1.0
"""A step in pts that arrivals do not show by this much is a new clock, not lost frames."""
_REANCHOR_S: Final = 3.0
"""Late without catching up for this long: the delay is the stream's new normal."""
_LOST_FROM: Final = 1.5
_INTERVALS: Final = 31


@dataclass(frozen=True, slots=True)
class Timing:
    """What the clock says about one frame."""

    captured_ns: int
    """Our monotonic time of capture, as far as arrivals tell; never after the arrival."""
    age_s: float
    """Seconds between capture and arrival."""
    stale: bool
    """Too old to be shown as live."""
    lost: int
    """Frames missing since the last one, by their times."""
    new_clock: bool
    """The stream's times jumped; nothing is known about what is missing."""


class StreamClock:
    """The clock of one connection.

    Args:
        stale_after_s: Age from which a frame is stale.
        fps: Nominal rate, until intervals have been seen.
    """

    def __init__(self, stale_after_s: float, fps: float | None) -> None:
        self._stale_after_s = stale_after_s
        self._nominal_s = 1.0 / fps if fps and 1.0 <= fps <= 240.0 else None
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self._reference_s: float | None = None
        self._last_pts_s = 0.0
        self._last_s = 0.0
        self._late_since: tuple[float, float] | None = None

    def observe(self, pts_s: float, arrival_ns: int) -> Timing:
        """Judge the next frame.

        Args:
            pts_s: Its time on the stream's clock.
            arrival_ns: Our monotonic time when it was decoded.
        """
        now_s = arrival_ns / 1e9
        new_clock = self._jumped(pts_s, now_s)
        if self._reference_s is None or new_clock:
            lost = 0
            self._reference_s = now_s - pts_s
        else:
            lost = self._missing(pts_s - self._last_pts_s)
            crept_s = self._reference_s + _CREEP * (now_s - self._last_s)
            self._reference_s = min(crept_s, now_s - pts_s)
        self._last_pts_s, self._last_s = pts_s, now_s
        age_s = now_s - pts_s - self._reference_s
        stale = age_s > self._stale_after_s
        if stale and self._stays_late(age_s, now_s):
            self._reference_s, age_s, stale, new_clock = now_s - pts_s, 0.0, False, True
        if not stale:
            self._late_since = None
        return Timing(arrival_ns - int(age_s * 1e9), age_s, stale, lost, new_clock)

    def _jumped(self, pts_s: float, now_s: float) -> bool:
        if self._reference_s is None:
            return False
        step_s = pts_s - self._last_pts_s
        return step_s < -_JUMP_S or step_s > now_s - self._last_s + self._age_s() + _JUMP_S

    def _age_s(self) -> float:
        """Age of the last frame: a backlog may run ahead of the arrivals by this much."""
        return self._last_s - self._last_pts_s - (self._reference_s or 0.0)

    def _missing(self, step_s: float) -> int:
        interval_s = median(self._intervals) if len(self._intervals) >= 5 else self._nominal_s
        if step_s > 0:
            self._intervals.append(step_s)
        if not interval_s or step_s < _LOST_FROM * interval_s:
            return 0
        return round(step_s / interval_s) - 1

    def _stays_late(self, age_s: float, now_s: float) -> bool:
        """Tell a lasting delay from a backlog: a backlog gets younger while it is read."""
        if self._late_since is None or age_s < self._late_since[0] - 0.5 * self._stale_after_s:
            self._late_since = (age_s, now_s)
            return False
        return now_s - self._late_since[1] > _REANCHOR_S
