"""How a training is asked to stop: the step under way ends, and is kept."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def asked_to_stop(at_once: Collection[int] = ()) -> Iterator[Callable[[], bool]]:
    """Hear Ctrl-C and SIGTERM without ending by them.

    Args:
        at_once: Signals that end at once, as KeyboardInterrupt, where one was heard before.

    Yields:
        Says whether one was heard.
    """
    heard: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        if heard and number in at_once:
            raise KeyboardInterrupt
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in _NUMBERS}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
