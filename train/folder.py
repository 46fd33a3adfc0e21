"""The folder that a fine-tuning writes into: new, or one whose training goes on."""

from __future__ import annotations

from pathlib import Path

from stream.errors import UsageError

LAST = "last.pt"
"""The checkpoint that `--resume` goes on from."""


def prepare_folder(folder: Path, resume: bool, inner: str = "") -> None:
    """Make the folder, unless that would be the wrong one.

    Args:
        folder: Where the result, the log and the checkpoints go.
        resume: Whether its training shall go on.
        inner: A folder inside it that is made, too.

    Raises:
        UsageError: It holds a training that is not to go on, none that could, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; --out needs a folder")
    kept = (folder / LAST).is_file()
    if kept and not resume:
        raise UsageError(
            f"{folder}: holds a training already; give --resume to go on, or another --out"
        )
    if resume and not kept:
        raise UsageError(f"{folder}: no {LAST} to go on from; leave --resume out to begin")
    try:
        (folder / inner).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
