"""Which images are set aside for measuring, and of which kind they are."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from stream.errors import UsageError

INDEX = "index.csv"


def is_set_aside(name: str, percent: int) -> bool:
    """Return whether an image is among the so many in a hundred that nothing is trained on.

    Args:
        name: `prefix/stem`, as the training's own readers name it; nothing else counts.
        percent: 0 to 100.
    """
    digest = hashlib.sha256(name.encode("utf-8")).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent


def kinds_in(folder: Path) -> dict[str, str]:
    """Return stem -> kind from the columns `id` and `kind` of a folder's index.csv; {} without.

    Raises:
        UsageError: The file cannot be read.
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"id", "kind"} <= set(rows.fieldnames or ()):
                return {}
            return {row["id"]: row["kind"] for row in rows if row["kind"]}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot read the kinds of images: {error}") from None
