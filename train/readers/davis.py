"""`davis`: films with a mask for every frame, as DAVIS 2016 and 2017 come.

    DIR/JPEGImages/480p/FILM/00000.jpg
    DIR/Annotations/480p/FILM/00000.png      palette; 0 background, 255 void
    DIR/ImageSets/2017/train.txt             names of films; of 2016 also "/JPEGImages/... /Anno..."

Of several resolutions 480p is read. A split is a name in ImageSets: `train` or `2016/train`. In
masks that have 0 and 255 only, as those of 2016, 255 is the object. (Perazzi et al. 2016, "A
Benchmark Dataset and Evaluation Methodology for Video Object Segmentation"; Pont-Tuset et al. 2017,
"The 2017 DAVIS Challenge".)
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from train.readers.faults import DatasetError
from train.readers.instances import natural_key
from train.readers.pairs import Film, Pair, check_film, film_sample
from train.readers.pixels import read_ids
from train.readers.samples import IGNORE, Dataset, Fault, Ids, VideoSample
from train.readers.survey import Options, Survey
from train.readers.tables import read_lines

NAME = "davis"
LOOKS_FOR = "JPEGImages/480p/FILM/*.jpg and Annotations/480p/"

VOID: Final = 255
_YEARS: Final = ("2017", "2016", "480p", "1080p", "")


def fits(root: Path) -> bool:
    """Whether a folder looks like this layout."""
    return _resolution(root) is not None


def read(root: Path, options: Options) -> Dataset:
    """Read a folder in this layout."""
    survey = Survey(root, options.progress)
    resolution = _resolution(root)
    if resolution is None:
        survey.fault(root, f"expected {LOOKS_FOR}")
        return survey.dataset(NAME)
    masks = root / "Annotations" / resolution
    names = _films(root, masks, options.split, survey)
    images = root / "JPEGImages" / resolution
    films = [find_film(name, images, masks, options.frames, survey) for name in names]
    survey.begin(2 * sum(len(film.pairs) for film in films))
    videos = (_sample(film, survey) for film in films)
    return survey.dataset(NAME, videos=filter(None, videos))


def find_film(
    name: str,
    images: Path,
    masks: Path,
    frames: int | None,
    survey: Survey,
    *,
    every_frame: bool = True,
) -> Film:
    """Match the frames of a film and their masks, in natural order.

    Args:
        name: The film, a folder under both.
        images: Folder of the films' JPEG (or PNG) frames.
        masks: Folder of their PNG masks.
        frames: Only the first so many frames with a mask; None for all.
        survey: Takes the faults.
        every_frame: A frame without a mask is a fault, else it is left out.
    """
    mark = survey.mark()
    pictures = {path.stem: path for path in _files(images / name, (".jpg", ".jpeg", ".png"))}
    truths = {path.stem: path for path in _files(masks / name, (".png",))}
    if not pictures:
        survey.fault(images / name, "has no frames; expected *.jpg")
    elif not truths:
        survey.fault(masks / name, "has no masks; expected *.png")
    else:
        for stem in sorted(truths.keys() - pictures.keys()):
            survey.fault(truths[stem], f"has no frame {survey.name(images)}/{name}/{stem}.jpg")
        for stem in sorted(pictures.keys() - truths.keys()) if every_frame else ():
            survey.fault(pictures[stem], f"has no mask {survey.name(masks)}/{name}/{stem}.png")
    pairs = [Pair(path, truths[stem]) for stem, path in pictures.items() if stem in truths]
    return Film(name, pairs[:frames], sound=survey.mark() == mark)


def read_palette(path: Path, *, single: bool = False) -> Ids:
    """Decode a DAVIS mask: (H, W) uint16 ids.

    Args:
        path: The file.
        single: 255 is the one object, as in 2016; else it is void, as in 2017.

    Raises:
        SampleError: It cannot be read.
    """
    ids = read_ids(path)
    ids[ids == VOID] = 1 if single else IGNORE
    return ids


def _sample(film: Film, survey: Survey) -> VideoSample | None:
    mark = survey.mark()
    tracks = check_film(film.pairs, survey)
    single = tracks == {VOID}
    tracks = {1} if single else tracks - {VOID}
    if not tracks and film.sound and survey.mark() == mark:
        survey.fault(film.name, "no frame has an object")
    survey.count(tracks, {})
    if not survey.clean_since(mark, sound=film.sound):
        return None
    return film_sample(film.name, film.pairs, {}, partial(read_palette, single=single))


def _resolution(root: Path) -> str | None:
    """The folder of a resolution under `Annotations`, best 480p; None where there is none."""
    annotations = root / "Annotations"
    if not annotations.is_dir() or not (root / "JPEGImages").is_dir():
        return None
    # In folders of films, not of resolutions, the masks lie one level higher.
    found = sorted(
        item.name for item in annotations.iterdir() if item.is_dir() and any(item.glob("*/*.png"))
    )
    if not found:
        return None
    return "480p" if "480p" in found else found[0]


def _films(root: Path, masks: Path, split: str | None, survey: Survey) -> list[str]:
    there = [item.name for item in masks.iterdir() if item.is_dir()]
    if split is None:
        return sorted(there, key=natural_key)
    sets = root / "ImageSets"
    for year in _YEARS:
        path = sets / year / f"{split}.txt"
        if path.is_file():
            lines = (line.split()[0] for _, line in read_lines(path, survey) if line.strip())
            # Lists of 2016 name every frame, as /JPEGImages/480p/FILM/00000.jpg.
            names = dict.fromkeys(line.split("/")[-2] if "/" in line else line for line in lines)
            return list(names)
    known = sorted(
        path.relative_to(sets).with_suffix("").as_posix() for path in sets.rglob("*.txt")
    )
    raise DatasetError(
        root,
        (Fault("split", f"is {split!r}; ImageSets/ has {', '.join(known) or 'none'}"),),
    )


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]
    return sorted(found, key=lambda path: natural_key(path.name))
