"""Where frames come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stream.config.kinds import Fraction, Name, Seconds, Section


class Reconnect(Section):
    """How a live source is opened again after it broke: exponential backoff with jitter."""

    first_delay_s: Seconds = 0.5
    max_delay_s: Seconds = 15.0
    factor: Annotated[float, Field(ge=1.0)] = 2.0
    jitter: Fraction = 0.3
    give_up_after_s: Annotated[float, Field(ge=0.0)] = 0.0
    """0: never give up."""


class Normalize(Section):
    """16 bit to 8 bit: lock, span floor, re-lock (`stream/sources/normalize.py`)."""

    low_percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    high_percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 99.8
    lock_frames: Annotated[int, Field(ge=1)] = 10
    span_floor_sigma: Annotated[float, Field(ge=0.0)] = 20.0
    relock_fraction: Fraction = 0.01
    relock_frames: Annotated[int, Field(ge=1)] = 10


class SourceConfig(Section):
    """Where frames come from."""

    uri: Name = "demo://cells"
    policy: Literal["auto", "latest", "every"] = "auto"
    """`latest` drops what the tracker cannot take, `every` waits; `auto`: latest when live."""
    open_timeout_s: Seconds = 5.0
    read_timeout_s: Seconds = 5.0
    stale_after_s: Seconds = 1.0
    """Frames of a live source older than this on arrival are thrown away and counted."""
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    reconnect: Reconnect = Reconnect()
    normalize: Normalize = Normalize()
