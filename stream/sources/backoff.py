"""When to try again: exponential backoff with jitter. Pure: time and chance are arguments."""

from __future__ import annotations

import random

from stream.config import Reconnect


class Backoff:
    """Delays between attempts after a live source broke.

    Args:
        config: First and greatest delay, factor, jitter and when to give up.
        rng: Where the jitter comes from; it keeps many readers from knocking at once.
    """

    def __init__(self, config: Reconnect, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._delay_s = config.first_delay_s
        self._broken_ns: int | None = None

    def broke(self, now_ns: int) -> None:
        """Note that no frames come any more; only the first call since `works` counts."""
        if self._broken_ns is None:
            self._broken_ns = now_ns

    def works(self) -> None:
        """Note that frames come; the next delay is the first one again."""
        self._broken_ns = None
        self._delay_s = self._config.first_delay_s

    def next_delay_s(self) -> float:
        """Return how long to wait now, in seconds, and make the next delay longer."""
        spread = self._config.jitter * (2.0 * self._rng.random() - 1.0)
        delay_s = min(self._delay_s, self._config.max_delay_s)
        self._delay_s = min(delay_s * self._config.factor, self._config.max_delay_s)
        return delay_s * (1.0 + spread)

    def gives_up(self, now_ns: int) -> bool:
        """Tell whether it has been broken for longer than configured; 0 never gives up."""
        limit_s = self._config.give_up_after_s
        if not limit_s or self._broken_ns is None:
            return False
        return (now_ns - self._broken_ns) / 1e9 >= limit_s
