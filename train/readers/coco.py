"""`coco`: instances in JSON files, as COCO, LIVECell and most labelling tools write them.

    DIR/annotations/*.json or DIR/*.json     with the images anywhere under DIR
    DIR/SPLIT/_annotations.coco.json         with the images beside it
    FILE.json                                this file alone

Masks are polygons or run lengths, `iscrowd` regions are ignored pixels, and an annotation with a
box only stays a box. Of several files those are read whose name has the wanted split as a word;
`captions_*.json` beside `instances_*.json` gives the images their captions. (Lin et al. 2014,
"Microsoft COCO"; Edlund et al. 2021, "LIVECell".)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from train.readers.coco_json import Document, Entry, read_document
from train.readers.coco_shapes import Shape, load_shapes, read_box, read_outline
from train.readers.faults import DatasetError
from train.readers.finder import ImageFinder
from train.readers.pixels import Size, size_text
from train.readers.samples import (
    MAX_OBJECTS,
    Dataset,
    Fault,
    ImageSample,
)
from train.readers.survey import Options, Survey

NAME = "coco"
LOOKS_FOR = "annotations/*.json"

_OTHER_TASKS: Final = ("person_keypoints", "panoptic", "stuff", "image_info")


def fits(root: Path) -> bool:
    """Whether a folder or file looks like this layout."""
    return bool(_json_files(root))


def read(root: Path, options: Options) -> Dataset:
    """Read a folder or a JSON file in this layout."""
    base = root if root.is_dir() else _folder_of(root)
    survey = Survey(base, options.progress)
    files = _json_files(root)
    if not files:
        survey.fault(root, f"expected {LOOKS_FOR}")
    elif options.split is not None:
        files = _of_split(files, base, options.split)
    samples = read_entries(files, ImageFinder(base), survey)
    return survey.dataset(NAME, filter(None, samples.values()))


def read_entries(
    files: Sequence[Path], finder: ImageFinder, survey: Survey
) -> dict[Path, ImageSample | None]:
    """Read JSON files and check the images that they name.

    Returns:
        Image file -> its sample, None for one with faults.
    """
    documents = [document for file in files if (document := read_document(file, survey))]
    # Files that only have captions add to the images of the others.
    documents.sort(key=lambda item: not item.categories and not item.outlines)
    merged: dict[str, tuple[Document, Entry]] = {}
    for document in documents:
        for entry in document.entries.values():
            known = merged.setdefault(entry.file_name, (document, entry))[1]
            if known is entry:
                continue
            known.captions += entry.captions
            if entry.objects:
                survey.fault(
                    entry.file, f"is also in {survey.name(known.file)}", f"image {entry.file_name}"
                )
    survey.begin(len(merged))
    samples: dict[Path, ImageSample | None] = {}
    for document, entry in merged.values():
        mark = survey.mark()
        path = _image_of(entry, finder, survey)
        size = survey.image(path) if path else None
        made = _sample(document, entry, path, size, survey) if path and size else None
        clean = survey.clean_since(mark, sound=entry.sound)
        if path:
            samples[path] = made if clean else None
    return samples


def _image_of(entry: Entry, finder: ImageFinder, survey: Survey) -> Path | None:
    at = f"image {entry.number}"
    found = finder.find(entry.file_name, near=entry.file.parent)
    if len(found) != 1:
        survey.fault(entry.file, f"{entry.file_name} {finder.problem(found)}", at)
    return found[0] if len(found) == 1 else None


def _sample(
    document: Document, entry: Entry, path: Path, size: Size, survey: Survey
) -> ImageSample | None:
    """Check what is said about an image against the image itself."""
    at = f"image {entry.number}"
    if entry.size is not None and entry.size != size:
        told = size_text(entry.size)
        survey.fault(path, f"is {size_text(size)}, {survey.name(entry.file)} says {told}")
        return None
    if len(entry.objects) > MAX_OBJECTS:
        survey.fault(
            entry.file, f"has {len(entry.objects)} objects; accepted are up to {MAX_OBJECTS}", at
        )
        return None
    shapes: list[Shape] = []
    labels: dict[int, str] = {}
    for number, raw in enumerate(entry.objects, start=1):
        try:
            shapes.append(_shape(number, raw, size, document.outlines))
        except ValueError as error:
            survey.fault(entry.file, str(error), f"annotation {raw.get('id')}")
        if document.categories:
            labels[number] = document.categories[raw["category_id"]]
    crowds = sum(shape.crowd for shape in shapes)
    survey.ignored += crowds
    survey.captions += len(entry.captions)
    survey.count((shape.number for shape in shapes if not shape.crowd), labels)
    load = partial(
        load_shapes,
        path,
        size,
        tuple(shapes),
        labels,
        tuple(dict.fromkeys(entry.captions)),
        document.outlines,
    )
    return ImageSample(re.sub(r"\.[^./]+$", "", entry.file_name), load)


def _shape(number: int, raw: Mapping[str, object], size: Size, outlines: bool) -> Shape:
    crowd = raw.get("iscrowd", 0) in (1, True)
    has_box = raw.get("bbox") is not None
    box = read_box(raw["bbox"], size) if has_box else None
    # A set of boxes leaves the outlines empty; in a set of outlines that is a fault.
    if has_box and (not outlines or raw.get("segmentation") is None):
        return Shape(number, None, box, crowd)
    return Shape(number, read_outline(raw.get("segmentation"), size), None, crowd)


def _json_files(root: Path) -> list[Path]:
    """Return the files that hold instances or captions, of all splits."""
    if root.is_file():
        if root.suffix != ".json":
            return []
        captions = root.with_name(root.name.replace("instances_", "captions_"))
        return [root, captions] if captions != root and captions.is_file() else [root]
    files = sorted(root.glob("annotations/*.json")) or sorted(root.glob("*/_annotations.coco.json"))
    files = files or [path for path in sorted(root.glob("*.json")) if path.name != "meta.json"]
    return [path for path in files if not path.name.startswith(_OTHER_TASKS)]


def _of_split(files: Sequence[Path], base: Path, split: str) -> list[Path]:
    """Return the files with a split in their name, as a word: `val` is in instances_val2017."""
    word = re.compile(rf"(?<![a-z]){re.escape(split)}(?![a-z])")
    chosen = [path for path in files if word.search(path.relative_to(base).as_posix())]
    if not chosen:
        names = ", ".join(path.relative_to(base).as_posix() for path in files)
        raise DatasetError(base, (Fault("split", f"{split!r} is in no name of {names}"),))
    return chosen


def _folder_of(file: Path) -> Path:
    return file.parent.parent if file.parent.name == "annotations" else file.parent
