"""A film in a file."""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from stream.av_io import MediaError, Picture, VideoInput
from stream.config import SourceConfig
from stream.errors import UsageError
from stream.frame import Image
from stream.sources.files import FileSource, UnreadableError

_FPS: Final = 25.0
_TEXTS: Final = {
    "missing": "no such file",
    "denied": "may not be read; check the permissions",
    "no_video": "holds no video stream; give a film",
}


class VideoSource(FileSource):
    """Every frame of a video file; gray of more than 8 bit stays uint16.

    Args:
        path: The file.
        config: Its normalisation is used.
    """

    def __init__(self, path: str, config: SourceConfig) -> None:
        super().__init__(path, config, _FPS)
        self._path = path
        self._input: VideoInput | None = None
        self._pictures: deque[Picture] = deque()

    def close(self) -> None:
        """Free the file; may be called twice."""
        if self._input:
            self._input.close()
        self._input = None

    def _start(self) -> None:
        if os.path.isfile(self._path) and not os.path.getsize(self._path):
            raise UsageError(f"{self._path}: the file is empty (0 bytes); give a film")
        try:
            # The prefix keeps a name such as "a:b.mp4" from being taken for an address.
            self._input = VideoInput(f"file:{self._path}")
        except MediaError as error:
            text = _TEXTS.get(
                error.kind,
                "is not a video that can be decoded; accepted are films that FFmpeg reads, "
                "pictures (png, jpg, tif, bmp) and TIFF stacks",
            )
            raise UsageError(f"{self._path}: {text}") from None
        self.fps = self._input.fps or _FPS
        self.frames_total = self._input.frames_total

    def _next(self) -> tuple[Image, float | None] | None:
        while not self._pictures:
            if self._input is None:
                return None
            try:
                pictures = self._input.read()
            except MediaError as error:
                if error.kind != "damaged":
                    self.close()
                raise UnreadableError(error.detail) from None
            if pictures is None:
                return None
            self._draining = self._input.draining
            self._pictures.extend(pictures)
        picture = self._pictures.popleft()
        return picture.image, picture.pts_s
