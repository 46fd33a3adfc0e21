"""What a training says when its folder cannot be written, at the start or in hour three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.errors import SinkError


@contextmanager
def writes_into(folder: Path, go_on: str) -> Iterator[None]:
    """Turn what the disk refuses into one line.

    Args:
        folder: Where the training writes.
        go_on: How to go on from the last checkpoint, which is whole whatever happened after it.

    Raises:
        SinkError: Something could not be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SinkError(
            f"{error.filename or folder}: cannot be written: {reason}; what was saved before is "
            f"whole: make room in {folder}, and {go_on}"
        ) from error
