"""What is trained on, what is held out and what else is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream.errors import UsageError
from train.readers import (
    Dataset,
    DatasetError,
    ImageSample,
    VideoSample,
    held_out,
    open_dataset,
    require_usable,
)
from train.sam2.clips import require_masks
from train.sam2.measure import HeldOut
from train.sam2.recipe import Recipe


class Material:
    """A recipe's data sets: the one to train on, split, and the others.

    Attributes:
        dataset: all of it.
        images: single images to train on.
        videos: films to train on.
        held: samples that are held out.
        tests: other sets that are measured on.
        replay: images and films of other sets that are trained on as well.

    Args:
        recipe: Resolved.

    Raises:
        UsageError: A set has faults, no masks, or nothing on one side of the split.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.dataset = _open(recipe.data, recipe)
        require_masks(self.dataset)
        percent = recipe.held_out
        self.images = [s for s in self.dataset.images if not held_out(s.name, percent)]
        self.videos = [s for s in self.dataset.videos if not held_out(s.name, percent)]
        held = HeldOut(
            "held out",
            [s for s in self.dataset.images if held_out(s.name, percent)],
            [s for s in self.dataset.videos if held_out(s.name, percent)],
        )
        count = len(self.dataset.images) + len(self.dataset.videos)
        if not self.images and not self.videos:
            raise UsageError(
                f"{recipe.data}: all of its {count} samples are held out; "
                f"lower held_out, which is {percent}"
            )
        if percent and held.empty:
            raise UsageError(
                f"{recipe.data}: none of its {count} samples is held out; raise held_out, which "
                f"is {percent}, or set it to 0 and give test data with --test"
            )
        self.held = held
        self.tests = [
            HeldOut(name, *_samples(path, recipe))
            for name, path in zip(short_names(recipe.test), recipe.test, strict=True)
        ]
        old = [_samples(path, recipe) for path in recipe.replay]
        self.replay = ([s for one in old for s in one[0]], [s for one in old for s in one[1]])

    def measured(self) -> list[HeldOut]:
        """Everything that is measured before and after."""
        return [one for one in (self.held, *self.tests) if not one.empty]

    def facts(self, recipe: Recipe, steps: int) -> dict[str, Any]:
        """What the card says of it."""
        return {
            "name": recipe.data.name,
            "format": self.dataset.format,
            "images": len(self.images),
            "videos": len(self.videos),
            "held_out": len(self.held.images) + len(self.held.videos),
            "left_out": self.dataset.left_out,
            "steps": steps,
        }


def _open(path: Path, recipe: Recipe) -> Dataset:
    try:
        dataset = open_dataset(path, recipe.format, split=recipe.split, videos=recipe.films)
        require_usable(dataset, recipe.skip_faulty)
    except DatasetError as error:
        raise UsageError(str(error)) from error
    return dataset


def _samples(path: Path, recipe: Recipe) -> tuple[tuple[ImageSample, ...], tuple[VideoSample, ...]]:
    """The sound samples of another data set."""
    dataset = _open(path, recipe.model_copy(update={"format": "auto", "split": None}))
    require_masks(dataset)
    return dataset.images, dataset.videos


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return names of folders, with as many of the folders above them as tells them apart."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max((len(p) for p in parts), default=1) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{paths[0]}: is given more than once with --test; once is enough")
