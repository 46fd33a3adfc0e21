"""The micro CLIP in training: where its weights start, its batches, its loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend

from engines.build import CROP_SIZE_PX, build_clip
from engines.micro_text import ByteTokenizer
from train.micro.attributes import AttributeHead
from train.micro.clip_data import (
    WINDOW,
    ClipPool,
    Scene,
    crop_anywhere,
    crop_object,
    shapes_scene,
    window_at_object,
)
from train.micro.clip_losses import clip_loss, object_loss
from train.micro.clip_start import prime
from train.micro.recipe import Clip
from train.micro.trainer import Schedule, Trainer
from train.ranks import Ranks


def new_model(seed: int = 0) -> Any:
    """A micro CLIP with random weights, save for those of the image tower that are primed."""
    torch.manual_seed(seed)
    model = build_clip("micro")
    prime(model.visual)
    return model


#: Share of drawn shapes while single objects are told apart; cells and smears come later.
OBJECT_SHAPES = 0.8
#: Side in pixels and number of the windows of a step then: mostly small ones, which are cheap, and
#: in every fourth step those that hold a large shape.
OBJECT_WINDOWS = ((96, 64), (96, 64), (96, 64), (WINDOW, 18))
#: Small crops of a step.
SMALL_CROPS = 64


class ClipTrainer(Trainer):
    """Trains the micro CLIP: crops of scenes and of single objects, every fifth step whole scenes.

    Args:
        pool: where scenes come from.
        recipe: sizes and rates.
        seed: of the weights and the batches.
        ranks: this process among all.
    """

    cpu_attention = SDPBackend.FLASH_ATTENTION

    def __init__(self, pool: ClipPool, recipe: Clip, seed: int, ranks: Ranks) -> None:
        self.pool, self.recipe = pool, recipe
        model = new_model(seed)
        width = int(model.visual.output_dim)
        early = int(model.visual.conv1.out_channels)
        heads = nn.ModuleDict(
            {
                "patches": AttributeHead(width),
                "wholes": AttributeHead(width),
                "objects": AttributeHead(width),
                "early": nn.Sequential(nn.LayerNorm(early), AttributeHead(early)),
            }
        )
        schedule = Schedule(recipe.steps, recipe.rate, recipe.warmup, 0.05, recipe.average)
        super().__init__(model, heads, schedule, seed, ranks)
        self._attribute_heads = heads
        self._tokenizer = ByteTokenizer()

    def draw(self, step: int) -> list[Scene]:
        """Windows around objects at first; later in three of five steps, with crops and scenes."""
        rng = np.random.default_rng((self.seed, step, self.ranks.rank, 0))
        if step < self.recipe.object_steps:
            side, count = OBJECT_WINDOWS[step % len(OBJECT_WINDOWS)]
            return self._windows(rng, count, side, OBJECT_SHAPES)
        kind = step % 5
        if kind == 4:
            return [self.pool.scene(rng) for _ in range(self.recipe.scenes)]
        if kind == 3:
            return self._crops(rng)
        if kind == 1:
            return self._windows(rng, self.recipe.windows)
        # As the detector looks a second time at what it has found.
        return self._small_crops(rng)

    def _windows(
        self, rng: np.random.Generator, count: int, side: int = WINDOW, shapes: float = 0.0
    ) -> list[Scene]:
        out: list[Scene] = []
        while len(out) < count:
            scene = shapes_scene(rng) if rng.random() < shapes else self.pool.scene(rng)
            # Several objects of one scene share its drawing.
            found = [window_at_object(scene, rng, side) for _ in range(4)]
            out += [one for one in found if one is not None][: count - len(out)]
        return out

    def _small_crops(self, rng: np.random.Generator) -> list[Scene]:
        out: list[Scene] = []
        while len(out) < SMALL_CROPS:
            scene = shapes_scene(rng) if rng.random() < OBJECT_SHAPES else self.pool.scene(rng)
            found = [crop_object(scene, rng, CROP_SIZE_PX, grey=0.6) for _ in range(4)]
            out += [one for one in found if one is not None][: SMALL_CROPS - len(out)]
        return out

    def _crops(self, rng: np.random.Generator) -> list[Scene]:
        out: list[Scene] = []
        while len(out) < self.recipe.crops:
            scene = self.pool.scene(rng)
            out.append(crop_anywhere(scene, rng))
            for _ in range(2):
                single = crop_object(scene, rng)
                if single is not None and len(out) < self.recipe.crops and rng.random() < 0.35:
                    out.append(single)
        return out

    def loss(self, batch: list[Scene]) -> tuple[Tensor, dict[str, float]]:
        """Loss of single objects at first, then of scenes with texts drawn for this step."""
        rng = np.random.default_rng((self.seed, self.step, self.ranks.rank, 1))
        if self.step < self.recipe.object_steps:
            return object_loss(self.model, self._attribute_heads, batch, rng)
        return clip_loss(self.model, self._attribute_heads, self._tokenizer, batch, rng)

    def settle(self) -> None:
        """Keep the scale of the logits where a softmax still learns."""
        with torch.no_grad():
            self.model.logit_scale.clamp_(0.0, math.log(60.0))
