"""The whole configuration of a fine-tuning as one checked model, and its loading from YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from train import recipes

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


def _part(text: str) -> str:
    if text in ("projection", "all") or re.fullmatch(r"last:[1-9]\d*", text):
        return text
    raise ValueError("accepted are projection, last:K with K from 1 on, and all")


def _wise(value: float | str) -> float | str:
    if value == "auto":
        return value
    try:
        alpha = float(value)
    except ValueError:
        alpha = -1.0
    if not 0.0 <= alpha <= 1.0:
        raise ValueError("accepted are auto and a number from 0 to 1")
    return alpha


class ClipRecipe(BaseModel):
    """What is trained, on what, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    data: Path
    """The data set's folder."""
    format: str = "auto"
    """Its layout, as `docs/training-data.md` names them."""
    held_out: Annotated[int, Field(ge=1, le=90)] = 10
    """Per cent of the samples that are kept from training, chosen by their names."""
    skip_faulty: bool = False
    """Train on the sound samples of a data set that has faulty ones."""

    model: str = "micro"
    weights: str | None = None
    """A path, a folder that training wrote, a hub id or `random:SEED`."""
    train: Annotated[str, AfterValidator(_part)] = "last:2"
    """`projection`, `last:K`: the last K blocks of both towers as well, or `all`."""
    freeze_text: bool = False
    """Train the image tower only."""

    batch: Annotated[int, Field(ge=2)] = 48
    """Pairs of a step; all of them are each other's negatives."""
    accumulate: AtLeastOne = 1
    """Parts that a batch is computed in, to save memory; the gradient stays that of the batch."""
    steps: AtLeastOne = 300
    """Optimiser steps; the learning rate falls over them."""
    minutes: Positive | None = None
    """Training ends at the first of both."""
    lr: Positive = 1e-5
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    """Of matrices; norms, biases and logit_scale have none."""
    warmup: Count = 20
    clip_norm: Positive = 1.0
    hard_negatives: Count = 1
    """Captions with one attribute swapped that each picture is told from."""
    crops: Share = 0.5
    """Share of pairs that are crops of labelled objects, where the data set has them."""
    zoom: Share = 0.1
    """How much of a whole picture's side may be cut off at random."""
    dense_weight: Annotated[float, Field(ge=0.0)] | None = None
    """Weight of the loss on patches; None for 1 where the data set has labelled masks, else 0."""
    dense_windows: AtLeastOne = 8
    """Windows of a step whose patches are trained."""
    dense_size: Annotated[int, Field(ge=32)] | None = None
    """Side in pixels of the picture that windows are cut from; None for what runs look at."""

    eval_every: AtLeastOne = 25
    """Steps between two looks at the held-out samples."""
    patience: Count = 6
    """End after so many looks without a better recall; 0 never does."""
    eval_images: AtLeastOne = 512
    """Held-out pictures that are looked at, at most."""
    wise: Annotated[float | str, AfterValidator(_wise)] = "auto"
    """Share of the trained weights in the result; auto takes the best of the table."""
    wise_steps: Annotated[int, Field(ge=1, le=100)] = 5
    """Intervals between the shares 0 and 1 that are tried."""

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Count = 0
    """Of the processor; 0 leaves torch's own number."""
    seed: Count = 0
    save_every_s: Positive = 120.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate {self.accumulate} is more than batch {self.batch}; a part needs a pair"
            )
        return self


def load_recipe(path: Path | None, overrides: dict[str, Any]) -> ClipRecipe:
    """Load a recipe; see `train.recipes.load_recipe`."""
    needed = {"data": "no data set is given; name its folder: maskcast train clip FOLDER"}
    return recipes.load_recipe(ClipRecipe, path, overrides, needed)
