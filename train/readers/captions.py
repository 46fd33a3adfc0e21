"""`captions`: images with sentences about them, and objects if there are annotations.

    DIR/images/*                             in folders, too
    DIR/captions.txt                         "name.jpg: a large red dog", several lines an image
    DIR/annotations/*.png, labels.csv        masks of ids as in `instances`; also as DIR/masks/
    DIR/annotations.json, annotations/*.json COCO instances instead of masks
    DIR/boxes.csv                            boxes instead of masks, also in annotations/

With `boxes.csv` there need not be captions at all. Images without annotation are unknown, not
empty: they load without ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from train.readers.boxes import boxed_image, read_boxes
from train.readers.caption_lines import read_captions
from train.readers.coco import read_entries
from train.readers.finder import ImageFinder
from train.readers.instance_labels import LabelTable
from train.readers.instances import by_stem
from train.readers.pairs import Pair, check_pair, load_pair
from train.readers.pixels import MASK_SUFFIXES, read_image
from train.readers.samples import Dataset, ImageSample, LabelledImage
from train.readers.survey import Options, Survey

NAME = "captions"
LOOKS_FOR = "images/ and captions.txt or boxes.csv"

Load = Callable[[], LabelledImage]
Annotated = dict[Path, Load | None]
"""Image -> what loads it with its objects; None for one with faults."""


def fits(root: Path) -> bool:
    """Whether a folder looks like this layout."""
    return (root / "captions.txt").is_file() or (
        (root / "images").is_dir() and bool(_box_tables(root))
    )


def read(root: Path, options: Options) -> Dataset:
    """Read a folder in this layout."""
    survey = Survey(root, options.progress)
    images, table = root / "images", root / "captions.txt"
    finder = ImageFinder(images)
    paths = finder.all()
    if not paths:
        survey.fault(images, "holds no images")
    texts: dict[Path, list[str]] | None = None
    if table.is_file():
        texts = read_captions(table, finder, survey)
    elif not _box_tables(root):
        survey.fault(table, f"is missing; expected {LOOKS_FOR}")
    survey.begin(len(paths))
    annotated = _annotations(root, finder, survey)
    samples: list[ImageSample] = []
    for path in paths:
        captions = tuple((texts or {}).get(path, ()))
        survey.captions += len(captions)
        if texts is not None and not captions:
            survey.fault(path, f"has no caption in {table.name}")
        load = annotated[path] if path in annotated else _plain(path, survey)
        if load is not None and (captions or texts is None):
            name = path.relative_to(images).with_suffix("").as_posix()
            samples.append(ImageSample(name, partial(load_captioned, load, captions)))
    survey.left_out = len(paths) - len(samples)
    return survey.dataset(NAME, samples)


def load_captioned(load: Load, captions: tuple[str, ...]) -> LabelledImage:
    """Decode an image and its objects, and add its captions."""
    labelled = load()
    return replace(labelled, captions=tuple(dict.fromkeys((*captions, *labelled.captions))))


def load_plain(path: Path) -> LabelledImage:
    """Decode an image of whose objects nothing is known."""
    return LabelledImage(read_image(path), None)


def _plain(path: Path, survey: Survey) -> Load | None:
    return partial(load_plain, path) if survey.image(path) else None


def _annotations(root: Path, finder: ImageFinder, survey: Survey) -> Annotated:
    """Read the objects, from the one kind of annotation that there is."""
    masks = [folder for folder in (root / "annotations", root / "masks") if _has_masks(folder)]
    files = [root / "annotations.json"] if (root / "annotations.json").is_file() else []
    files += sorted(root.glob("annotations/*.json"))
    tables = _box_tables(root)
    kinds = [*masks, *files[:1], *tables]
    if len(kinds) > 1:
        names = " and ".join(survey.name(path) for path in kinds)
        survey.fault(root, f"objects are told in {names}; keep one of them")
    if masks:
        return _masked(masks[0], root, finder, survey)
    if files:
        return _from_coco(files, finder, survey)
    return _boxed(tables[0], finder, survey) if tables else {}


def _has_masks(folder: Path) -> bool:
    return folder.is_dir() and any(
        path.suffix.lower() in MASK_SUFFIXES for path in folder.rglob("*")
    )


def _box_tables(root: Path) -> list[Path]:
    tables = (root / "boxes.csv", root / "annotations" / "boxes.csv")
    return [table for table in tables if table.is_file()]


def _masked(folder: Path, root: Path, finder: ImageFinder, survey: Survey) -> Annotated:
    truths = by_stem(folder, MASK_SUFFIXES, survey)
    inner, outer = folder / "labels.csv", root / "labels.csv"
    labels = LabelTable(inner if inner.is_file() else outer, survey)
    survey.begin(len(truths))
    annotated: Annotated = {}
    stems: set[str] = set()
    for path in finder.all():
        stem = path.relative_to(finder.root).with_suffix("").as_posix()
        if stem not in truths:
            continue
        stems.add(stem)
        mark = survey.mark()
        pair = Pair(path, truths[stem])
        objects = check_pair(pair, survey).objects
        own = labels.take(stem, objects)
        survey.count(objects, own)
        annotated[path] = partial(load_pair, pair, own) if survey.mark() == mark else None
    for stem, path in truths.items():
        if stem not in stems:
            survey.fault(path, f"has no image images/{stem}.*")
    labels.check_names(dict.fromkeys(stems))
    return annotated


def _from_coco(files: Iterable[Path], finder: ImageFinder, survey: Survey) -> Annotated:
    samples = read_entries(list(files), finder, survey)
    return {path: sample.load if sample else None for path, sample in samples.items()}


def _boxed(table: Path, finder: ImageFinder, survey: Survey) -> Annotated:
    annotated: Annotated = {}
    for path, rows in read_boxes(table, finder, survey).items():
        mark = survey.mark()
        size = survey.image(path)
        load = boxed_image(path, size, rows, table, survey) if size else None
        annotated[path] = load if survey.mark() == mark else None
    return annotated
