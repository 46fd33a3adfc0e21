"""The report of a run: what `maskcast run --report FILE` writes, whatever the run's end was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stream.errors import SinkError, UsageError
from stream.stats import Reservoir

_FRAMES = ("read", "tracked", "published")


def _percentiles() -> dict[str, float | None]:
    return Reservoir().percentiles()


@dataclass(slots=True)
class Report:
    """What a run did. Milliseconds and megabytes; None where nothing was measured.

    `frames.read = frames.tracked + sum(dropped)` holds for every run. Frames that the source
    threw away before it gave them a number are not in it; they are in `source.counters`.
    """

    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FRAMES, 0))
    """`read` from the source, `tracked` by the core, `published` to the sinks."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Frames read and not tracked, by cause: `overrun` (a newer one was there), `shutdown` (on
    their way when the run was stopped), `stage` (lost in a stage that died or was killed),
    `ring` (their slot was taken back), `unaccounted` (never; a defect if it appears)."""
    latency_ms: dict[str, float | None] = field(default_factory=_percentiles)
    """From capture to publication, of each published frame."""
    age_ms: dict[str, float | None] = field(default_factory=_percentiles)
    """Age of the newest published result, at each tick of the source's frame rate."""
    stages: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Time of each step, named by the stamp that ends it; `detect` is one detection event."""
    detection: dict[str, Any] = field(
        default_factory=lambda: {"events": 0, "accepted": 0, "late_frames": {"p50": 0, "max": 0}}
    )
    objects: dict[str, int] = field(default_factory=lambda: {"now": 0, "ever": 0})
    stream_events: dict[str, int] = field(default_factory=dict)
    """Where the stream was not continuous for the tracker, by kind (`docs/tracker-events.md`)."""
    rss_mb: dict[str, float | None] = field(
        default_factory=lambda: {"first": None, "last": None, "max": None}
    )
    """Resident memory summed over the run's processes (shared pages count in each)."""
    errors: list[str] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)
    """Name, frame rate, and what the source itself counted."""
    seconds: float = 0.0
    """From the start of the stages to their end."""
    exit: int = 0
    """The exit status of the run."""
    config: str = ""
    """SHA-256 of the configuration without the source's credentials."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Where the results went: endpoint, page, recording."""

    def write(self, path: Path) -> None:
        """Write as JSON: the file is complete or as it was before.

        Raises:
            SinkError: It cannot be written.
        """
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        try:
            if path.exists() and not path.is_file():
                path.write_text(text, encoding="utf-8")
            else:
                _replace(path, text)
        except OSError as error:
            raise SinkError(f"{path}: cannot write the report: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Check that a report can be written, before hours of running.

    Raises:
        UsageError: It is a directory, or its directory is missing or read-only.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a directory; --report needs the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}; make it first")
    try:
        if path.exists():
            with path.open("ab"):
                pass
        if not path.exists() or path.is_file():
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
                pass
    except OSError as error:
        raise UsageError(f"{path}: cannot write the report: {error.strerror}") from error


def digest(config: dict[str, Any]) -> str:
    """Return the SHA-256 of plain configuration data.

    Args:
        config: JSON data; credentials must be out of it, as a hash of a weak one can be guessed.
    """
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
