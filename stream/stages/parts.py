"""The real parts of the stages. Imports are late: a stage loads only what it carries."""

from __future__ import annotations

from stream.config import Config
from stream.contracts import DetectorCore, RunInfo, Sink, Source, TrackerCore


class RealParts:
    """Sources, models and sinks as configured."""

    def source(self, config: Config) -> Source:
        """Make the source."""
        from stream.sources import open_source

        return open_source(config.source)

    def tracker(self, config: Config) -> TrackerCore:
        """Make the tracker's core."""
        from stream.core import make_tracker_core

        return make_tracker_core(config)

    def detector(self, config: Config) -> DetectorCore:
        """Make the detector's core."""
        from stream.core import make_detector_core

        return make_detector_core(config)

    def sinks(self, config: Config, info: RunInfo) -> list[Sink]:
        """Make the sinks, the one that publishes first."""
        from stream.sinks import PublisherSink, RecorderSink

        sinks: list[Sink] = []
        if config.publish.endpoint is not None:
            mark = config.publish.high_water_mark
            sinks.append(PublisherSink(config.publish.endpoint, config.stream, mark))
        if config.record.dir is not None:
            sinks.append(
                RecorderSink(
                    config.record.dir,
                    config.stream,
                    config.record.video,
                    info.fps,
                    policy="latest" if info.live else "every",
                    info=info,
                )
            )
        if config.web.enabled:
            from stream.web import WebSink

            web = config.web
            sinks.append(
                WebSink(
                    web.host,
                    web.port,
                    web.max_fps,
                    web.jpeg_quality,
                    info,
                    control=web.control,
                    metrics=web.metrics,
                )
            )
        if config.metrics.port is not None:
            from stream.web import MetricsSink

            sinks.append(MetricsSink(config.metrics.host, config.metrics.port, info))
        return sinks


PARTS = RealParts()
