"""Paints of a browser on our clock, and the frames they belong to. Pure: times are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from stream.bench.samples import Sample
from stream.errors import MaskcastError

RESOLUTION_NS: Final = 100_000
"""How far a browser's `performance.now()` may be off: it is rounded, against spying."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A question for a page's time."""

    sent_ns: int
    """`time.monotonic_ns()` before it was asked."""
    page_ms: float
    """`performance.now()` of the answer."""
    heard_ns: int
    """`time.monotonic_ns()` after it came."""


@dataclass(frozen=True, slots=True)
class PageClock:
    """A page's clock as ours."""

    offset_ns: int
    """Ours less the page's."""
    error_ns: int
    """It is off by no more than this."""

    def ours_ns(self, page_ms: float) -> int:
        """Return a page's time as `time.monotonic_ns()`."""
        return round(page_ms * 1e6) + self.offset_ns


def clock_of(pings: Sequence[Ping]) -> PageClock:
    """Return how a page's clock is set.

    Each answer was given between question and hearing, so that each bounds the offset from both
    sides; the true one is within all bounds. The quickest answers bound it best, as in NTP.

    Args:
        pings: One or more, to one and the same document.

    Raises:
        MaskcastError: No offset fits all: the clocks do not run alike.
    """
    least = max(ping.sent_ns - round(ping.page_ms * 1e6) for ping in pings) - RESOLUTION_NS
    most = min(ping.heard_ns - round(ping.page_ms * 1e6) for ping in pings) + RESOLUTION_NS
    if least > most:
        raise MaskcastError(
            f"the browser's clock and this machine's drift: no offset fits within "
            f"{(least - most) / 1e6:.2f} ms; measure again without --page"
        )
    return PageClock((least + most) // 2, (most - least + 1) // 2)


def join(
    samples: Sequence[Sample], paints: Sequence[tuple[int, float]], clock: PageClock
) -> list[Sample]:
    """Return the samples with the time at which each was first painted, where it was.

    Args:
        samples: Of one repetition.
        paints: Number of a frame and `performance.now()`, in milliseconds, in any order. Those of
            frames that are not among the samples are left out.
        clock: Of the page.

    Raises:
        MaskcastError: A frame seems painted before it was published.
    """
    first: dict[int, int] = {}
    for frame, page_ms in paints:
        at_ns = clock.ours_ns(page_ms)
        first[frame] = min(at_ns, first.get(frame, at_ns))
    joined = [replace(sample, painted_ns=first.get(sample.frame)) for sample in samples]
    for sample in joined:
        if sample.painted_ns is None:
            continue
        early_ns = sample.stamps["published"] - sample.painted_ns
        if early_ns > clock.error_ns:
            raise MaskcastError(
                f"frame {sample.frame} seems painted {early_ns / 1e6:.2f} ms before it was "
                "published; the browser's clock cannot be trusted"
            )
    return joined
