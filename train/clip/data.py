"""The data set of a fine-tuning, split by the names of its samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.errors import UsageError
from train.clip.recipe import ClipRecipe
from train.readers import (
    Dataset,
    DatasetError,
    ImageSample,
    held_out,
    open_dataset,
    require_usable,
)
from train.readers.samples import LabelledImage

LOOKED_AT = 1000
"""Images, at most, that are decoded to see what words there are."""

Open = Callable[[Path, str], Dataset]


@dataclass(frozen=True)
class SplitData:
    """What is trained on, what is measured on, and what texts there are."""

    dataset: Dataset
    training: tuple[ImageSample, ...]
    held: tuple[ImageSample, ...]
    captions: tuple[str, ...]
    """Captions and labels of up to 1000 images, each once, sorted."""
    masks: bool
    """Whether objects have labelled masks."""

    def facts(self, steps: int) -> dict[str, Any]:
        """Return what the card says of it."""
        return {
            "name": self.dataset.root.name,
            "format": self.dataset.format,
            "images": len(self.training),
            "held_out": len(self.held),
            "left_out": self.dataset.left_out,
            "captions": self.dataset.counts.captions,
            "labels": len(self.dataset.counts.classes),
            "steps": steps,
        }


def split_data(recipe: ClipRecipe, open_: Open = open_dataset) -> SplitData:
    """Look through the data set and split it.

    Args:
        recipe: Names the data set.
        open_: Looks through a data set.

    Raises:
        UsageError: It is faulty, has no texts, or a part of the split is empty.
    """
    try:
        dataset = open_(recipe.data, recipe.format)
        require_usable(dataset, recipe.skip_faulty)
    except DatasetError as error:
        raise UsageError(str(error)) from error
    percent, count = recipe.held_out, len(dataset.images)
    held = tuple(s for s in dataset.images if held_out(s.name, percent))
    training = tuple(s for s in dataset.images if not held_out(s.name, percent))
    if not count:
        raise UsageError(f"{recipe.data}: holds films and no images; train clip takes images")
    if not held:
        raise UsageError(
            f"{recipe.data}: none of its {count} images is held out; raise held_out, which is "
            f"{percent}, or add images"
        )
    if not training:
        raise UsageError(
            f"{recipe.data}: all of its {count} images are held out; lower held_out, which is "
            f"{percent}, or add images"
        )
    texts, masks = _texts(dataset)
    if not texts:
        raise UsageError(
            f"{recipe.data}: has neither captions nor labelled objects; give captions.txt or "
            "labels, as docs/training-data.md says"
        )
    return SplitData(dataset, training, held, tuple(sorted(texts)), masks)


def _texts(dataset: Dataset) -> tuple[set[str], bool]:
    """Return captions and labels, and whether any label has a mask, of images spread over all."""
    texts: set[str] = set()
    masks = False
    step = max(1, len(dataset.images) // LOOKED_AT)
    for sample in dataset.images[::step]:
        try:
            image: LabelledImage = sample.load()
        except (OSError, ValueError):
            continue  # the draws will meet it again, and count it
        texts.update(image.captions, image.labels.values())
        masks = masks or bool(image.labels and image.ids is not None and image.ids.any())
    return texts, masks
