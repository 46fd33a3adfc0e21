"""An image file with a mask file beside it, alone or as a frame of a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from train.readers.faults import SampleError
from train.readers.levels import Levels
from train.readers.pixels import (
    MaskReader,
    Size,
    film_levels,
    object_ids,
    read_ids,
    read_image,
    size_text,
)
from train.readers.samples import ImageSample, LabelledImage, VideoSample
from train.readers.survey import Survey


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask."""

    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class Film:
    """The frames of a film that have truth.

    Attributes:
        name: its name in the data set.
        pairs: its frames in order.
        sound: False where files lack a partner; such a film is checked and left out.
    """

    name: str
    pairs: Sequence[Pair]
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of one pair found: the image's size and the ids of its objects."""

    size: Size | None
    objects: tuple[int, ...]


def check_pair(pair: Pair, survey: Survey, read: MaskReader = read_ids) -> Checked:
    """Check that both files are good and of one size; what is wrong goes to the survey."""
    size = survey.image(pair.image)
    ids = survey.ids(pair.mask, read)
    if ids is None:
        return Checked(size, ())
    survey.same_size(pair.mask, (ids.shape[0], ids.shape[1]), pair.image, size)
    return Checked(size, tuple(object_ids(ids)))


def image_sample(
    name: str, pair: Pair, labels: Mapping[int, str], read: MaskReader = read_ids
) -> ImageSample:
    """Make a lazy sample of one pair.

    Args:
        name: Its name in the data set.
        pair: The files.
        labels: id -> class name; those of other images may be among them.
        read: How the mask is decoded.
    """
    return ImageSample(name, partial(load_pair, pair, dict(labels), read))


def film_sample(
    name: str, pairs: Sequence[Pair], labels: Mapping[int, str], read: MaskReader = read_ids
) -> VideoSample:
    """Make a lazy sample of the frames of a film.

    Args:
        name: Its name in the data set.
        pairs: The files, a pair a frame.
        labels: id -> class name.
        read: How the masks are decoded.
    """
    return VideoSample(name, len(pairs), partial(load_frames, tuple(pairs), dict(labels), read))


def check_film(pairs: Sequence[Pair], survey: Survey, read: MaskReader = read_ids) -> set[int]:
    """Check the frames of a film, which must have one size.

    Returns:
        The ids of all objects that are seen in it.
    """
    first: Size | None = None
    tracks: set[int] = set()
    for pair in pairs:
        checked = check_pair(pair, survey, read)
        tracks.update(checked.objects)
        if checked.size is None:
            continue
        first = first or checked.size
        if checked.size != first:
            survey.fault(
                pair.image,
                f"is {size_text(checked.size)}, the film's first frame {size_text(first)}; "
                "frames of a film have one size",
            )
    return tracks


def load_pair(
    pair: Pair,
    labels: Mapping[int, str],
    read: MaskReader = read_ids,
    levels: Levels | None = None,
) -> LabelledImage:
    """Decode one pair.

    Raises:
        SampleError: A file went bad since it was checked.
    """
    image, ids = read_image(pair.image, levels), read(pair.mask)
    if image.shape[:2] != ids.shape:
        raise SampleError(
            pair.mask,
            f"is {size_text((ids.shape[0], ids.shape[1]))}, its image "
            f"{size_text((image.shape[0], image.shape[1]))}",
        )
    own = {number: labels[number] for number in object_ids(ids) if number in labels}
    return LabelledImage(image, ids, labels=own)


def load_frames(
    pairs: Sequence[Pair], labels: Mapping[int, str], read: MaskReader, indices: Sequence[int]
) -> list[LabelledImage]:
    """Decode the frames of these indices; all frames of a film are stretched alike.

    Raises:
        SampleError: A file went bad since it was checked.
    """
    levels = film_levels(tuple(pair.image for pair in pairs))
    return [load_pair(pairs[index], labels, read, levels) for index in indices]
