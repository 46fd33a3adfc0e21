"""Annotated sequences on disk: pictures, and beside each a mask with the ids of its objects.

Three layouts are read; a picture and its mask have the same name but for the suffix:

    DIR/images/*, DIR/masks/*                one sequence
    DIR/images/NAME/*, DIR/masks/NAME/*      one sequence for each NAME
    DIR/NAME/...                             a set, each NAME one of the two above

Masks are PNG or TIFF and whole numbers (gray of 8 or 16 bit, or palette), 0 is background, and an
object keeps its id from frame to frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as Pil

from stream.config import Normalize
from stream.errors import UsageError
from stream.evaluate.regions import Ids
from stream.frame import Frame
from stream.sources.files import UnreadableError
from stream.sources.frames import FrameMaker
from stream.sources.images import SUFFIXES, natural_key, read_image

SHOWN_PROBLEMS: Final = 20
MASK_SUFFIXES: Final = (".png", ".tif", ".tiff")
LARGEST_ID: Final = 65_534


class SequenceError(UsageError):
    """Annotated sequences cannot be used as they lie there.

    Attributes:
        problems: Every one that was found; the message shows the first ones and counts the rest.
    """

    def __init__(self, root: Path, problems: list[str]) -> None:
        self.problems = problems
        shown = "; ".join(problems[:SHOWN_PROBLEMS])
        more = len(problems) - SHOWN_PROBLEMS
        super().__init__(f"{root}: {shown}" + (f"; and {more} more" if more > 0 else ""))


@dataclass(frozen=True, slots=True)
class AnnotatedFrame:
    """One picture and its truth."""

    index: int
    image: npt.NDArray[np.uint8]
    """(H, W, 3) uint8 RGB; 16 bit is normalised as a live source's is."""
    ids: Ids
    """(H, W) uint16, 0 background."""
    name: str = ""
    """The picture's, without its suffix."""


@dataclass(frozen=True, slots=True)
class AnnotatedSequence:
    """One film of which all pictures and masks were found good; nothing is held in memory."""

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    stills: bool = False
    """Every picture stands alone: sizes may differ, and levels are found for each."""

    def __len__(self) -> int:
        return len(self.images)

    def frames(self, normalize: Normalize | None = None) -> Iterator[AnnotatedFrame]:
        """Read the frames in their natural order.

        Args:
            normalize: How 16-bit pictures become visible; None for the defaults.

        Raises:
            SequenceError: A file went bad since it was checked.
        """
        levels = normalize or Normalize()
        maker = FrameMaker(self.name, levels)
        for index, (image_path, mask_path) in enumerate(zip(self.images, self.masks, strict=True)):
            try:
                image, ids = read_image(image_path), read_ids(mask_path)
            except (UnreadableError, UsageError) as error:
                raise SequenceError(Path(self.name), [str(error)]) from None
            if self.stills:
                maker = FrameMaker(self.name, levels)
            frame = maker.make(image, float(index), 0)[-1]
            assert isinstance(frame, Frame), "a maker's last item is the frame"
            yield AnnotatedFrame(index, frame.rgb, ids, image_path.stem)


def find_sequences(
    root: Path,
    *,
    frames: int | None = None,
    stills: bool = False,
    wanted: Callable[[str], bool] | None = None,
) -> list[AnnotatedSequence]:
    """Find the sequences of a folder and check every file that will be read.

    Args:
        root: A folder in one of the three layouts.
        frames: Only the first so many frames of each; None for all.
        stills: Every picture stands alone, so that sizes may differ.
        wanted: Says by a picture's name, without its suffix, whether it is taken; None for all. A
            sequence of which none is left is not given.

    Raises:
        SequenceError: Any problem; it lists all of them.
    """
    if not root.is_dir():
        raise SequenceError(root, ["is no folder; accepted is one with images/ and masks/"])
    problems: list[str] = []
    found = []
    for name, images, masks in _folders(root, problems):
        own: list[str] = []
        pairs = [p for p in _pairs(images, masks, own) if wanted is None or wanted(p[0].stem)]
        pairs = pairs[:frames]
        _check_pairs(pairs, stills, own)
        problems += [f"{name}: {problem}" for problem in own]
        if pairs:
            images_of, masks_of = zip(*pairs, strict=True)
            found.append(AnnotatedSequence(name, images_of, masks_of, stills))
    if problems:
        raise SequenceError(root, problems)
    return found


def names_of(sequences: Iterable[AnnotatedSequence]) -> set[str]:
    """Return what a file may call their pictures: `SEQUENCE/PICTURE` or `PICTURE`."""
    found = set()
    for sequence in sequences:
        for path in sequence.images:
            found |= {path.stem, f"{sequence.name}/{path.stem}"}
    return found


def read_ids(path: Path) -> Ids:
    """Read one mask: (H, W) uint16.

    Raises:
        UnreadableError: The file is damaged, or its pixels are no ids.
    """
    try:
        with Pil.open(path) as picture:
            values: npt.NDArray[Any] = np.asarray(picture)
            mode = picture.mode
    except Exception as error:
        # Every codec raises errors of its own.
        raise UnreadableError(f"{path.name}: {error}") from None
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise UnreadableError(
            f"{path.name}: pixels are {mode}, not ids; accepted are gray of 8 or 16 bit and palette"
        )
    if values.size and not 0 <= int(values.min()) <= int(values.max()) <= LARGEST_ID:
        raise UnreadableError(
            f"{path.name}: ids reach from {values.min()} to {values.max()}; accepted are 0 to "
            f"{LARGEST_ID} (65535, which trainings ignore, cannot be left out here)"
        )
    return values.astype(np.uint16)


def _folders(root: Path, problems: list[str]) -> list[tuple[str, Path, Path]]:
    """Name, images and masks of each sequence under a folder."""
    if (root / "images").is_dir() or (root / "masks").is_dir():
        return _sequences_in(root, root.resolve().name, problems)
    children = sorted((item for item in root.iterdir() if _is_set_member(item)), key=natural_key)
    if not children:
        problems.append("holds no images/ and masks/, nor folders that do")
    found = []
    for child in children:
        found += _sequences_in(child, child.name, problems)
    return found


def _sequences_in(folder: Path, name: str, problems: list[str]) -> list[tuple[str, Path, Path]]:
    images, masks = folder / "images", folder / "masks"
    missing = [item.name for item in (images, masks) if not item.is_dir()]
    if missing:
        problems.append(f"{name}: has no folder {' and no folder '.join(missing)}")
        return []
    inner = {item.name for side in (images, masks) for item in side.iterdir() if item.is_dir()}
    if not inner or any(item.suffix.lower() in SUFFIXES for item in images.iterdir()):
        return [(name, images, masks)]
    names = sorted(inner, key=lambda item: natural_key(Path(item)))
    return [(f"{name}/{item}", images / item, masks / item) for item in names]


def _is_set_member(item: Path) -> bool:
    return item.is_dir() and not item.name.startswith(".")


def _pairs(images: Path, masks: Path, problems: list[str]) -> list[tuple[Path, Path]]:
    """Pictures with their masks, in natural order."""
    missing = [folder for folder in (images, masks) if not folder.is_dir()]
    if missing:
        problems += [f"has no folder {folder.parent.name}/{folder.name}" for folder in missing]
        return []
    pictures = _by_stem(images, SUFFIXES, problems)
    truths = _by_stem(masks, MASK_SUFFIXES, problems)
    if not pictures:
        problems.append(f"{images.name}/ holds no pictures")
    for stem, path in pictures.items():
        if stem not in truths:
            problems.append(f"{path.name} has no mask {stem}.png")
    for stem, path in truths.items():
        if stem not in pictures:
            problems.append(f"mask {path.name} has no picture")
    return [(path, truths[stem]) for stem, path in pictures.items() if stem in truths]


def _by_stem(folder: Path, suffixes: tuple[str, ...], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    for path in sorted(paths, key=natural_key):
        if path.stem in found:
            problems.append(f"{path.name} and {found[path.stem].name} are the same frame")
        found.setdefault(path.stem, path)
    return found


def _check_pairs(pairs: list[tuple[Path, Path]], stills: bool, problems: list[str]) -> None:
    first: tuple[int, ...] | None = None
    for image_path, mask_path in pairs:
        image_size = _size(image_path, "picture", problems)
        mask_size = _size(mask_path, "mask", problems)
        if image_size is None:
            continue
        if mask_size is not None and mask_size != image_size:
            problems.append(
                f"{image_path.name} is {_text(image_size)}, its mask {_text(mask_size)}"
            )
        first = first or image_size
        if image_size != first and not stills:
            problems.append(f"{image_path.name} is {_text(image_size)}, the first {_text(first)}")


def _size(path: Path, kind: str, problems: list[str]) -> tuple[int, ...] | None:
    try:
        pixels = read_image(path) if kind == "picture" else read_ids(path)
    except (UnreadableError, UsageError) as error:
        problems.append(f"{kind} {error}")
        return None
    return pixels.shape[:2]


def _text(size: tuple[int, ...]) -> str:
    return f"{size[1]}x{size[0]}"
