"""`instances`: `images/` and `masks/`, a mask of ids for each image, under the same name.

    DIR/images/*, DIR/masks/*                images that stand alone, or one film
    DIR/images/NAME/*, DIR/masks/NAME/*      the same in folders, to any depth
    DIR/NAME/...                             a set of the two above

These are the layouts of `stream.evaluate.sequences`. Masks are PNG or TIFF of 8 or 16 bit, gray
or palette: 0 is background, 65535 is ignored, every other number an object. Beside `images/` may
lie `labels.csv` (columns stem, id, label) and `index.csv` (column id, one row an image; columns
label, h, w and n_objects are used where they are there).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from train.readers.instance_labels import IndexTable, LabelTable
from train.readers.pairs import Pair, check_film, check_pair, film_sample, image_sample
from train.readers.pixels import IMAGE_SUFFIXES, MASK_SUFFIXES
from train.readers.samples import Dataset, ImageSample, VideoSample
from train.readers.survey import Options, Survey

NAME = "instances"
LOOKS_FOR = "images/ and masks/, here or in sub-folders"


@dataclass(slots=True)
class _Part:
    """One folder with `images/` and `masks/`.

    Attributes:
        folder: the folder.
        prefix: what the names of its samples begin with.
        pairs: path below the two folders, without suffix -> files.
        bare: images that have no mask.
    """

    folder: Path
    prefix: str
    pairs: dict[str, Pair] = field(default_factory=dict)
    bare: list[str] = field(default_factory=list)


def fits(root: Path) -> bool:
    """Whether a folder looks like this layout."""
    return any((folder / "masks").is_dir() for folder, _ in _bases(root))


def read(root: Path, options: Options) -> Dataset:
    """Read a folder in this layout; `options.videos` makes a film of every folder of frames."""
    survey = Survey(root, options.progress)
    parts = [_Part(folder, prefix) for folder, prefix in _bases(root)]
    if not parts:
        survey.fault(root, f"expected {LOOKS_FOR}")
    for part in parts:
        _find_pairs(part, survey)
        survey.begin(2 * len(part.pairs))
    images: list[ImageSample] = []
    videos: list[VideoSample] = []
    for part in parts:
        labels = LabelTable(part.folder / "labels.csv", survey)
        index = IndexTable(part.folder / "index.csv", survey)
        if options.videos:
            videos += _films(part, labels, options.frames, survey)
        else:
            images += _stills(part, labels, index, survey)
        labels.check_names(part.pairs)
        index.check_names(part.pairs)
    return survey.dataset(NAME, images, videos)


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key in which numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]


def by_stem(folder: Path, suffixes: Sequence[str], survey: Survey) -> dict[str, Path]:
    """Return the files under a folder by their relative path without suffix, in natural order."""
    if not folder.is_dir():
        survey.fault(folder, "is missing; expected a folder")
        return {}
    found: dict[str, Path] = {}
    paths = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]
    if not paths:
        kinds = ", ".join(suffix[1:] for suffix in suffixes)
        survey.fault(folder, f"holds no pictures; accepted are {kinds}")
    for path in sorted(paths, key=lambda item: natural_key(item.as_posix())):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            survey.fault(path, f"has the same name as {found[stem].name}; keep one of them")
        found.setdefault(stem, path)
    return found


def _bases(root: Path) -> list[tuple[Path, str]]:
    """Folders with `images/` or `masks/`, and the prefix of their samples' names."""
    if _is_base(root):
        return [(root, "")]
    children = (item for item in root.iterdir() if not item.name.startswith("."))
    found = [item for item in children if item.is_dir() and _is_base(item)]
    return [
        (item, f"{item.name}/") for item in sorted(found, key=lambda item: natural_key(item.name))
    ]


def _is_base(folder: Path) -> bool:
    return (folder / "images").is_dir() or (folder / "masks").is_dir()


def _find_pairs(part: _Part, survey: Survey) -> None:
    """Match images and masks, in natural order; what has no partner is a fault."""
    images, masks = part.folder / "images", part.folder / "masks"
    pictures = by_stem(images, IMAGE_SUFFIXES, survey)
    truths = by_stem(masks, (*MASK_SUFFIXES, ".jpg", ".jpeg"), survey)
    for stem, path in pictures.items():
        if stem not in truths:
            survey.fault(path, f"has no mask {survey.name(masks)}/{stem}.png or .tif")
            part.bare.append(stem)
    for stem, path in truths.items():
        if stem not in pictures:
            survey.fault(path, f"has no image {survey.name(images)}/{stem}.*")
    both = (stem for stem in pictures if stem in truths)
    part.pairs = {stem: Pair(pictures[stem], truths[stem]) for stem in both}


def _stills(
    part: _Part, labels: LabelTable, index: IndexTable, survey: Survey
) -> Iterator[ImageSample]:
    survey.left_out += len(part.bare)
    for stem, pair in part.pairs.items():
        mark = survey.mark()
        checked = check_pair(pair, survey)
        index.check(stem, checked.size, len(checked.objects))
        own = index.labels(stem, checked.objects) | labels.take(stem, checked.objects)
        survey.count(checked.objects, own)
        if survey.clean_since(mark):
            yield image_sample(part.prefix + stem, pair, own)


def _films(
    part: _Part, labels: LabelTable, frames: int | None, survey: Survey
) -> Iterator[VideoSample]:
    films: dict[str, dict[str, Pair]] = {}
    for stem, pair in part.pairs.items():
        films.setdefault(stem.rpartition("/")[0], {})[stem] = pair
    holed = {stem.rpartition("/")[0] for stem in part.bare}
    survey.left_out += len(holed - films.keys())
    for folder, members in films.items():
        name = (part.prefix + folder).strip("/") or part.folder.name
        chosen = dict(list(members.items())[:frames])
        mark = survey.mark()
        tracks = check_film(list(chosen.values()), survey)
        all_known = survey.mark() == mark and len(chosen) == len(members)
        names = labels.of_film(folder, chosen, tracks if all_known else None)
        survey.count(tracks, names)
        if survey.clean_since(mark, sound=folder not in holed):
            yield film_sample(name, list(chosen.values()), names)
