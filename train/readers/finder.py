"""Image files found by the names that annotations give them, wherever they lie in a data set."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from pathlib import Path

from train.readers.pixels import IMAGE_SUFFIXES


class ImageFinder:
    """An index of all images under a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        if root.is_dir():
            for path in sorted(root.rglob("*")):
                if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
                    self._by_name[composed(path.name)].append(path)

    def find(self, name: str, near: Path | None = None, *, strict: bool = False) -> list[Path]:
        """Return the files that a name may mean: none, the one, or several.

        Args:
            name: A file name, alone or with the folders above it.
            near: Of several files, one under this folder is preferred.
            strict: Folders in the name must be right; they may come from another machine else.
        """
        path = composed(name).replace("\\", "/")
        candidates = self._by_name.get(path.rpartition("/")[2], [])
        whole = composed((self.root / path).as_posix())
        for item in candidates:
            if composed(item.as_posix()) == whole:
                return [item]
        exact = [item for item in candidates if composed(item.as_posix()).endswith(f"/{path}")]
        found = exact if strict else exact or candidates
        if len(found) > 1 and near is not None:
            found = [item for item in found if item.is_relative_to(near)] or found
        return found

    def problem(self, found: list[Path]) -> str:
        """Say why a search did not find the one file."""
        if not found:
            return f"is no image in {self.root.name}/"
        places = " and ".join(path.relative_to(self.root).as_posix() for path in found[:2])
        return f"is there {len(found)} times: {places}"

    def all(self) -> list[Path]:
        """Return every image, sorted."""
        return sorted(path for paths in self._by_name.values() for path in paths)


def composed(text: str) -> str:
    """Return text with letters and their accents as one sign (NFC); file systems differ in it."""
    return unicodedata.normalize("NFC", text)
