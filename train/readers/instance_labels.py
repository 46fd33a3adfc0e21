"""The tables beside `images/` and `masks/`: `labels.csv` names objects, `index.csv` images."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from train.readers.pixels import Size, size_text
from train.readers.samples import MAX_OBJECTS
from train.readers.survey import Survey
from train.readers.tables import read_table, whole_number


class LabelTable:
    """Class names from `labels.csv`: columns stem, id, label; one row an object.

    The stem is an image's path below `images/`, with or without suffix, or the folder of a film,
    whose objects are then named in all its frames.

    Args:
        path: The table; there need not be one.
        survey: Takes the faults.
    """

    def __init__(self, path: Path, survey: Survey) -> None:
        self._path = path
        self._survey = survey
        self._rows: dict[str, dict[int, tuple[str, int]]] = {}
        if path.is_file():
            for line, row in read_table(path, ("stem", "id", "label"), survey):
                self._add(line, row)

    def take(self, stem: str, objects: Sequence[int]) -> dict[int, str]:
        """Return the names of an image's objects; a row whose id is not in its mask is a fault."""
        for number, (_, line) in self._rows.get(stem, {}).items():
            if number not in objects:
                self._survey.fault(
                    self._path, f"id {number} is not in the mask of {stem}", f"line {line}"
                )
        both = self._rows.get(stem.rpartition("/")[0], {}) | self._rows.get(stem, {})
        return {number: both[number][0] for number in objects if number in both}

    def of_film(
        self, folder: str, stems: Iterable[str], tracks: Container[int] | None
    ) -> dict[int, str]:
        """Return the names of a film's objects, given for its folder or for its frames.

        Args:
            folder: The film.
            stems: Its frames.
            tracks: The ids that are in its masks, others are faults; None where they are not
                known in full.
        """
        names: dict[int, str] = {}
        for key in (folder, *stems):
            for number, (label, line) in self._rows.get(key, {}).items():
                if tracks is not None and number not in tracks:
                    self._survey.fault(
                        self._path,
                        f"id {number} is in no mask of {folder or 'the film'}",
                        f"line {line}",
                    )
                known = names.setdefault(number, label)
                if known != label:
                    self._survey.fault(
                        self._path,
                        f"calls object {number} of one film {label!r} and {known!r}",
                        f"line {line}",
                    )
        return names

    def check_names(self, stems: Mapping[str, object]) -> None:
        """Note rows about images that are not there."""
        folders = {stem.rpartition("/")[0] for stem in stems}
        for stem, rows in self._rows.items():
            if stem not in stems and stem not in folders:
                line = min(line for _, line in rows.values())
                self._survey.fault(
                    self._path, f"there is no image {stem!r} with a mask", f"line {line}"
                )

    def _add(self, line: int, row: Mapping[str, str]) -> None:
        number, label = whole_number(row["id"], 1, MAX_OBJECTS), row["label"]
        if number is None:
            self._survey.fault(
                self._path, f"id is {row['id']!r}; accepted are 1 to {MAX_OBJECTS}", f"line {line}"
            )
        elif not label:
            self._survey.fault(self._path, "the label is empty", f"line {line}")
        else:
            objects = self._rows.setdefault(plain_stem(row["stem"]), {})
            if number in objects:
                self._survey.fault(
                    self._path,
                    f"names object {number} of {row['stem']!r} again, first in line "
                    f"{objects[number][1]}",
                    f"line {line}",
                )
            objects.setdefault(number, (label, line))


class IndexTable:
    """One row an image from `index.csv`: column id; label, h, w, n_objects where they are there.

    Args:
        path: The table; there need not be one.
        survey: Takes the faults.
    """

    def __init__(self, path: Path, survey: Survey) -> None:
        self._path = path
        self._survey = survey
        self._rows: dict[str, tuple[int, dict[str, str]]] | None = None
        if path.is_file():
            self._rows = {}
            for line, row in read_table(path, ("id",), survey):
                stem = plain_stem(row["id"])
                if stem in self._rows:
                    first = self._rows[stem][0]
                    survey.fault(
                        path, f"lists {stem!r} again, first in line {first}", f"line {line}"
                    )
                self._rows.setdefault(stem, (line, row))

    def labels(self, stem: str, objects: Sequence[int]) -> dict[int, str]:
        """Return the row's label for all objects of an image, or none."""
        _, row = (self._rows or {}).get(stem, (0, {}))
        return dict.fromkeys(objects, row["label"]) if row.get("label") else {}

    def check(self, stem: str, size: Size | None, objects: int) -> None:
        """Compare a row with what was found; an image without a row is a fault."""
        if self._rows is None:
            return
        if stem not in self._rows:
            self._survey.fault(self._path, f"has no row for image {stem}")
            return
        if size is None:
            return
        line, row = self._rows[stem]
        told = (row.get("w", ""), row.get("h", ""))
        if all(told) and told != (str(size[1]), str(size[0])):
            self._survey.fault(
                self._path,
                f"{stem} is {size_text(size)}, the table says {told[0]}x{told[1]}",
                f"line {line}",
            )
        number = row.get("n_objects", "")
        if number and number != str(objects):
            self._survey.fault(
                self._path,
                f"the mask of {stem} has {objects} objects, the table says {number}",
                f"line {line}",
            )

    def check_names(self, stems: Mapping[str, object]) -> None:
        """Note rows about images that are not there."""
        for stem, (line, _) in (self._rows or {}).items():
            if stem not in stems:
                self._survey.fault(
                    self._path, f"there is no image {stem!r} with a mask", f"line {line}"
                )


def plain_stem(text: str) -> str:
    """Return a name of a table as a path below `images/` without a picture's suffix."""
    path = text.replace("\\", "/").removeprefix("./")
    head, dot, suffix = path.rpartition(".")
    return head if dot and suffix.lower() in _SUFFIXES else path


_SUFFIXES: Final = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp")
