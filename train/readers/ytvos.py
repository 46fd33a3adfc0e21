"""`ytvos`: films of which every fifth frame has a mask, as YouTube-VOS (and MOSE) come.

    DIR/[SPLIT/]JPEGImages/FILM/00000.jpg
    DIR/[SPLIT/]Annotations/FILM/00000.png   palette; 0 background
    DIR/[SPLIT/]meta.json                    {"videos": {FILM: {"objects": {ID: {"category": ..

Frames without a mask are left out. Without a split `train` is read: elsewhere only the first mask
of each object is given. There need not be a meta.json, objects then have no class. (Xu et al.
2018, "YouTube-VOS: A Large-Scale Video Object Segmentation Benchmark".)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from train.readers.davis import find_film
from train.readers.faults import DatasetError
from train.readers.instances import natural_key
from train.readers.pairs import check_film, film_sample
from train.readers.samples import MAX_OBJECTS, Dataset, Fault, VideoSample
from train.readers.survey import Options, Survey
from train.readers.tables import whole_number

NAME = "ytvos"
LOOKS_FOR = "JPEGImages/FILM/*.jpg and Annotations/FILM/*.png, here or under train/"

_Names = dict[int, str]


def fits(root: Path) -> bool:
    """Whether a folder looks like this layout."""
    return bool(_parts(root))


def read(root: Path, options: Options) -> Dataset:
    """Read a folder in this layout."""
    survey = Survey(root, options.progress)
    part = _part(root, options.split)
    if part is None:
        survey.fault(root, f"expected {LOOKS_FOR}")
        return survey.dataset(NAME)
    images, masks, meta = part / "JPEGImages", part / "Annotations", part / "meta.json"
    named = _read_meta(meta, survey) if meta.is_file() else None
    names = sorted((item.name for item in masks.iterdir() if item.is_dir()), key=natural_key)
    films = [
        find_film(name, images, masks, options.frames, survey, every_frame=False) for name in names
    ]
    for name in named or {}:
        if name not in names:
            survey.fault(meta, f"there is no folder {survey.name(masks)}/{name}", f"film {name}")
    survey.begin(2 * sum(len(film.pairs) for film in films))
    videos: list[VideoSample] = []
    for film in films:
        mark = survey.mark()
        tracks = check_film(film.pairs, survey)
        labels = (named or {}).get(film.name, {})
        if film.sound and survey.mark() == mark:
            _compare(film.name, tracks, named, meta, options, survey)
        survey.count(tracks, labels)
        if survey.clean_since(mark, sound=film.sound):
            videos.append(film_sample(film.name, film.pairs, labels))
    return survey.dataset(NAME, videos=videos)


def _compare(
    film: str,
    tracks: set[int],
    named: Mapping[str, _Names] | None,
    meta: Path,
    options: Options,
    survey: Survey,
) -> None:
    """Compare what was seen in the masks of a film with what meta.json lists."""
    at = f"film {film}"
    labels = (named or {}).get(film, {})
    if not tracks:
        survey.fault(film, "no frame has an object")
    elif named is None:
        return
    elif film not in named:
        survey.fault(meta, "is not listed", at)
    elif tracks - set(labels):
        survey.fault(meta, f"objects {_text(tracks - set(labels))} are not listed", at)
    elif set(labels) - tracks and options.frames is None:
        survey.fault(meta, f"objects {_text(set(labels) - tracks)} are in no mask", at)


def _read_meta(path: Path, survey: Survey) -> dict[str, _Names] | None:
    """Return film -> id -> class name, None where the file is no good."""
    try:
        content: Any = json.loads(path.read_bytes())
        films = content["videos"]
        return {name: _names(name, film["objects"], path, survey) for name, film in films.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        survey.fault(
            path, f'cannot be used ({reason}); expected {{"videos": {{FILM: {{"objects": ...}}}}}}'
        )
        return None


def _names(film: str, objects: Mapping[str, Any], path: Path, survey: Survey) -> _Names:
    names: _Names = {}
    for key, item in objects.items():
        number = whole_number(key, 1, MAX_OBJECTS)
        category = item.get("category")
        if number is None:
            survey.fault(
                path, f"has the object {key!r}; accepted are 1 to {MAX_OBJECTS}", f"film {film}"
            )
        elif not isinstance(category, str) or not category:
            survey.fault(path, f"object {number} has the category {category!r}", f"film {film}")
        else:
            names[number] = category
    return names


def _text(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _parts(root: Path) -> list[Path]:
    """Return the folders that hold frames and masks of films: the root, or its splits."""
    if not root.is_dir():
        return []
    children = sorted(item for item in root.iterdir() if item.is_dir())
    return [item for item in (root, *children) if _is_part(item)]


def _is_part(folder: Path) -> bool:
    masks = folder / "Annotations"
    return (folder / "JPEGImages").is_dir() and masks.is_dir() and any(masks.glob("*/*.png"))


def _part(root: Path, split: str | None) -> Path | None:
    parts = _parts(root)
    if root in parts:
        return root
    wanted = split or "train"
    found = [part for part in parts if part.name == wanted]
    if parts and not found:
        known = ", ".join(part.name for part in parts)
        raise DatasetError(root, (Fault("split", f"is {wanted!r}; there are {known}"),))
    return found[0] if found else None
