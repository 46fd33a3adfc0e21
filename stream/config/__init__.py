"""The whole configuration as one checked model, a file a section, and its loading from YAML.

Stages never see the whole: `stream.pipeline` hands each the section that is its own.
"""

from stream.config.detector import DetectorConfig
from stream.config.lifecycle import MOST_CONFIRM_EVENTS, LifecycleConfig
from stream.config.loading import check, load
from stream.config.outputs import (
    ControlConfig,
    MetricsConfig,
    PublishConfig,
    RecordConfig,
    WebConfig,
)
from stream.config.run import Config, TransportConfig
from stream.config.source import Normalize, Reconnect, SourceConfig
from stream.config.tracker import CalmConfig, MemoryConfig, TrackerConfig, WindowConfig

__all__ = [
    "MOST_CONFIRM_EVENTS",
    "CalmConfig",
    "Config",
    "ControlConfig",
    "DetectorConfig",
    "LifecycleConfig",
    "MemoryConfig",
    "MetricsConfig",
    "Normalize",
    "PublishConfig",
    "Reconnect",
    "RecordConfig",
    "SourceConfig",
    "TrackerConfig",
    "TransportConfig",
    "WebConfig",
    "WindowConfig",
    "check",
    "load",
]
