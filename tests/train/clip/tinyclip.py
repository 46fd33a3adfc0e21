"""A CLIP model of a few thousand weights, and pictures in memory that it can learn."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from engines.registry import load_clip
from engines.texts import text_bank
from train.clip.recipe import ClipRecipe
from train.clip.towers import Towers, towers_of
from train.readers.samples import Counts, Dataset, ImageSample, LabelledImage

NAME = "ViT-clip-test"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
COLOURS = {
    "red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 50, 220),
    "yellow": (240, 220, 30), "white": (250, 250, 250), "black": (5, 5, 5),
}  # fmt: skip


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tiny architecture known under `NAME`."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, NAME, CONFIG)


def towers(seed: int = 0) -> Towers:
    """Return a tiny model with random weights."""
    loaded = load_clip(NAME, f"random:{seed}")
    bank = text_bank(loaded.model, NAME, loaded.origin)
    return towers_of(loaded.model, bank, torch.device("cpu"), False)


def recipe(**values: Any) -> ClipRecipe:
    """Return a recipe for the tiny model."""
    base: dict[str, Any] = {
        "data": Path("unused"), "model": NAME, "weights": "random:0", "precision": "fp32",
        "train": "all", "batch": 8, "lr": 1e-3, "warmup": 2, "steps": 6, "held_out": 30,
        "wise_steps": 2, "zoom": 0.0,
    }  # fmt: skip
    return ClipRecipe.model_validate(base | values)


def picture(colour: str, seed: int, *, masks: bool) -> LabelledImage:
    """Return a coloured square on grey, with two captions and its label."""
    rng = np.random.default_rng(seed)
    image = np.full((32, 32, 3), 128, np.uint8)
    ids = np.zeros((32, 32), np.uint16)
    y, x = (int(v) for v in rng.integers(0, 16, 2))
    image[y : y + 16, x : x + 16] = COLOURS[colour]
    ids[y : y + 16, x : x + 16] = 1
    captions = (f"a {colour} square", f"A  {colour} square.")
    if not masks:
        return LabelledImage(image, None, {}, {}, captions)
    return LabelledImage(image, ids, {}, {1: f"{colour} thing"}, captions)


def dataset(each: int = 8, *, masks: bool = False) -> Dataset:
    """Return pictures of six colours, `each` of every one."""
    samples = tuple(
        ImageSample(f"{colour}_{n}", partial(picture, colour, 100 * n + i, masks=masks))
        for i, colour in enumerate(COLOURS)
        for n in range(each)
    )
    return Dataset("captions", Path("drawn"), samples, (), counts=Counts(captions=2 * len(samples)))
