"""Streams of work on a card: one for the image encoder, one for the tracker, one for the detector.

Work in one lane goes in order; lanes go beside each other, and the more urgent one is given free
parts of the card first. On a processor a lane is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from engines.device_clock import DeviceClock, Mark, on_card

Urgency = Literal["high", "normal", "low"]


class Lane:
    """Work that goes in order.

    Args:
        device: Where.
        urgency: Tracking is `high`, encoding `normal`, detection `low`. CUDA knows this within one
            process only.
    """

    def __init__(self, device: torch.device, urgency: Urgency) -> None:
        self._clock = DeviceClock(device)
        self._stream: Any = None
        if on_card(device):
            self._stream = make_stream(device, urgency)
            # Weights may still be on their way.
            self._stream.wait_stream(torch.cuda.current_stream(device))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Do what is asked for inside in this lane."""
        if self._stream is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            yield

    def mark(self) -> Mark:
        """Return a mark behind what this lane was asked to do."""
        with self():
            return self._clock.mark()

    def reached_ns(self, mark: Mark) -> int | None:
        """Return when a mark of this lane was reached; see `DeviceClock.reached_ns`."""
        return self._clock.reached_ns(mark)

    def follow(self, mark: Mark | None, tensors: Iterable[torch.Tensor] = ()) -> None:
        """Do later work after what another lane did; the host does not wait.

        Args:
            mark: Where the other lane has to be; None: the stream that is current outside of lanes
                is meant, with all that it was asked to do.
            tensors: What that lane made and this one reads: its memory is not used again before.
        """
        if self._stream is None:
            return
        if mark is None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        elif mark.event is not None:
            self._stream.wait_event(mark.event)
        for tensor in tensors:
            tensor.record_stream(self._stream)


def follow_here(mark: Mark, tensors: Iterable[torch.Tensor] = ()) -> None:
    """As `Lane.follow`, for the stream that is current outside of lanes."""
    if mark.event is None:
        return
    here: Any = torch.cuda.current_stream()
    here.wait_event(mark.event)
    for tensor in tensors:
        tensor.record_stream(here)


def make_stream(device: torch.device, urgency: Urgency) -> torch.cuda.Stream:
    """Return a stream; a smaller priority is more urgent, and 0 the least."""
    least, most = torch.cuda.Stream.priority_range()  # type: ignore[call-arg]
    priority = {"high": most, "normal": min(most + 1, least), "low": least}[urgency]
    return torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]
