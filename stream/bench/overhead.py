"""What stamping a frame costs: the same frame through the same headers, with stamps and without."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from stream import wire
from stream.bench.samples import STEPS
from stream.frame import Masks
from stream.transport import headers

ROUNDS: Final = 400
_BATCHES: Final = 15


def stamping_us() -> float:
    """Return the microseconds that the stamps of one frame cost on its whole way.

    Taking the times, and carrying them in the three messages of a frame: reader to tracker, tracker
    to publisher, publisher to subscriber.
    """
    costs = []
    for _ in range(_BATCHES):
        without, with_ = _batch(stamped=False), _batch(stamped=True)
        costs.append((with_ - without) / ROUNDS / 1e3)
    return round(median(costs), 2)


def _batch(*, stamped: bool) -> int:
    """Return the nanoseconds of `ROUNDS` frames."""
    names = list(STEPS)
    start_ns = time.perf_counter_ns()
    for _ in range(ROUNDS):
        stamps: dict[str, int] = {}
        if stamped:
            for name in names:
                stamps[name] = time.monotonic_ns()
        frame = headers.FrameHeader(
            0, 0.0, 1, "clock", 0, None, stamps, (), {}, headers.LocalRef(1)
        )
        headers.decode_data(headers.encode(frame))
        result = headers.ResultHeader(frame, (480, 640), stamps, ())
        headers.decode_data(headers.encode(result))
        masks = Masks(0, (480, 640), 0.0, 1, stamps=stamps)
        wire.decode(wire.encode(wire.to_message(masks, "main")))
    return time.perf_counter_ns() - start_ns
