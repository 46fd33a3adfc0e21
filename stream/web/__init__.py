"""The live page: one picture with outlines, what is in it, and how late it is."""

from stream.web.sink import WebSink

__all__ = ["WebSink"]
