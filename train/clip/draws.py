"""Which pairs a step is made of; they depend on the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stream.errors import MaskcastError
from train.clip.attributes import Swapper
from train.clip.pictures import Eye, Seen, Window, any_style, crop, objects_of, whole, window
from train.clip.recipe import ClipRecipe
from train.clip.wording import text_key
from train.readers.samples import ImageSample, LabelledImage

MOST_FAILURES = 0.05
JUDGED_FROM = 40
"""Draws before a share of failures means anything."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of pictures and texts of one step."""

    images: Tensor
    """(B, 3, side, side) float32."""
    texts: tuple[str, ...]
    """T texts of different keys; each is true of a picture."""
    swaps: tuple[str, ...]
    """W texts with a swapped attribute; none is among `texts`."""
    relation: Tensor
    """(B, T) int8: 1 true, 0 not, -1 neither taught nor denied."""
    against: Tensor
    """(B, W) bool: which swapped texts a picture is told from."""
    windows: tuple[Window, ...]


class Draws:
    """Draws batches from the samples that are trained on.

    Args:
        samples: With captions or labels.
        eye: How the model takes pictures.
        recipe: Size and make-up of batches.
        dense: Whether windows are drawn as well.
        say: Told of every sample that cannot be read.

    Attributes:
        drawn: How many samples were loaded.
        failed: How many of them could not be read.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        eye: Eye,
        recipe: ClipRecipe,
        *,
        dense: bool,
        swapper: Swapper,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._samples = tuple(samples)
        self._eye, self._recipe, self._dense = eye, recipe, dense
        self._swapper, self._say = swapper, say
        self.drawn = self.failed = 0

    def batch(self, step: int) -> Batch:
        """Return the pairs of a step.

        Raises:
            MaskcastError: More than one draw in twenty fails.
        """
        rng = np.random.default_rng((self._recipe.seed, step))
        stream = self._stream(rng, step)
        pairs: list[tuple[Seen, str]] = []
        windows: list[Window] = []
        while len(pairs) < self._recipe.batch:
            image = next(stream)
            seen = self._pair(image, rng)
            if seen is None:
                continue
            pairs.append((seen, seen.texts[int(rng.integers(len(seen.texts)))]))
            if self._dense and len(windows) < self._recipe.dense_windows:
                found = window(image, self._eye, rng)
                windows += [found] if found is not None else []
        return self._join(pairs, windows, rng)

    def _stream(self, rng: np.random.Generator, step: int) -> Iterator[LabelledImage]:
        """Yield images: a part of a shuffled round through all, then random ones.

        Raises:
            MaskcastError: Nothing that comes can be used.
        """
        count, size = len(self._samples), self._recipe.batch
        start = step * size
        order: list[int] = []
        for place in range(start, start + size):
            turn, within = divmod(place, count)
            if not order or within == 0:
                shuffle = np.random.default_rng((self._recipe.seed, 1 << 32, turn))
                order = shuffle.permutation(count).tolist()
            image = self._load(order[within])
            if image is not None:
                yield image
        # Only where some could not be read or had nothing to show.
        for _ in range(50 * size):
            image = self._load(int(rng.integers(count)))
            if image is not None:
                yield image
        raise MaskcastError(
            f"{50 * size} images in a row gave no pair; they need captions, or labels of objects "
            "that can be seen"
        )

    def _load(self, number: int) -> LabelledImage | None:
        sample = self._samples[number]
        self.drawn += 1
        try:
            return sample.load()
        except (OSError, ValueError) as error:
            self.failed += 1
            self._say(f"{sample.name} is left out: {error}")
        if self.drawn >= JUDGED_FROM and self.failed > MOST_FAILURES * self.drawn:
            raise MaskcastError(
                f"{self.failed} of {self.drawn} images could not be read, the last is "
                f"{sample.name}; mend the data set and go on with --resume"
            )
        return None

    def _pair(self, image: LabelledImage, rng: np.random.Generator) -> Seen | None:
        objects = objects_of(image)
        if objects and (not image.captions or rng.random() < self._recipe.crops):
            number = objects[int(rng.integers(len(objects)))]
            return crop(image, number, self._eye, any_style(rng))
        return whole(image, self._eye, rng, self._recipe.zoom) if image.captions else None

    def _join(
        self,
        pairs: Sequence[tuple[Seen, str]],
        windows: Sequence[Window],
        rng: np.random.Generator,
    ) -> Batch:
        texts = {text_key(text): text for _, text in pairs}
        swaps: dict[str, str] = {}
        for seen, text in pairs:
            for swap in self._swapped(text, rng):
                if text_key(swap) not in seen.truths | seen.unsure | texts.keys():
                    swaps[text_key(swap)] = swap
        seens = [seen for seen, _ in pairs]
        return Batch(
            torch.stack([seen.planes for seen in seens]),
            tuple(texts.values()),
            tuple(swaps.values()),
            relation(seens, list(texts)),
            relation(seens, list(swaps)) == 0,
            tuple(windows),
        )

    def _swapped(self, text: str, rng: np.random.Generator) -> list[str]:
        wanted = self._recipe.hard_negatives
        found = self._swapper.swaps(text) if wanted else []
        order = rng.permutation(len(found))[:wanted]
        return [found[int(i)] for i in order]


def relation(seens: Sequence[Seen], keys: Sequence[str]) -> Tensor:
    """Return (B, T) int8 of pictures and text keys: 1 true, 0 not, -1 unsure."""
    rows = []
    for seen in seens:
        true = seen.truths
        rows.append([1 if k in true else -1 if k in seen.unsure else 0 for k in keys])
    return torch.tensor(rows, dtype=torch.int8).reshape(len(seens), len(keys))
