"""The live page: one picture with outlines, what is in it, and how late it is."""

from stream.web.machines import MetricsSink
from stream.web.sink import WebSink

__all__ = ["MetricsSink", "WebSink"]
