"""When work was done on a device, in the host's time, without waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

#: After this long times are counted from a newer event: an event knows the distance to another in
#: milliseconds of single precision, and the two clocks drift.
ANEW_NS = 1_000_000_000


class Event(Protocol):
    """A CUDA event that keeps its time, as far as it is used here."""

    def record(self) -> None:
        """Have it happen when the current stream's work so far is done."""

    def query(self) -> bool:
        """Return whether it happened."""

    def synchronize(self) -> None:
        """Wait for it."""

    def elapsed_time(self, later: Any, /) -> float:
        """Return milliseconds from this one to a later one; both have happened."""


@dataclass(slots=True)
class Mark:
    """A point in the work of a device."""

    host_ns: int
    """When the host asked for the work, `time.monotonic_ns`."""
    event: Event | None = None
    """Happens when it is done; None on a processor, where it is done at once."""


class DeviceClock:
    """Puts marks into a device's work and tells when they were reached.

    Args:
        device: On a processor, marks are reached when they are made.
        make: Makes an event.
        now: The host's monotonic time in nanoseconds.
    """

    def __init__(
        self,
        device: torch.device,
        make: Callable[[], Event] | None = None,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._now = now
        self._make: Callable[[], Event] | None = make or (cuda_event if on_card(device) else None)
        self._base: tuple[Event, int] | None = None

    def mark(self) -> Mark:
        """Return a mark behind what the current stream was asked to do."""
        if self._make is None:
            return Mark(self._now())
        if self._base is None:
            self._base = self._begin(self._make())
        asked_ns, event = self._now(), self._make()
        event.record()
        return Mark(asked_ns, event)

    def reached_ns(self, mark: Mark) -> int | None:
        """Return when a mark was reached, in the host's time; None where it was not, or not yet.

        Never waits. It lies between the time at which the work was asked for and now, whatever the
        device's clock says.
        """
        if mark.event is None:
            return mark.host_ns
        if self._base is None or not mark.event.query():
            return None
        event, event_ns = self._base
        found_ns = event_ns + round(1e6 * event.elapsed_time(mark.event))
        if found_ns - event_ns > ANEW_NS:
            self._base = (mark.event, found_ns)
        return min(max(found_ns, mark.host_ns), self._now())

    def _begin(self, event: Event) -> tuple[Event, int]:
        """Learn once what the host's time is at an event; this waits, before any frame."""
        event.record()
        event.synchronize()
        return event, self._now()


def on_card(device: torch.device) -> bool:
    """Return whether work on a device goes on beside the host."""
    return device.type == "cuda"


def cuda_event() -> Event:
    """Return a CUDA event that keeps its time, and that a host waits for asleep."""
    return torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
