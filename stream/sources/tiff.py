"""A multi-page TIFF as a film, one page in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tifffile

from stream.config import SourceConfig
from stream.errors import UsageError
from stream.frame import Image
from stream.sources.files import FileSource, UnreadableError
from stream.sources.images import IMAGES_FPS, is_thumbnail, to_image

_TIME_AXES: Final = "TZIQR"
_DAMAGE: Final = (tifffile.TiffFileError, OSError, ValueError, RuntimeError, LookupError)


class TiffSource(FileSource):
    """Pages in order; uint16 stays uint16. Pages may differ in size.

    Args:
        path: The file.
        config: Its normalisation is used.
    """

    def __init__(self, path: str, config: SourceConfig) -> None:
        super().__init__(path, config, IMAGES_FPS, unit="page")
        self._path = path
        self._file: tifffile.TiffFile | None = None
        self._read_page: Callable[[int], Any] | None = None
        self._position = 0

    def close(self) -> None:
        """Free the file; may be called twice."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._read_page = None

    def _start(self) -> None:
        if not os.path.isfile(self._path):
            raise UsageError(f"{self._path}: no such file")
        try:
            self._file = tifffile.TiffFile(self._path)
            self._choose_reader(self._file)
        except _DAMAGE as error:
            self.close()
            raise UsageError(f"{self._path}: is not a TIFF that can be read: {error}") from None

    def _choose_reader(self, file: tifffile.TiffFile) -> None:
        series = file.series[0]
        long = [
            (axis, count)
            for axis, count in zip(series.axes, series.shape, strict=True)
            if axis not in "YXS" and count > 1
        ]
        # A single axis is the film's, whatever it is called: many programs call time a channel.
        channels = [f"{count} in {axis}" for axis, count in long if axis not in _TIME_AXES]
        if channels and len(long) > 1:
            raise UsageError(
                f"{self._path}: has axes {series.axes} with channels ({', '.join(channels)}); "
                "save the one to watch as a stack of its own"
            )
        sample = np.empty((1, 1, 3) if series.axes.endswith("S") else (1, 1), series.dtype)
        to_image(sample, self._path)
        interval_s = (file.imagej_metadata or {}).get("finterval")
        if isinstance(interval_s, int | float) and interval_s > 0:
            self.fps = 1.0 / interval_s
        shape = series.shape
        frame_ndim = 3 if series.axes.endswith("S") else 2
        count = int(np.prod(shape[:-frame_ndim])) if len(shape) > frame_ndim else 1
        if count > len(file.pages):
            # ImageJ writes one page for a whole series; its pixels lie in one run in the file.
            stack = tifffile.memmap(self._path, mode="r").reshape(-1, *shape[-frame_ndim:])
            self.frames_total, self._read_page = len(stack), lambda index: np.array(stack[index])
            return
        # Pages are looked up one by one: keeping them would cost memory in long films.
        self.frames_total, self._read_page = len(file.pages), lambda index: _page(file, index)

    def _next(self) -> tuple[Image, float | None] | None:
        while self._read_page is not None and self._position < (self.frames_total or 0):
            index = self._position
            self._position += 1
            try:
                pixels = self._read_page(index)
            except Exception as error:
                # Every codec raises errors of its own.
                raise UnreadableError(f"page {index + 1}: {error}") from None
            if pixels is not None:
                image = to_image(pixels, f"{self._path} page {index + 1}")
                return image, index / (self.fps or IMAGES_FPS)
        return None


def _page(file: tifffile.TiffFile, index: int) -> Any:
    """Pixels of a page, or None for a thumbnail."""
    page = file.pages[index]
    return None if is_thumbnail(page) else page.asarray()
