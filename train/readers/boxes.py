"""`boxes.csv`: columns filename, class, xmin, ymin, xmax, ymax; one row an object, in pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from train.readers.coco_shapes import Shape, check_box, load_shapes
from train.readers.finder import ImageFinder
from train.readers.pixels import Size
from train.readers.samples import Box, LabelledImage
from train.readers.survey import Survey
from train.readers.tables import read_table

_EDGES: Final = ("xmin", "ymin", "xmax", "ymax")

Rows = dict[Path, list[tuple[int, str, Box]]]
"""Image -> line number, class and x0, y0, x1, y1 of each of its objects."""


def read_boxes(table: Path, finder: ImageFinder, survey: Survey) -> Rows:
    """Read the table; rows about images that are not there are faults."""
    rows: Rows = {}
    seen: dict[tuple[object, ...], int] = {}
    for line, row in read_table(table, ("filename", "class", *_EDGES), survey):
        at = f"line {line}"
        found = finder.find(row["filename"], strict=True)
        box = _numbers(row)
        if len(found) != 1:
            survey.fault(table, f"{row['filename']!r} {finder.problem(found)}", at)
        elif not row["class"]:
            survey.fault(table, "the class is empty", at)
        elif box is None:
            values = ", ".join(row[edge] for edge in _EDGES)
            survey.fault(table, f"the box is {values}; expected four numbers", at)
        elif (key := (found[0], row["class"], box)) in seen:
            survey.fault(table, f"is the same as line {seen[key]}", at)
        else:
            seen[key] = line
            rows.setdefault(found[0], []).append((line, row["class"], box))
    return rows


def boxed_image(
    path: Path, size: Size, rows: list[tuple[int, str, Box]], table: Path, survey: Survey
) -> Callable[[], LabelledImage]:
    """Check the boxes of an image and return what loads it."""
    shapes: list[Shape] = []
    labels: dict[int, str] = {}
    for number, (line, label, box) in enumerate(rows, start=1):
        try:
            shapes.append(Shape(number, None, check_box(box, size), crowd=False))
        except ValueError as error:
            survey.fault(table, str(error), f"line {line}")
        labels[number] = label
    survey.count((shape.number for shape in shapes), labels)
    return partial(load_shapes, path, size, tuple(shapes), labels, (), masks=False)


def _numbers(row: dict[str, str]) -> Box | None:
    try:
        x0, y0, x1, y1 = (float(row[edge]) for edge in _EDGES)
    except ValueError:
        return None
    return x0, y0, x1, y1
