"""Clips drawn from a data set: images, images that are moved, and pieces of films."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream.errors import UsageError
from train.readers.samples import IGNORE, Dataset, ImageSample, LabelledImage, VideoSample
from train.sam2.recipe import Recipe
from train.sam2.warp import choose_crop, choose_motion, cover, recolour, squeeze, warp

#: Draws that may fail before training gives up, as a share and as a number.
BAD_SHARE, BAD_LEAST = 0.05, 5
#: Draws without a single object of use, in a row, before training gives up.
EMPTY_DRAWS = 60

Frame = tuple[NDArray[np.uint8], NDArray[np.uint16]]


class TooManyBadError(UsageError):
    """So many samples cannot be read any more that going on makes no sense."""


@dataclass(frozen=True)
class Clip:
    """Frames with ids, and the objects that are to be found in them.

    Attributes:
        images: (T, 3, S, S) uint8.
        masks: (T, K, S, S) bool.
        valid: (T, S, S) bool, pixels that are known.
        name: of the sample.
    """

    images: Tensor
    masks: Tensor
    valid: Tensor
    name: str


@dataclass
class Draws:
    """How the draws went: all of them, and those that failed, by sample."""

    count: int = 0
    failed: int = 0
    names: dict[str, int] = field(default_factory=dict)


class Pool:
    """Draws clips; a sample that cannot be read is counted and passed over.

    Args:
        images: Samples of single images.
        videos: Samples of films.
        recipe: Resolved.
        side: Of the model's input in pixels.
        note: Told of each sample that failed, once.
        replay: Other samples of single images and films, drawn at the recipe's `replay_share`.
    """

    def __init__(
        self,
        images: Sequence[ImageSample],
        videos: Sequence[VideoSample],
        recipe: Recipe,
        side: int,
        note: Callable[[str], None] = lambda _: None,
        replay: tuple[Sequence[ImageSample], Sequence[VideoSample]] = ((), ()),
    ) -> None:
        self.images, self.videos = tuple(images), tuple(videos)
        self._replay = replay
        self.recipe, self.side = recipe, side
        self.draws = Draws()
        self._note = note
        self._cache = _Cache(recipe.cache_mb * 2**20)

    def clip(self, kind: str, frames: int, rng: np.random.Generator) -> Clip:
        """Draw one clip.

        Args:
            kind: `still`, `moved` or `film`.
            frames: Of the clip; 1 for `still`.
            rng: The only source of randomness.

        Raises:
            TooManyBadError: More than 5 % of the draws failed.
            UsageError: No draw holds an object that is large enough.
        """
        for _ in range(EMPTY_DRAWS):
            sample = self._sample(kind, rng)
            self.draws.count += 1
            try:
                found = self._frames(sample, kind, frames, rng)
            # Whatever is wrong with one file, hours of training are worth more.
            except Exception as error:
                self._count_bad(sample.name, error)
                continue
            clip = self._prepare(found, sample.name, kind, rng)
            if clip is not None:
                return clip
        raise UsageError(
            f"{EMPTY_DRAWS} samples in a row hold no object of at least "
            f"{self.recipe.least_object_px} pixels at {self.side} px; lower least_object_px, "
            "raise image_size or look at the masks"
        )

    def _sample(self, kind: str, rng: np.random.Generator) -> ImageSample | VideoSample:
        film = kind == "film"
        pool: Sequence[ImageSample | VideoSample] = self.videos if film else self.images
        old: Sequence[ImageSample | VideoSample] = self._replay[1 if film else 0]
        if old and rng.random() < self.recipe.replay_share:
            pool = old
        return pool[int(rng.integers(len(pool)))]

    def _count_bad(self, name: str, error: Exception) -> None:
        draws = self.draws
        draws.failed += 1
        draws.names[name] = draws.names.get(name, 0) + 1
        if draws.names[name] == 1:
            self._note(f"{name}: passed over, it cannot be read any more: {_line(error)}")
        if draws.failed > max(BAD_LEAST, BAD_SHARE * draws.count):
            raise TooManyBadError(
                f"{draws.failed} of {draws.count} draws failed ({len(draws.names)} samples, the "
                f"last one {name}: {_line(error)}); mend the data set and go on with --resume"
            )

    def _frames(
        self, sample: ImageSample | VideoSample, kind: str, frames: int, rng: np.random.Generator
    ) -> list[Frame]:
        if isinstance(sample, ImageSample):
            return [self._cache.get((id(sample), 0), lambda: _frame(sample.load()))]
        film = sample
        picks = choose_frames(film.frames, frames, self.recipe.max_stride, self.recipe.reverse, rng)
        return [
            self._cache.get((id(film), i), lambda i=i: _frame(film.load([i])[0]))  # type: ignore[misc]
            for i in picks
        ]

    def _prepare(
        self, found: list[Frame], name: str, kind: str, rng: np.random.Generator
    ) -> Clip | None:
        recipe = self.recipe
        box = choose_crop(found[0][1], recipe.least_crop, rng)
        pairs = [squeeze(image, ids, box, self.side) for image, ids in found]
        images, ids = torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
        if kind == "moved":
            frames = int(recipe.frames or 1)
            images, ids = (x.expand(frames, *x.shape[1:]) for x in (images, ids))
        motion = choose_motion(
            rng,
            rotate_deg=recipe.rotate_deg or 0.0,
            flip=recipe.flip or "none",
            moves=kind == "moved",
        )
        images, ids = warp(images, ids, motion)
        if kind == "moved" and rng.random() < recipe.occlude:
            images, ids = cover(images, ids, rng)
        chosen = choose_objects(ids[0], int(recipe.objects or 1), recipe.least_object_px, rng)
        if not chosen:
            return None
        images = recolour(images, recipe.colour, rng)
        masks = torch.stack([ids == one for one in chosen], dim=1)
        return Clip((images * 255.0).round().to(torch.uint8), masks, ids != IGNORE, name)


def choose_frames(
    length: int, frames: int, max_stride: int, reverse: float, rng: np.random.Generator
) -> list[int]:
    """Choose frames of a film at one random stride; a film that is too short is run to and fro."""
    most = max(1, min(max_stride, (length - 1) // max(1, frames - 1)))
    stride = int(rng.integers(1, most + 1))
    span = stride * (frames - 1) + 1
    if span > length:
        there_and_back = [*range(length), *range(length - 2, 0, -1)]
        picks = [there_and_back[i % len(there_and_back)] for i in range(frames)]
    else:
        start = int(rng.integers(0, length - span + 1))
        picks = list(range(start, start + span, stride))
    return picks[::-1] if rng.random() < reverse else picks


def choose_objects(ids: Tensor, most: int, least_px: int, rng: np.random.Generator) -> list[int]:
    """Choose up to `most` objects of (S, S) ids that have at least `least_px` pixels."""
    values, counts = torch.unique(ids, return_counts=True)
    known = [
        int(v)
        for v, c in zip(values.tolist(), counts.tolist(), strict=True)
        if v not in (0, IGNORE) and c >= least_px
    ]
    return [known[i] for i in rng.permutation(len(known))[:most]]


def require_masks(dataset: Dataset) -> None:
    """Refuse a data set whose first samples have no masks.

    Raises:
        UsageError: They have none.
    """
    for sample in dataset.images[:3]:
        if sample.load().ids is None:
            raise UsageError(
                f"{dataset.root}: {sample.name} has no mask (format {dataset.format}); "
                "SAM2 is trained on instance masks, boxes and captions are not enough"
            )


def _frame(loaded: LabelledImage) -> Frame:
    if loaded.ids is None:
        raise ValueError("it has no mask")
    return loaded.image, loaded.ids


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


class _Cache:
    """Decoded frames, the ones used last; bounded in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[tuple[int, int], Frame] = OrderedDict()

    def get(self, key: tuple[int, int], load: Callable[[], Frame]) -> Frame:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        frame = self._kept[key] = load()
        self._size += sum(part.nbytes for part in frame)
        while self._size > self._limit and self._kept:
            _, old = self._kept.popitem(last=False)
            self._size -= sum(part.nbytes for part in old)
        return frame
