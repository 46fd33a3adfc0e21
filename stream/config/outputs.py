"""Where masks and figures go, and where a run can be spoken to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stream.config.kinds import Folder, Seconds, Section


class PublishConfig(Section):
    """The ZeroMQ PUB socket."""

    endpoint: str | None = "tcp://127.0.0.1:5560"
    high_water_mark: Annotated[int, Field(ge=1)] = 100


class ControlConfig(Section):
    """Where a run listens to people while it goes on (`maskcast ask`, and the page)."""

    endpoint: str | None = "auto"
    """`tcp://127.0.0.1:PORT`, `*` for a free port, or `ipc://PATH`; null: it does not listen;
    `auto`: at tcp://127.0.0.1:5561 where the run publishes, else it does not."""


class WebConfig(Section):
    """The live page."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes a free port and prints it."""
    max_fps: Annotated[float, Field(gt=0.0)] = 15.0
    jpeg_quality: Annotated[int, Field(ge=1, le=95)] = 80
    control: bool | None = None
    """Whether the page may change what the run looks for; null: where `host` is loopback."""
    metrics: bool = True
    """Whether the page's server answers `/metrics`, too (`docs/metrics.md`)."""


class MetricsConfig(Section):
    """Figures and health for machines (`docs/metrics.md`); the page has them already."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """A port of their own, with or without a page; null: none, 0 takes a free one and prints it."""
    hung_after_s: Seconds = 30.0
    """A stage that has not been at work for so long hangs; longer than a frame or a look takes."""


class RecordConfig(Section):
    """The recorder: `masks.jsonl` and `overlay.mp4` in a directory."""

    dir: Folder | None = None
    video: bool = True
