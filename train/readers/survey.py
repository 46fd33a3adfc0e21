"""The one pass over a data set's files: faults, counts and progress are gathered here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from train.readers.faults import SampleError
from train.readers.pixels import MaskReader, Size, check_image, read_ids, size_text
from train.readers.samples import (
    Counts,
    Dataset,
    Fault,
    Ids,
    ImageSample,
    Progress,
    VideoSample,
)


@dataclass(frozen=True, slots=True)
class Options:
    """What can be asked of readers; each takes what concerns its layout.

    Attributes:
        split: Only this part of a set that comes in parts, e.g. `train`.
        videos: Folders of frames are films, not images that stand alone.
        frames: Only the first so many frames of each film.
        allow_markers: Cells that have a marker and no mask are trained on their markers.
        progress: Called after every file.
    """

    split: str | None = None
    videos: bool = False
    frames: int | None = None
    allow_markers: bool = False
    progress: Progress | None = None


class Survey:
    """What is found while the files of a data set are read.

    Args:
        root: The data set's folder; files are named relative to it.
        progress: Called with files checked and files in all.
    """

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self.left_out = 0
        self.objects = 0
        self.ignored = 0
        self.captions = 0
        self.classes: Counter[str] = Counter()
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._progress = progress
        self._done = self._total = 0

    def begin(self, total: int) -> None:
        """Say how many files more will be checked."""
        self._total += total

    def step(self) -> None:
        """One file was checked."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))

    def fault(self, where: Path | str, what: str, at: str = "") -> None:
        """Note a fault.

        Args:
            where: A file or folder.
            what: What is wrong with it.
            at: Which line or id of it.
        """
        name = self.name(where) if isinstance(where, Path) else where
        self.faults.append(Fault(f"{name} {at}".strip(), what))

    def name(self, path: Path) -> str:
        """Return a path as it is shown, relative to the data set."""
        if path == self.root:
            return path.name
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )

    def mark(self) -> int:
        """Return a mark for `clean_since`."""
        return len(self.faults)

    def clean_since(self, mark: int, *, sound: bool = True) -> bool:
        """Whether no fault was found since; if one was, a sample more is left out.

        Args:
            mark: What `mark` returned before the sample was looked at.
            sound: False if faults of it were found before.
        """
        clean = sound and len(self.faults) == mark
        self.left_out += not clean
        return clean

    def image(self, path: Path) -> Size | None:
        """Check an image file; None where it cannot be used."""
        try:
            size = check_image(path)
        except SampleError as error:
            self.fault(path, error.what)
            return None
        finally:
            self.step()
        self._sizes[size[1], size[0]] += 1
        return size

    def ids(self, path: Path, read: MaskReader = read_ids) -> Ids | None:
        """Decode a mask; None where it cannot be used."""
        try:
            return read(path)
        except SampleError as error:
            self.fault(path, error.what)
            return None
        finally:
            self.step()

    def same_size(self, mask: Path, size: Size, image: Path, expected: Size | None) -> bool:
        """Check that a mask fits its image; an image that is no good itself fits any."""
        if expected is None or size == expected:
            return True
        self.fault(mask, f"is {size_text(size)}, its image {image.name} {size_text(expected)}")
        return False

    def count(self, objects: Iterable[int], labels: Mapping[int, str]) -> None:
        """Count the objects of an image or the tracks of a film."""
        for number in objects:
            self.objects += 1
            if number in labels:
                self.classes[labels[number]] += 1

    def dataset(
        self,
        kind: str,
        images: Iterable[ImageSample] = (),
        videos: Iterable[VideoSample] = (),
        lineage: Mapping[str, Mapping[int, int]] | None = None,
    ) -> Dataset:
        """Close the survey: names must be unique, and something must have been found."""
        kept_images, kept_videos = tuple(images), tuple(videos)
        names = Counter([item.name for item in kept_images] + [item.name for item in kept_videos])
        for name, times in names.items():
            if times > 1:
                self.fault(name, f"is the name of {times} samples; names are the key of the split")
        if not (kept_images or kept_videos or self.faults):
            self.fault(self.root, "holds no images")
        elif not (self.objects or self.captions or self.faults):
            self.fault(self.root, "no object in any mask; nothing can be learned from it")
        counts = Counts(
            self.objects, self.ignored, self.captions, dict(self.classes), dict(self._sizes)
        )
        return Dataset(
            kind,
            self.root,
            kept_images,
            kept_videos,
            tuple(self.faults),
            self.left_out,
            lineage or {},
            counts,
        )
