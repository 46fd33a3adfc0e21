"""Where frames come from. `open_source` picks the kind by the address."""

from __future__ import annotations

import glob
from pathlib import Path

from stream.config import SourceConfig
from stream.contracts import Source
from stream.errors import UsageError
from stream.sources.connect import LIVE_SCHEMES
from stream.sources.demo import DemoSource
from stream.sources.images import SUFFIXES, ImageSource
from stream.sources.live import LiveSource
from stream.sources.scheduled import ScheduledSource
from stream.sources.tiff import TiffSource
from stream.sources.uri import redact, scheme_of
from stream.sources.video import VideoSource

__all__ = ["open_source", "redact"]


def open_source(config: SourceConfig) -> Source:
    """Choose the source for an address; its `open` does the opening.

    Args:
        config: `uri` decides: a scheme, a folder, a glob or the ending of a file.

    Raises:
        UsageError: The scheme or a part of the address is not accepted.
    """
    uri, scheme = config.uri.strip(), scheme_of(config.uri.strip())
    config = config.model_copy(update={"uri": uri})
    if scheme == "demo":
        return DemoSource(config)
    if scheme == "clock":
        return ScheduledSource(config)
    if scheme in LIVE_SCHEMES:
        return LiveSource(config)
    if scheme == "tiff":
        return TiffSource(uri.split("://", 1)[1], config)
    if scheme:
        raise UsageError(
            f"{redact(uri)}: scheme {scheme}:// is not known; accepted are demo://, clock://, "
            + ", ".join(f"{name}://" for name in LIVE_SCHEMES)
            + ", tiff://, and a path: a folder or glob of pictures, a TIFF stack or a film"
        )
    return _by_path(uri, config)


def _by_path(path: str, config: SourceConfig) -> Source:
    if not path:
        raise UsageError("the source is empty; give a path or an address such as demo://cells")
    suffix = Path(path).suffix.lower()
    single = Path(path).is_file() or not glob.has_magic(path)
    if Path(path).is_dir() or not single:
        return ImageSource(path, config)
    if suffix in (".tif", ".tiff"):
        return TiffSource(path, config)
    return ImageSource(path, config) if suffix in SUFFIXES else VideoSource(path, config)
