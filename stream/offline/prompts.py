"""Prompts by hand that follow from the truth, or from a file of boxes."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from scipy import ndimage

from stream.errors import UsageError
from stream.evaluate.pairs import best_pairs
from stream.evaluate.regions import Ids
from stream.frame import BoolMask, crop_mask

Kind = Literal["mask", "box", "click", "boxes"]
ACCEPTED: Final = "accepted are first-mask, first-box, first-click and boxes:FILE"
FromBox = tuple[float, float, float, float]
COLUMNS: Final = ("image", "x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True)
class Hint:
    """What is said about one object: one of the three."""

    mask: BoolMask | None = None
    """(H, W) of the frame."""
    box: FromBox | None = None
    """x0, y0, x1, y1 in frame pixels."""
    point: tuple[float, float] | None = None
    """x, y in frame pixels."""


@dataclass(frozen=True, slots=True)
class Row:
    """A box from a file."""

    box: FromBox
    true_id: int | None
    """Whose it is, where the file says so."""


@dataclass(frozen=True, slots=True)
class Prompter:
    """Makes the prompts of a frame.

    Attributes:
        kind: What they are.
        boxes: Of a file: name of a picture -> its boxes.
    """

    kind: Kind
    boxes: Mapping[str, list[Row]]

    @classmethod
    def parse(cls, text: str) -> Prompter:
        """Read the option of the command line.

        Raises:
            UsageError: It is none of the accepted, or the file is not good.
        """
        kinds: dict[str, Kind] = {"first-mask": "mask", "first-box": "box", "first-click": "click"}
        if text in kinds:
            return cls(kinds[text], {})
        name, colon, file = text.partition(":")
        if name != "boxes" or not colon or not file:
            raise UsageError(f"--prompt {text!r} is not accepted; {ACCEPTED}")
        return cls("boxes", read_boxes(Path(file)))

    def hints(self, ids: Ids, *names: str) -> dict[int, Hint]:
        """Return what is said in a frame, by true id.

        Args:
            ids: (H, W) true ids, 0 background.
            names: What a file may call the picture.

        Returns:
            Hints by the true id of their object. A box of a file that names no id is the true
            object's that it fits best, from an IoU of 0.5 on; one that fits none has an id below 0.
        """
        if self.kind == "boxes":
            rows = [row for name in names for row in self.boxes.get(name, [])]
            return {i: Hint(box=row.box) for i, row in _owners(ids, rows).items()}
        return {i: self._hint(ids == i) for i in np.unique(ids).tolist() if i}

    def require_known(self, pictures: Collection[str], *, some: bool = False) -> None:
        """Refuse a file of boxes for pictures that are not there.

        Args:
            pictures: All that a file may call one.
            some: Whether these are a part of the pictures, so that a file may name others as well.

        Raises:
            UsageError: It names others, as it does after a slip in a name.
        """
        strange = sorted(name for name in self.boxes if name not in pictures)
        if strange and not (some and len(strange) < len(self.boxes)):
            named = ", ".join(repr(name) for name in strange[:3])
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            known = ", ".join(repr(name) for name in sorted(pictures)[:3])
            raise UsageError(
                f"--prompt boxes: no picture is called {named}{more}; there are {known} and so on"
            )

    def _hint(self, mask: BoolMask) -> Hint:
        if self.kind == "mask":
            return Hint(mask=mask)
        if self.kind == "box":
            return Hint(box=box_of(mask))
        return Hint(point=deepest_point(mask))


def box_of(mask: BoolMask) -> FromBox:
    """Return the tight box of a mask, (H, W) bool with at least one pixel."""
    x0, y0, x1, y1 = crop_mask(mask)[1]
    return float(x0), float(y0), float(x1), float(y1)


def deepest_point(mask: BoolMask) -> tuple[float, float]:
    """Return x, y of the middle of the pixel that is farthest from all that is outside.

    Of equally deep ones the first, row by row. The frame's border counts as outside.

    Args:
        mask: (H, W) bool with at least one pixel.
    """
    inside, (x0, y0, _, _) = crop_mask(mask)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), inside.shape)
    return float(x0 + x) + 0.5, float(y0 + y) + 0.5


def read_boxes(path: Path) -> dict[str, list[Row]]:
    """Read a CSV file with the columns image, x0, y0, x1, y1 and, where known, id.

    Returns:
        Boxes by the name of their picture, its suffix left out.

    Raises:
        UsageError: It cannot be read, a column is missing or a box is none.
    """
    boxes: dict[str, list[Row]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise UsageError(
                    f"{path}: has no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}"
                )
            for row in table:
                name = str(Path(row["image"]).with_suffix(""))
                boxes.setdefault(name, []).append(_row(path, table.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot read the boxes: {error}") from None
    return boxes


def _row(path: Path, line: int, row: Mapping[str, str]) -> Row:
    try:
        x0, y0, x1, y1 = (float(row[name]) for name in COLUMNS[1:])
        true_id = int(row["id"]) if row.get("id") else None
    except (TypeError, ValueError):
        raise UsageError(f"{path}: line {line}: a box is four numbers, an id a whole one") from None
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise UsageError(
            f"{path}: line {line}: box {x0:g},{y0:g},{x1:g},{y1:g} is not accepted; its first "
            "corner is above and left of the second, and inside of the picture"
        )
    return Row((x0, y0, x1, y1), true_id)


def _owners(ids: Ids, rows: list[Row]) -> dict[int, Row]:
    """Return whose boxes these are."""
    named = {row.true_id: row for row in rows if row.true_id is not None}
    owners: dict[int, Row] = {i: row for i, row in named.items() if i is not None}
    free = [row for row in rows if row.true_id is None]
    true_ids = [i for i in np.unique(ids).tolist() if i and i not in owners]
    overlap = np.zeros((len(true_ids), len(free)))
    for place, true_id in enumerate(true_ids):
        true = box_of(ids == true_id)
        overlap[place] = [_iou(true, row.box) for row in free]
    found = {column: true_ids[row] for row, column in best_pairs(overlap, 0.5)}
    for column, row in enumerate(free):
        owners[found.get(column, -1 - column)] = row
    return owners


def _iou(one: FromBox, other: FromBox) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (_area(one) + _area(other) - shared)


def _area(box: FromBox) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
