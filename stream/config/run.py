"""A complete run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stream.config.detector import DetectorConfig
from stream.config.kinds import Seconds, Section, Text
from stream.config.lifecycle import LifecycleConfig
from stream.config.outputs import (
    ControlConfig,
    MetricsConfig,
    PublishConfig,
    RecordConfig,
    WebConfig,
)
from stream.config.source import SourceConfig
from stream.config.tracker import TrackerConfig


class TransportConfig(Section):
    """How stages are joined."""

    kind: Literal["ipc", "inproc", "tcp"] = "ipc"
    ring_slots: Annotated[int, Field(ge=4, le=256)] = 8
    start_timeout_s: Seconds = 120.0


class Config(Section):
    """A complete run."""

    stream: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "main"
    source: SourceConfig = SourceConfig()
    texts: list[Text] = Field(default=["cell"], min_length=1)
    negatives: list[Text] = Field(default=[])
    tracker: TrackerConfig = TrackerConfig()
    detector: DetectorConfig = DetectorConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    transport: TransportConfig = TransportConfig()
    publish: PublishConfig = PublishConfig()
    control: ControlConfig = ControlConfig()
    web: WebConfig = WebConfig()
    metrics: MetricsConfig = MetricsConfig()
    record: RecordConfig = RecordConfig()
    frames: Annotated[int, Field(ge=1)] | None = None
    """End after this many frames were read."""
    seconds: Seconds | None = None
    """End after this much time since the first frame."""
