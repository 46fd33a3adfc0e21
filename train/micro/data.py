"""Readers of the labelled microscopy that the micro models are trained on.

Each reader returns plain arrays; each error names the file, what was wrong with it and what is
expected.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects

from train.readers.split import held_out

#: Share of the real images that the packaged models were never trained on.
HELD_OUT_PERCENT = 20

CORNERS = ("xmin", "ymin", "xmax", "ymax")

Bytes = NDArray[np.uint8]
Ids = NDArray[np.uint16]


class DataError(ValueError):
    """A data set that is not as its reader expects."""


@dataclass(frozen=True)
class Still:
    """One labelled image.

    Attributes:
        name: the image's name, unique within its source; splits are made by it.
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) uint16 instance ids, 0 is background.
        kind: what the image shows, e.g. ``gray_dark``.
    """

    name: str
    image: Bytes
    ids: Ids
    kind: str

    @cached_property
    def places(self) -> list[tuple[slice, ...] | None]:
        """Rows and columns of each id from 1 on; None for those that are not there."""
        return list(find_objects(self.ids.astype(np.int32)))


@dataclass(frozen=True)
class BoxedImage:
    """One image with labelled boxes: (H, W, 3) uint8, (N, 4) float32 xyxy pixels, N class names."""

    name: str
    image: Bytes
    boxes: NDArray[np.float32]
    classes: tuple[str, ...]


def is_held_out(name: str, percent: int = HELD_OUT_PERCENT) -> bool:
    """Whether an image belongs to the validation split; depends on its name alone."""
    return held_out(name, percent)


def read_image(path: Path) -> Bytes:
    """Read an image as (H, W, 3) uint8 RGB.

    16-bit grey is stretched from its 0.5th to its 99.8th percentile.
    """
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith("I"):
                return _grey_to_rgb(stretch_to_8_bit(np.asarray(opened)))
            colours: Bytes = np.array(opened.convert("RGB"), np.uint8)
            return colours
    except OSError as error:
        raise DataError(f"{path}: not a readable image ({error})") from error


def read_ids(path: Path) -> Ids:
    """Read an instance mask: one channel, 8 or 16 bit, 0 is background."""
    try:
        with Image.open(path) as opened:
            array = np.asarray(opened)
    except OSError as error:
        raise DataError(f"{path}: not a readable mask ({error})") from error
    if array.ndim != 2:
        raise DataError(
            f"{path}: mask has shape {array.shape}; expected one channel of instance ids"
        )
    if array.min() < 0 or array.max() > np.iinfo(np.uint16).max:
        raise DataError(f"{path}: ids span {array.min()}..{array.max()}; accepted are 0..65535")
    ids: Ids = array.astype(np.uint16)
    return ids


def stretch_to_8_bit(image: NDArray[np.generic]) -> Bytes:
    """Stretch grey values of any depth to 0..255 by percentiles, (H, W) -> (H, W) uint8."""
    values = image.astype(np.float32)
    low, high = np.percentile(values, (0.5, 99.8))
    scaled = (values - low) / max(float(high - low), 1e-6)
    stretched: Bytes = np.clip(scaled * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return stretched


def read_pairs(folder: Path, kind: str, prefix: str) -> Iterator[Still]:
    """Read ``folder/images/*`` with ``folder/masks/<same stem>.*``."""
    images = sorted(p for p in (folder / "images").glob("*") if p.is_file())
    if not images:
        raise DataError(
            f"{folder / 'images'}: no images; expected images/ and masks/ with equal stems"
        )
    masks = {p.stem: p for p in (folder / "masks").glob("*")}
    for path in images:
        if path.stem not in masks:
            raise DataError(f"{path}: has no mask named {path.stem}.* in {folder / 'masks'}")
        image, ids = read_image(path), read_ids(masks[path.stem])
        if image.shape[:2] != ids.shape:
            raise DataError(f"{path}: image is {image.shape[:2]} but its mask is {ids.shape}")
        yield Still(f"{prefix}/{path.stem}", image, ids, kind)


def read_dsb2018(folder: Path) -> list[Still]:
    """Read the nuclei of BBBC038 (``index.csv``, ``images/``, ``masks/``)."""
    index = folder / "index.csv"
    if not index.is_file():
        raise DataError(f"{index}: missing; expected columns id and kind, one row an image")
    kinds = {row["id"]: row["kind"] for _, row in _rows(index, ("id", "kind"))}
    stills = []
    for still in read_pairs(folder, "", "dsb2018"):
        kind = kinds.get(still.name.split("/")[1])
        if kind is None:
            raise DataError(f"{index}: has no row for image {still.name}")
        stills.append(Still(still.name, still.image, still.ids, kind))
    return stills


def read_laptrack(folder: Path) -> list[Still]:
    """Read the laptrack crops: sub-folders with ``images/`` and ``masks/``."""
    stills: list[Still] = []
    for part in sorted(p for p in folder.iterdir() if (p / "images").is_dir()):
        stills.extend(read_pairs(part, part.name, f"laptrack/{part.name}"))
    if not stills:
        raise DataError(f"{folder}: no sub-folder with images/ and masks/")
    return stills


def read_bccd(folder: Path) -> list[BoxedImage]:
    """Read the blood smears (``boxes.csv``: filename, class, xmin, ymin, xmax, ymax)."""
    table = folder / "boxes.csv"
    if not table.is_file():
        raise DataError(
            f"{table}: missing; expected columns filename, class, xmin, ymin, xmax, ymax"
        )
    rows: dict[str, list[tuple[str, list[float]]]] = {}
    for line, row in _rows(table, ("filename", "class", *CORNERS)):
        try:
            box = [float(row[key]) for key in CORNERS]
        except ValueError as error:
            raise DataError(f"{table}: line {line}: {error}; a box is four numbers") from None
        if box[2] - box[0] >= 2 and box[3] - box[1] >= 2:
            rows.setdefault(row["filename"], []).append((row["class"], box))
    return [
        BoxedImage(
            f"bccd/{Path(name).stem}",
            read_image(folder / "images" / name),
            np.array([box for _, box in found], np.float32),
            tuple(label for label, _ in found),
        )
        for name, found in sorted(rows.items())
    ]


def check(data: Path) -> None:
    """Read all that is trained on once, so that a fault is told before hours of training.

    Args:
        data: The folder of the sources.

    Raises:
        DataError: Naming the first fault of each source that has one.
    """
    readers: dict[str, Callable[[Path], object]] = {
        "dsb2018_nuclei": read_dsb2018,
        "laptrack_crops": read_laptrack,
        "bccd_blood": read_bccd,
    }
    faults = []
    for name, read in readers.items():
        # Only the nuclei are needed in every case.
        if name == "dsb2018_nuclei" or (data / name).is_dir():
            try:
                read(data / name)
            except DataError as error:
                faults.append(str(error))
    if faults:
        raise DataError("; ".join(faults))


def _rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Give the rows of a table with the numbers of their lines."""
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{table}: has no column {', '.join(missing)}; needed are {', '.join(columns)}"
                )
            for row in reader:
                if any(row[name] is None for name in columns):
                    raise DataError(f"{table}: line {reader.line_num}: is cut short")
                yield reader.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{table}: is no table in UTF-8: {error}") from None


def _grey_to_rgb(image: Bytes) -> Bytes:
    return np.repeat(image[..., None], 3, axis=2)
