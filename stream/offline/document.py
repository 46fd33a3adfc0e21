"""The result of an evaluation as plain JSON data, and files that are complete or not there."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from stream.errors import SinkError, UsageError
from stream.evaluate.figures import Group, rounded
from stream.offline.evaluation import Results

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class About:
    """What was asked for, and of what."""

    command: list[str]
    """The command line."""
    data: dict[str, Any]
    question: dict[str, Any]
    models: dict[str, Any]
    versions: dict[str, str | None]
    machine: dict[str, Any]
    config: dict[str, Any]
    """The sections of the configuration that count: tracker, detector, lifecycle, normalize."""


def document(results: Results, about: About, partial: bool) -> dict[str, Any]:
    """Return the result as `--json` writes it (`docs/eval.md`).

    Args:
        results: What was measured.
        about: Of what.
        partial: Whether it was interrupted.
    """
    return {
        "schema": SCHEMA,
        "partial": partial,
        **asdict(about),
        "overall": _group(results.overall),
        "groups": [_group(group) for group in results.groups],
        "frames": [
            {**asdict(point), "quality": rounded(point.quality)} for point in results.points
        ],
        "notes": results.notes,
    }


def check_file(path: Path, option: str) -> None:
    """Check that a file can be written, before hours of work.

    Args:
        path: The file.
        option: Who asks for it.

    Raises:
        UsageError: It is a folder, or its folder is missing or cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; {option} needs the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{path}: cannot be written; name another file for {option}")


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write data; see `write_text`."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file: it is complete, or as it was before.

    Raises:
        SinkError: It cannot be written.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe, or /dev/stdout
            path.write_text(text, encoding="utf-8")
            return
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            draft = Path(folder) / path.name
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}") from error


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "partial": group.partial,
        **group.figures,
        "more": group.more,
    }
