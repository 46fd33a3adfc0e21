"""Results as label maps on disk: films in the Cell Tracking Challenge's layout, stills as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Pil

from stream.errors import SinkError, UsageError
from stream.evaluate.layers import label_map
from stream.frame import TrackedObject

MOST_LABELS = 65535


def prepare(folder: Path) -> None:
    """Make the folder.

    Raises:
        UsageError: It cannot be made, or holds something already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder}: --save needs an empty folder, or the name of a new one")
    except OSError as error:
        raise UsageError(f"{folder}: cannot save there: {error.strerror}") from None


def save_still(
    folder: Path, name: str, objects: Sequence[TrackedObject], size: tuple[int, int]
) -> None:
    """Write one image's result as `NAME.png`, uint16 ids, 0 background.

    Raises:
        SinkError: It cannot be written.
    """
    labels = label_map(objects, size)
    path = folder / f"{name}.png"
    try:
        Pil.fromarray(labels.astype(np.uint16)).save(path)
    except OSError as error:
        raise SinkError(f"{path}: cannot write the result: {error.strerror}") from error


class FilmSaver:
    """Writes `NAME_RES/maskTTT.tif` (uint16) frame by frame, then `NAME_RES/res_track.txt`.

    Labels are numbered anew: a track with a hole is cut there, and goes on under a new label whose
    parent is the old one, as the challenge wants it. Daughters of a division have their mother's.

    Args:
        folder: Holds the results of all films.
        name: The film's.
        frames: How many there will be at most; says how wide their numbers are.

    Raises:
        SinkError: The folder cannot be made.
    """

    def __init__(self, folder: Path, name: str, frames: int) -> None:
        self._folder = folder / f"{name}_RES"
        self._digits = max(3, len(str(max(frames - 1, 0))))
        self._frame = 0
        self._label: dict[int, int] = {}
        self._tracks: list[list[int]] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot be made: {error.strerror}") from error

    def add(self, objects: Sequence[TrackedObject], size: tuple[int, int]) -> None:
        """Write the next frame.

        Raises:
            SinkError: It cannot be written, or there are more labels than 16 bit hold.
        """
        ids = label_map(objects, size)
        labels = np.zeros(size, dtype=np.uint16)
        parents = {item.id: item.parent for item in objects}
        for track in np.unique(ids).tolist():
            if track:
                labels[ids == track] = self._seen(track, parents[track])
        path = self._folder / f"mask{self._frame:0{self._digits}d}.tif"
        try:
            tifffile.imwrite(path, labels, compression="zlib")
        except OSError as error:
            raise SinkError(f"{path}: cannot write the result: {error.strerror}") from error
        self._frame += 1

    def close(self) -> None:
        """Write the tracks: label, first frame, last frame and parent, a line each.

        Raises:
            SinkError: They cannot be written.
        """
        path = self._folder / "res_track.txt"
        try:
            path.write_text("".join(" ".join(map(str, row)) + "\n" for row in self._tracks))
        except OSError as error:
            raise SinkError(f"{path}: cannot write the tracks: {error.strerror}") from error

    def _seen(self, track: int, parent: int | None) -> int:
        """Return the label of a track in this frame."""
        label = self._label.get(track)
        if label is not None and self._tracks[label - 1][2] == self._frame - 1:
            self._tracks[label - 1][2] = self._frame
            return label
        if len(self._tracks) == MOST_LABELS:
            raise SinkError(f"{self._folder}: more than {MOST_LABELS} labels, which 16 bit hold")
        before = label or (self._label.get(parent, 0) if parent is not None else 0)
        self._tracks.append([len(self._tracks) + 1, self._frame, self._frame, before])
        self._label[track] = len(self._tracks)
        return len(self._tracks)
