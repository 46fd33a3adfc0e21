"""Image files and masks of ids as arrays, and how much of a file can be told by its header."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image as Pil
from PIL import ImageOps, UnidentifiedImageError

from train.readers.faults import SampleError
from train.readers.levels import Levels, find_levels, stretch
from train.readers.samples import IGNORE, Ids, Image

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
MASK_SUFFIXES: Final = (".png", ".tif", ".tiff", ".bmp")
ACCEPTED_IMAGES: Final = "accepted are gray of 8 or 16 bit, RGB and palette"
ACCEPTED_MASKS: Final = "accepted are gray of 8 or 16 bit and palette"

Size = tuple[int, int]
"""(H, W) in pixels."""
MaskReader = Callable[[Path], Ids]
"""Decodes one mask file: (H, W) uint16; raises SampleError."""

_JPEG: Final = ("JPEG", "MPO")
_JPEG_TAIL_BYTES: Final = 4096
_ORIENTATION: Final = 0x0112
_SIDEWAYS: Final = (5, 6, 7, 8)
_LEVEL_FRAMES: Final = 3


def size_text(size: Size) -> str:
    """Return a size as people write it, width first."""
    return f"{size[1]}x{size[0]}"


def check_image(path: Path) -> Size:
    """Look at an image's header and see that the file is whole, mostly without decoding it.

    Raises:
        SampleError: It is missing, damaged, cut short or of a kind that is not accepted.
    """
    with _opened(path) as picture:
        _require_image(path, picture)
        size = _shown_size(picture)
        if picture.format == "PNG":
            picture.verify()
        elif not (picture.format in _JPEG and _jpeg_ends(path)):
            picture.load()
        return size


def read_image(path: Path, levels: Levels | None = None) -> Image:
    """Decode an image as it is meant to be shown (EXIF orientation): (H, W, 3) uint8 RGB.

    Args:
        path: The file.
        levels: How more than 8 bit becomes visible; None for the image's own levels.

    Raises:
        SampleError: It is missing, damaged or of a kind that is not accepted.
    """
    with _opened(path) as picture:
        _require_image(path, picture)
        if not picture.mode.startswith("I"):
            return np.array(_upright(picture).convert("RGB"), np.uint8)
        values = np.asarray(picture)
    grey = stretch(values, levels or find_levels(values))
    return np.repeat(grey[:, :, None], 3, axis=2)


def film_levels(paths: tuple[Path, ...]) -> Levels | None:
    """Return levels for all frames of a film: its first, middle and last tell. None for 8 bit.

    Raises:
        SampleError: One of the three cannot be read.
    """
    steps = np.linspace(0, len(paths) - 1, _LEVEL_FRAMES).round().astype(int)
    return _shared_levels(tuple(paths[step] for step in sorted(set(steps.tolist()))))


def read_values(path: Path) -> npt.NDArray[Any]:
    """Decode a file of whole numbers, e.g. a mask: (H, W), signed if its numbers may be.

    Raises:
        SampleError: It is missing or damaged, or its pixels are colours or fractions.
    """
    with _opened(path) as picture:
        if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
            raise SampleError(path, f"pixels are {picture.mode}, not ids; {ACCEPTED_MASKS}")
        if picture.format in _JPEG:
            raise SampleError(path, "is a JPEG, which smears ids; accepted are PNG and TIFF")
        return np.asarray(picture)


def read_ids(path: Path) -> Ids:
    """Decode a mask: (H, W) uint16 ids.

    Raises:
        SampleError: It is missing or damaged, its pixels are no ids, or ids are out of range.
    """
    values = read_values(path)
    if values.dtype.kind == "i" and (values.min() < 0 or values.max() > IGNORE):
        raise SampleError(
            path,
            f"ids span {values.min()} to {values.max()}; accepted are 0 (background) to {IGNORE}",
        )
    return values.astype(np.uint16)


def object_ids(ids: Ids) -> list[int]:
    """Return the ids of a mask in order, without background and ignored pixels."""
    # Counting is several times faster than sorting, and masks are most of what is read.
    counts = np.bincount(ids.ravel())
    return [int(number) for number in np.flatnonzero(counts) if 0 < number < IGNORE]


@lru_cache(maxsize=1024)
def _shared_levels(paths: tuple[Path, ...]) -> Levels | None:
    images = []
    for path in paths:
        with _opened(path) as picture:
            if not picture.mode.startswith("I"):
                return None
            images.append(np.asarray(picture))
    return find_levels(*images)


@contextmanager
def _opened(path: Path) -> Iterator[Pil.Image]:
    """Open a file that must hold one picture; whatever its codec raises becomes a SampleError."""
    try:
        with Pil.open(path) as picture:
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format not in _JPEG:
                raise SampleError(path, f"holds {pages} pages; save each as a file of its own")
            yield picture
    except SampleError:
        raise
    except FileNotFoundError:
        raise SampleError(path, "is missing") from None
    except UnidentifiedImageError:
        raise SampleError(path, "is not a picture") from None
    except Exception as error:
        # Every codec raises errors of its own.
        raise SampleError(path, f"cannot be read: {error}") from None


def _require_image(path: Path, picture: Pil.Image) -> None:
    if picture.mode == "F":
        raise SampleError(path, f"pixels are fractions (mode F); {ACCEPTED_IMAGES}")


def _shown_size(picture: Pil.Image) -> Size:
    width, height = picture.size
    return (width, height) if _orientation(picture) in _SIDEWAYS else (height, width)


def _upright(picture: Pil.Image) -> Pil.Image:
    return ImageOps.exif_transpose(picture) if _orientation(picture) > 1 else picture


def _orientation(picture: Pil.Image) -> int:
    # Only cameras write it; asking a PNG for it would decode the whole file.
    value = picture.getexif().get(_ORIENTATION, 1) if picture.format in _JPEG else 1
    return value if isinstance(value, int) else 1


def _jpeg_ends(path: Path) -> bool:
    """Whether a JPEG's end marker stands near the end of the file; some cameras pad after it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _JPEG_TAIL_BYTES))
        return b"\xff\xd9" in file.read()
