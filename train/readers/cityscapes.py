"""`cityscapes`: street scenes in cities, a mask of class and instance numbers for each.

    DIR/leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png
    DIR/gtFine/SPLIT/CITY/NAME_gtFine_instanceIds.png

A value of 1000 or more is class * 1000 + number; such pixels keep the value as their id. A smaller
one is a class alone: background for roads and skies, ignored for void and for groups of things
that nobody told apart. Without a split all are read but `test`, whose masks are blank.
(Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding".)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from train.readers.faults import DatasetError, SampleError
from train.readers.pairs import Pair, check_pair, image_sample
from train.readers.pixels import read_values
from train.readers.samples import IGNORE, Dataset, Fault, Ids, ImageSample
from train.readers.survey import Options, Survey

NAME = "cityscapes"
LOOKS_FOR = "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/"

THINGS: Final = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    29: "caravan",
    30: "trailer",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_LAST_VOID: Final = 6
_LAST_CLASS: Final = 33
_PER_CLASS: Final = 1000
_IMAGE_END: Final = "_leftImg8bit.png"
_MASK_END: Final = "_gtFine_instanceIds.png"


def fits(root: Path) -> bool:
    """Whether a folder looks like this layout."""
    return (root / "leftImg8bit").is_dir()


def read(root: Path, options: Options) -> Dataset:
    """Read a folder in this layout."""
    survey = Survey(root, options.progress)
    images, masks = root / "leftImg8bit", root / "gtFine"
    for folder in (images, masks):
        if not folder.is_dir():
            survey.fault(folder, f"is missing; expected {LOOKS_FOR}")
    pairs = {}
    for split in _splits(images, options.split):
        pairs.update(_pairs(images / split, masks / split, survey))
    survey.begin(2 * len(pairs))
    samples: list[ImageSample] = []
    for name, pair in pairs.items():
        mark = survey.mark()
        objects = check_pair(pair, survey, read_instance_ids).objects
        labels = {number: THINGS[number // _PER_CLASS] for number in objects}
        survey.count(objects, labels)
        if survey.clean_since(mark):
            samples.append(image_sample(name, pair, labels, read_instance_ids))
    return survey.dataset(NAME, samples)


def read_instance_ids(path: Path) -> Ids:
    """Decode a mask: things keep class * 1000 + number, void and groups are ignored.

    Returns:
        (H, W) uint16 ids.

    Raises:
        SampleError: It cannot be read, or holds classes that there are not.
    """
    values = read_values(path).astype(np.int64)
    classes = np.where(values >= _PER_CLASS, values // _PER_CLASS, values)
    thing = np.isin(classes, list(THINGS))
    void = (classes >= -1) & (classes <= _LAST_VOID)
    wrong = (classes < -1) | (classes > _LAST_CLASS) | ((values >= _PER_CLASS) & ~thing)
    if wrong.any():
        raise SampleError(
            path,
            f"has the value {values[wrong].min()}; accepted are classes -1 to {_LAST_CLASS}, and "
            "class * 1000 + number for classes 24 to 33",
        )
    ids = np.where(thing & (values >= _PER_CLASS), values, 0)
    ids[void | (thing & (values < _PER_CLASS))] = IGNORE
    return ids.astype(np.uint16)


def _splits(images: Path, wanted: str | None) -> list[str]:
    there = (
        sorted(item.name for item in images.iterdir() if item.is_dir()) if images.is_dir() else []
    )
    if wanted is None:
        return [name for name in there if name != "test"]
    if there and wanted not in there:
        known = ", ".join(there)
        raise DatasetError(images.parent, (Fault("split", f"is {wanted!r}; there are {known}"),))
    return [wanted] if there else []


def _pairs(images: Path, masks: Path, survey: Survey) -> dict[str, Pair]:
    """Match the images and masks of a split by city and name."""
    pictures = _by_name(images, _IMAGE_END)
    truths = _by_name(masks, _MASK_END)
    for name, path in pictures.items():
        if name not in truths:
            survey.fault(path, f"has no mask {survey.name(masks)}/{name}{_MASK_END}")
            survey.left_out += 1
    for name, path in truths.items():
        if name not in pictures:
            survey.fault(path, f"has no image {survey.name(images)}/{name}{_IMAGE_END}")
    return {
        f"{images.name}/{name}": Pair(path, truths[name])
        for name, path in pictures.items()
        if name in truths
    }


def _by_name(folder: Path, end: str) -> dict[str, Path]:
    found = sorted(folder.glob(f"*/*{end}"))
    return {path.relative_to(folder).as_posix().removesuffix(end): path for path in found}
