"""The whole configuration of a fine-tuning as one checked model, and its loading from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engines.build import RENDERED_PROMPTS, SAM2_NAMES
from train import recipes

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]


class Recipe(BaseModel):
    """What is trained, on what, and how; None is filled in by :meth:`resolved`.

    The defaults of the official models are those of their own training and fine-tuning (Ravi et al.
    2024, SAM 2, appendix D.2), scaled down in size only; those of `micro` are the small model's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    data: Path
    """The data set's folder or file."""
    format: str = "auto"
    """Its layout, as `docs/training-data.md` names them."""
    split: str | None = None
    """Only this part of a data set that comes in parts, e.g. `train`."""
    films: bool = False
    """Folders of frames are films, not images that stand alone (`instances`)."""
    test: tuple[Path, ...] = ()
    """Other data sets that are measured before and after."""
    replay: tuple[Path, ...] = ()
    """Other data sets that are trained on as well, so that what they show is not forgotten."""
    replay_share: Share = 0.3
    """Share of the clips that come from them."""
    held_out: Annotated[int, Field(ge=0, le=90)] = 10
    """Per cent of the samples that are kept from training, chosen by their names."""
    skip_faulty: bool = False
    """Train on the sound samples of a data set that has faulty ones."""

    model: str = "micro"
    weights: str | None = None
    """A path, a folder that training wrote, a hub id or `random:SEED`."""
    image_size: Annotated[int, Field(ge=64, multiple_of=32)] | None = None
    train: Literal["decoder", "memory", "all"] = "decoder"
    """`memory` is the decoder and all that remembers, `all` the image encoder too."""
    freeze: tuple[str, ...] = ()
    """Beginnings of parameter names that stay as they are, whatever `train` says."""

    steps: AtLeastOne | None = None
    """Optimiser steps; the learning rate falls over them."""
    minutes: Positive | None = None
    """Training ends at the first of both."""
    batch: AtLeastOne | None = None
    """Clips of a step, in each process."""
    accumulate: AtLeastOne = 1
    """Batches whose gradients are added up for a step."""
    frames: AtLeastOne | None = None
    """Frames of a clip."""
    objects: AtLeastOne | None = None
    """Objects of a clip, at most."""
    max_stride: AtLeastOne = 3
    """Frames of a film are taken at a random stride of at most this."""
    reverse: Share = 0.5
    """How often a film runs backwards."""
    video: Share = 0.7
    """Share of batches from films, where the data set has films and images."""
    animate: Share | None = None
    """Share of the batches of images that are moved into pseudo-films."""
    occlude: Share = 0.3
    """Share of pseudo-films in which an object is covered for a while."""

    flip: Literal["none", "horizontal", "both"] | None = None
    least_crop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """The smallest side of a crop as a share of the image's; 1 turns crops off."""
    rotate_deg: Annotated[float, Field(ge=0.0, le=180.0)] | None = None
    colour: Share = 0.2
    """Strength of the changes of brightness, contrast, gamma and saturation."""
    least_object_px: AtLeastOne = 16
    """Area in pixels of the model's input below which an object is not prompted."""

    box: Share = 0.25
    click: Share = 0.25
    mask: Share = 0.5
    """How often a clip's first prompt is which; they are weighed against each other. An image
    alone is never prompted by its mask: there is nothing to be learned from it."""
    prompted_frames: AtLeastOne = 2
    """At most so many frames of a clip are prompted, the first always."""
    corrections: Count | None = None
    """Corrective clicks on a prompted frame."""
    from_truth: Share = 0.1
    """How often a correction is a click anywhere on the object instead."""

    mask_loss: Literal["focal", "bce"] | None = None
    """`bce`, cross-entropy with heavier object pixels, suits objects of a few pixels."""
    foreground_weight: Annotated[float, Field(ge=1.0)] = 2.0
    """Of object pixels in `bce`."""
    weight_mask: Annotated[float, Field(ge=0.0)] | None = None
    weight_dice: Annotated[float, Field(ge=0.0)] = 1.0
    weight_iou: Annotated[float, Field(ge=0.0)] = 1.0
    weight_score: Annotated[float, Field(ge=0.0)] = 1.0
    loss_stride: Literal[1, 2, 4] | None = None
    """Pixels of the input that one side of a compared pixel has."""

    lr: Positive | None = None
    encoder_lr_scale: Annotated[float, Field(ge=0.0)] = 0.6
    """The image encoder's learning rate as a share of the others'."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Factor from each encoder block to the one before it."""
    weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    warmup: Count = 20
    final_lr: Share = 0.1
    """Share of the learning rate that is left at the end of the cosine."""
    clip_norm: Positive | None = None
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay of the moving average of the weights that is kept; 0 for none."""
    wise: Share = 1.0
    """Share of the trained weights in the result, the rest are the ones it began with
    (Wortsman et al. 2022)."""

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpointing: bool = False
    """Compute activations of the encoder and of memory attention twice, to save memory."""
    threads: Count = 0
    """Of the processor; 0 leaves torch's own number."""
    seed: Count = 0

    eval_every: AtLeastOne | None = None
    """Steps between two looks at the held-out samples; None for ten looks in all."""
    patience: Count = 0
    """End after so many looks without a better held-out IoU; 0 never does."""
    eval_images: AtLeastOne = 100
    eval_films: AtLeastOne = 10
    eval_frames: Annotated[int, Field(ge=2)] = 16
    eval_objects: AtLeastOne = 6
    """Of an image or film that are measured, at most."""
    cache_mb: Count = 1024
    """Decoded images that are kept in memory."""
    save_every_s: Positive = 300.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.model not in SAM2_NAMES:
            raise ValueError(f"model {self.model!r} is unknown; accepted: {', '.join(SAM2_NAMES)}")
        if self.box + self.click <= 0.0:
            raise ValueError("box and click are both 0; images need one of these prompts")
        if self.held_out == 0 and self.patience:
            raise ValueError(f"patience {self.patience} needs held-out samples; held_out is 0")
        return self

    @property
    def rendered(self) -> bool:
        """Whether the model is prompted with drawings beside the points."""
        return self.model in RENDERED_PROMPTS

    def resolved(self) -> Recipe:
        """Return the recipe with the model's own value wherever nothing was said."""
        own = _SMALL if self.model == "micro" else _OFFICIAL
        bce = (self.mask_loss or own["mask_loss"]) == "bce"
        values = own | {"weight_mask": 1.0 if bce else 20.0}
        if self.steps is None and self.minutes is None:
            values["steps"] = 1000
        return self.model_copy(update={k: v for k, v in values.items() if getattr(self, k) is None})


_SMALL: dict[str, Any] = {
    "batch": 4, "frames": 4, "objects": 6, "animate": 0.25, "flip": "both", "rotate_deg": 45.0,
    "corrections": 2, "mask_loss": "bce", "loss_stride": 2, "lr": 2e-4, "weight_decay": 0.02,
    "clip_norm": 1.0,
}  # fmt: skip
_OFFICIAL: dict[str, Any] = {
    "batch": 1, "frames": 8, "objects": 3, "animate": 0.25, "flip": "horizontal",
    "rotate_deg": 25.0, "corrections": 7, "mask_loss": "focal", "loss_stride": 1, "lr": 5e-6,
    "weight_decay": 0.1, "clip_norm": 0.1,
}  # fmt: skip


def load_recipe(path: Path | None, overrides: dict[str, Any]) -> Recipe:
    """Load a recipe; see `train.recipes.load_recipe`."""
    needed = {"data": "no data set is given; name its folder: maskcast train sam2 FOLDER"}
    return recipes.load_recipe(Recipe, path, overrides, needed)
