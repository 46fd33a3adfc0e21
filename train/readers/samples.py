"""What a data set is to the training code, whatever its layout on disk.

Samples are lazy: a data set holds names and functions that load, no pixels. The functions are
partials of functions of modules, so samples can be sent to worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint16]
Box = tuple[float, float, float, float]
Progress = Callable[[int, int], None]
"""Called with the number of files that were checked and the number of all."""

IGNORE: Final = 65535
"""The id of pixels that are neither object nor background: crowds, void, dropped objects."""
MAX_OBJECTS: Final = IGNORE - 1


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One decoded image with all that is known about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) uint16 instance ids, 0 is background, 65535 is ignored; None without masks.
        boxes: id -> x0, y0, x1, y1 in pixels, of objects that have no mask.
        labels: id -> class name, where the set names classes.
        captions: sentences about the whole image.
    """

    image: Image
    ids: Ids | None
    boxes: dict[int, Box] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageSample:
    """One image that is not loaded yet.

    Attributes:
        name: unique in the data set and stable, splits are made by hashing it.
        load: decodes it; raises SampleError where a file went bad.
    """

    name: str
    load: Callable[[], LabelledImage]


@dataclass(frozen=True, slots=True)
class VideoSample:
    """One film that is not loaded yet; all frames have one size.

    Attributes:
        name: unique in the data set and stable, splits are made by hashing it.
        frames: how many frames have truth; frames without are not counted and cannot be loaded.
        load: decodes the frames of these indices; ids are consistent over time.
    """

    name: str
    frames: int
    load: Callable[[Sequence[int]], list[LabelledImage]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a data set.

    Attributes:
        where: a file, or a file with an id or a line.
        what: what is wrong with it, with the value and what is accepted.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted while every annotation was read; of sound and faulty samples alike.

    Attributes:
        objects: objects of images, and tracks of films.
        ignored: crowd regions of COCO files.
        captions: captions of images.
        classes: class name -> objects.
        sizes: (width, height) in pixels -> images and frames.
    """

    objects: int = 0
    ignored: int = 0
    captions: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set that was looked through once.

    Attributes:
        format: the layout's name.
        root: its folder.
        images: sound images that stand alone.
        videos: sound films.
        faults: all that is wrong, found by reading every file's header and annotation.
        left_out: how many images and films are not among the samples for their faults.
        lineage: film -> (child id -> parent id), where the set tells which cell came from which.
        counts: what was counted on the way.
    """

    format: str
    root: Path
    images: tuple[ImageSample, ...]
    videos: tuple[VideoSample, ...]
    faults: tuple[Fault, ...] = ()
    left_out: int = 0
    lineage: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
