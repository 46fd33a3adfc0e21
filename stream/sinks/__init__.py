"""Where results go: ZeroMQ publisher, recorder, counter. All live in the publisher's process."""

from stream.sinks.jsonl import read_recording
from stream.sinks.null import NullSink
from stream.sinks.overlay import draw_overlay
from stream.sinks.publisher import PublisherSink
from stream.sinks.recorder import RecorderSink

__all__ = ["NullSink", "PublisherSink", "RecorderSink", "draw_overlay", "read_recording"]
