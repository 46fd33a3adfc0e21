"""Small labelled pictures, films and models for the tests of fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sam2.modeling.sam2_base import SAM2Base

from engines.build import build_sam2
from train.readers.samples import ImageSample, LabelledImage, VideoSample
from train.sam2.recipe import Recipe

SIDE = 128


def picture(seed: int = 0, shift: int = 0, gone: Sequence[int] = ()) -> LabelledImage:
    """Three bright discs on dark ground; some may be gone."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    ids: NDArray[np.uint16] = np.zeros((SIDE, SIDE), np.uint16)
    for number, (y, x) in enumerate(((36, 36), (36, 92), (92, 60)), 1):
        if number not in gone:
            ids[(rows - y) ** 2 + (columns - x - shift) ** 2 < 16**2] = number
    image = np.where(ids > 0, 190, 40)[..., None] + rng.integers(0, 20, (SIDE, SIDE, 3))
    return LabelledImage(image.astype(np.uint8), ids)


def stills(count: int = 2) -> list[ImageSample]:
    return [ImageSample(f"circle{seed}", partial(picture, seed)) for seed in range(count)]


def film(name: str = "film", frames: int = 4) -> VideoSample:
    """The discs drift, and the first is gone in the last two frames."""

    def load(indices: Sequence[int]) -> list[LabelledImage]:
        return [picture(t, 3 * t, gone=(1,) if t >= frames - 2 else ()) for t in indices]

    return VideoSample(name, frames, load)


def write_set(root: Path, count: int) -> Path:
    """The pictures as a data set of the layout `instances`."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for seed in range(count):
        shown = picture(seed)
        assert shown.ids is not None
        Image.fromarray(shown.image).save(root / "images" / f"circle{seed}.png")
        Image.fromarray(shown.ids).save(root / "masks" / f"circle{seed}.png")
    return root


def small_recipe(**changes: object) -> Recipe:
    """A recipe of micro that costs little."""
    values: dict[str, object] = {
        "data": "unused", "image_size": SIDE, "batch": 1, "frames": 3, "objects": 2,
        "corrections": 1, "warmup": 0, "steps": 6, "precision": "fp32", "device": "cpu",
    }  # fmt: skip
    return Recipe.model_validate(values | changes).resolved()


def random_model(seed: int = 0) -> SAM2Base:
    torch.manual_seed(seed)
    return build_sam2("micro", SIDE)
