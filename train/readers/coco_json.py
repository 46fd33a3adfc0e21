"""COCO's JSON: images, categories and annotations, read once and tied to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from train.readers.pixels import Size
from train.readers.survey import Survey

Raw = dict[str, Any]


@dataclass(slots=True)
class Entry:
    """One image of a JSON file with what is said about it, unchecked.

    Attributes:
        file: the JSON file.
        number: the image's id in it.
        file_name: where the image is meant to be.
        size: (H, W) in pixels as the file tells it, None where it does not.
        objects: annotations of objects.
        captions: sentences about the image.
        sound: False where an annotation is so wrong that it was not kept.
    """

    file: Path
    number: int | str
    file_name: str
    size: Size | None
    objects: list[Raw] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON file.

    Attributes:
        path: the file.
        entries: image id -> image.
        categories: category id -> class name.
        outlines: whether any object has more than a box.
    """

    path: Path
    entries: dict[int | str, Entry]
    categories: dict[int | str, str]
    outlines: bool


def read_document(path: Path, survey: Survey) -> Document | None:
    """Read a JSON file; None where it is no COCO file, everything wrong goes to the survey."""
    try:
        content = json.loads(path.read_bytes(), object_hook=_compact)
    except OSError as error:
        survey.fault(path, f"cannot be read: {error.strerror or error}")
        return None
    except (ValueError, RecursionError) as error:
        # A truncated download ends here.
        survey.fault(path, f"is not JSON: {error}")
        return None
    parts = _parts(content, path, survey)
    if parts is None:
        return None
    images, annotations, categories = parts
    document = Document(
        path,
        _entries(images, path, survey),
        _categories(categories, path, survey),
        any(item.get("segmentation") for item in annotations),
    )
    _attach(annotations, document, survey)
    return document


def _compact(item: Raw) -> Raw:
    """Pack polygons while the file is parsed: lists of floats take ten times the memory."""
    polygons = item.get("segmentation")
    if isinstance(polygons, list):
        try:
            item["segmentation"] = [np.array(polygon, np.float32) for polygon in polygons]
        except (TypeError, ValueError):
            # Whatever this is, it is told with the annotation's id when that is checked.
            return item
    return item


def _parts(
    content: Any, path: Path, survey: Survey
) -> tuple[list[Raw], list[Raw], list[Raw]] | None:
    if not isinstance(content, dict):
        survey.fault(path, "is no COCO file; expected an object with images and annotations")
        return None
    found = []
    for key in ("images", "annotations", "categories"):
        part = content.get(key, [] if key == "categories" else None)
        # LIVECell's single cell lines number their annotations as keys of an object.
        items = (
            [{"id": number, **item} for number, item in part.items() if isinstance(item, dict)]
            if isinstance(part, dict)
            else part
        )
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            survey.fault(path, f"is no COCO file; expected a list of objects as {key!r}")
            return None
        found.append(items)
    return found[0], found[1], found[2]


def _entries(images: list[Raw], path: Path, survey: Survey) -> dict[int | str, Entry]:
    entries: dict[int | str, Entry] = {}
    files: dict[str, int | str] = {}
    for item in images:
        number, name = item.get("id"), item.get("file_name")
        if not isinstance(number, int | str):
            survey.fault(path, f"has the id {number!r}; expected a whole number", f"image {name}")
        elif not isinstance(name, str) or not name:
            survey.fault(path, f"has the file_name {name!r}", f"image {number}")
        elif number in entries:
            first = entries[number].file_name
            survey.fault(path, f"is the id of {first} and {name}", f"image {number}")
            entries[number].sound = False
        elif name in files:
            survey.fault(path, f"is {name}, as image {files[name]}", f"image {number}")
        else:
            files[name] = number
            entries[number] = Entry(path, number, name, _size(item))
    return entries


def _size(item: Raw) -> Size | None:
    height, width = item.get("height"), item.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _categories(categories: list[Raw], path: Path, survey: Survey) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for item in categories:
        number, name = item.get("id"), item.get("name")
        if not isinstance(number, int | str) or not isinstance(name, str) or not name.strip():
            survey.fault(path, f"has the name {name!r}", f"category {number}")
        elif number in names:
            survey.fault(path, f"is the id of {names[number]!r} and {name!r}", f"category {number}")
        else:
            names[number] = name.strip()
    return names


def _attach(annotations: list[Raw], document: Document, survey: Survey) -> None:
    """Hand each annotation to its image, unless nothing can be made of it."""
    seen: set[int | str] = set()
    for item in annotations:
        number, image = item.get("id"), item.get("image_id")
        at = f"annotation {number}"
        entry = document.entries.get(image) if isinstance(image, int | str) else None
        if entry is None:
            survey.fault(document.path, f"is of image {image!r}, which is not in the file", at)
            continue
        if not isinstance(number, int | str):
            survey.fault(document.path, f"has the id {number!r}; expected a whole number", at)
            entry.sound = False
        elif number in seen:
            survey.fault(document.path, "is the id of two annotations", at)
            entry.sound = False
        else:
            seen.add(number)
        if "caption" in item:
            _attach_caption(item["caption"], entry, at, survey)
        elif _known_category(item, document.categories):
            entry.objects.append(item)
        else:
            known = ", ".join(str(key) for key in list(document.categories)[:8]) or "none"
            category = item.get("category_id")
            survey.fault(document.path, f"has the category {category!r}; known are {known}", at)
            entry.sound = False


def _attach_caption(caption: Any, entry: Entry, at: str, survey: Survey) -> None:
    if isinstance(caption, str) and caption.strip():
        entry.captions.append(" ".join(caption.split()))
    else:
        survey.fault(entry.file, f"the caption of {entry.file_name} is empty", at)


def _known_category(item: Raw, categories: Mapping[int | str, str]) -> bool:
    category = item.get("category_id")
    # Sets of one kind of object often name no categories at all.
    return not categories or (isinstance(category, int | str) and category in categories)
