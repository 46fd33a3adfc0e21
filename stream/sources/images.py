"""A folder, a glob or a single picture as a film."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from PIL import Image as Pil
from PIL import ImageOps, UnidentifiedImageError

from stream.config import SourceConfig
from stream.errors import UsageError
from stream.frame import Image
from stream.sources.files import FileSource, UnreadableError

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
IMAGES_FPS: Final = 10.0


class ImageSource(FileSource):
    """Pictures in natural order (`t2.png` before `t10.png`), at a nominal 10 frames per second.

    Args:
        pattern: Directory, glob (`**` goes into folders) or file.
        config: Its normalisation is used.
    """

    def __init__(self, pattern: str, config: SourceConfig) -> None:
        super().__init__(pattern, config, IMAGES_FPS, unit="picture")
        self._pattern = pattern
        self._paths: list[Path] = []
        self._position = 0

    def close(self) -> None:
        """Forget the list; may be called twice."""
        self._paths = []

    def _start(self) -> None:
        self._paths = list_images(self._pattern)
        self.frames_total = len(self._paths)

    def _next(self) -> tuple[Image, float | None] | None:
        if self._position >= len(self._paths):
            return None
        path = self._paths[self._position]
        self._position += 1
        return read_image(path), (self._position - 1) / IMAGES_FPS


def list_images(pattern: str) -> list[Path]:
    """Return the pictures that a directory, glob or path names, in natural order.

    Raises:
        UsageError: There are none.
    """
    path = Path(pattern)
    accepted = ", ".join(suffix[1:] for suffix in SUFFIXES)
    if path.is_dir():
        found = [item for item in path.iterdir() if item.suffix.lower() in SUFFIXES]
        if not found:
            raise UsageError(f"{pattern}: the folder holds no pictures; accepted are {accepted}")
    elif path.exists():
        found = [path]
    else:
        names = glob.glob(pattern, recursive=True)
        found = [Path(name) for name in names if Path(name).suffix.lower() in SUFFIXES]
        if not found and names:
            raise UsageError(
                f"{pattern}: matches {len(names)} files, none a picture; accepted are {accepted}"
            )
        if not found:
            raise UsageError(f"{pattern}: matches no file; quote a glob so that the shell keeps it")
    return sorted((item for item in found if item.is_file()), key=natural_key)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key in which numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]


def read_image(path: Path) -> Image:
    """Read one picture: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.

    Raises:
        UnreadableError: The file is damaged.
        UsageError: It is a picture of a kind that is not accepted.
    """
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            return _read_tiff(path)
        with Pil.open(path) as picture:
            return from_pil(ImageOps.exif_transpose(picture), str(path))
    except UnidentifiedImageError:
        raise UnreadableError(f"{path.name} is not a picture") from None
    except UsageError:
        raise
    except Exception as error:
        # Every codec raises errors of its own.
        raise UnreadableError(f"{path.name}: {error}") from None


def from_pil(picture: Pil.Image, name: str) -> Image:
    """Convert a PIL picture; 16 bit stays 16 bit, palettes and alpha become RGB.

    Raises:
        UsageError: Floating point or more than 16 bit.
    """
    if picture.mode in ("L", "1"):
        return np.asarray(picture.convert("L"))
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)
    if picture.mode in ("I", "F"):
        values: Any = np.asarray(picture)
        whole = picture.mode == "I" and values.min() >= 0 and values.max() < 65536
        if not whole:
            raise UsageError(f"{name}: pixels are {values.dtype}; {ACCEPTED}")
        return np.asarray(values, dtype=np.uint16)
    return np.asarray(picture.convert("RGB"))


ACCEPTED: Final = "accepted are gray uint8 and uint16, and RGB uint8; convert it first"


def to_image(pixels: np.ndarray[Any, Any], name: str) -> Image:
    """Check an array from a TIFF page and drop its alpha channel.

    Raises:
        UsageError: A dtype or shape that is not accepted.
    """
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels[:, :, :3])
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"{name}: pixels are {pixels.dtype} {pixels.shape}; {ACCEPTED}")
    kind = pixels.dtype.newbyteorder("=")
    return np.ascontiguousarray(pixels, dtype=kind)


def is_thumbnail(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Tell whether a TIFF page is the small copy that some programs add."""
    return isinstance(page, tifffile.TiffPage) and bool(page.is_reduced)


def _read_tiff(path: Path) -> Image:
    with tifffile.TiffFile(path) as file:
        pages = [page for page in file.pages if not is_thumbnail(page)]
        if len(pages) > 1:
            raise UsageError(
                f"{path}: holds {len(pages)} pages; give it alone, as tiff://{path}, or keep only "
                "single pictures in the folder"
            )
        return to_image(pages[0].asarray(), str(path))
