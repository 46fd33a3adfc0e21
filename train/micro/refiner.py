"""The refiner in training, and how much nearer to the truth it brings masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from engines.refiner import Refiner
from train.micro.again import seen_again
from train.micro.pool import Pool
from train.micro.recipe import RefinerPart
from train.micro.refining import Examples, examples_of
from train.micro.trainer import Schedule, Trainer
from train.ranks import Ranks

#: Weight of the Dice loss beside the cross-entropy of cells.
DICE = 0.5


class RefinerTrainer(Trainer):
    """Trains the refiner.

    Args:
        pool: where pictures come from.
        recipe: sizes and rates.
        seed: of the weights and the batches.
        ranks: this process among all.
    """

    def __init__(self, pool: Pool, recipe: RefinerPart, seed: int, ranks: Ranks) -> None:
        self.pool, self.recipe = pool, recipe
        torch.manual_seed(seed)
        model = Refiner().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        second_round = recipe.second_round if recipe.second_round < recipe.steps else 0
        schedule = Schedule(
            recipe.steps, recipe.rate, recipe.warmup, 0.02, recipe.average,
            second_round, recipe.second_rate,
        )  # fmt: skip
        super().__init__(model, nn.ModuleDict(), schedule, seed, ranks)

    def draw(self, step: int) -> Examples:
        """Windows of as many pictures as the recipe says."""
        rng = np.random.default_rng((self.seed, step, self.ranks.rank, 2))
        while True:
            clips = [
                self.pool.clip(1, rng, self.recipe.shape_share) for _ in range(self.recipe.pictures)
            ]
            if (found := examples_of(clips, self.recipe.objects, rng)) is not None:
                return found

    def loss(self, batch: Examples) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of cells, and Dice."""
        device = self.ranks.device
        batch = self._with_own(batch)
        inputs = batch.inputs.to(device, memory_format=torch.channels_last)
        target = batch.target.to(device)
        logits = self.model(inputs).float()
        cells = F.binary_cross_entropy_with_logits(logits, target)
        chance = logits.sigmoid()
        both = (chance * target).sum(dim=(1, 2))
        sizes = chance.sum(dim=(1, 2)) + target.sum(dim=(1, 2))
        dice = (1 - (2 * both + 1) / (sizes + 1)).mean()
        return cells + DICE * dice, {"cells": float(cells.detach()), "dice": float(dice.detach())}

    def _with_own(self, batch: Examples) -> Examples:
        """Put in place of every second clicked object what the network drew of it just now."""
        rows = batch.clicked()[::2]
        if self.step < self.recipe.second_round or not len(rows):
            return batch
        with torch.no_grad():
            logits = self.model(batch.inputs[rows].to(self.ranks.device)).float()
        again = seen_again(batch, rows, logits)
        inputs, target = batch.inputs.clone(), batch.target.clone()
        inputs[rows], target[rows] = again.inputs, again.target
        return replace(batch, inputs=inputs, target=target)


class RefinerLook:
    """IoU of held-out masks before and after.

    Args:
        pool: held-out pictures.
        batches: of how many pictures.
    """

    def __init__(self, pool: Pool, batches: int = 6) -> None:
        rng = np.random.default_rng(6)
        clips = (
            [[pool.clip(1, rng) for _ in range(12)] for _ in range(batches)] if pool.kinds else []
        )
        self._examples = [one for some in clips if (one := examples_of(some, 6, rng)) is not None]
        self._model = Refiner()

    def __call__(self, trainer: Trainer, folder: Path) -> Mapping[str, float]:
        """Measure and draw the averaged weights."""
        if not self._examples:
            return {}
        self._model.load_state_dict({k: v.cpu() for k, v in trainer.average.shadow.items()})
        before, after, boxed, bare = [], [], [], []
        for examples in self._examples:
            with torch.inference_mode():
                found = self._model(examples.inputs) > 0
            true = examples.target > 0.5
            before.append(_iou(examples.inputs[:, 3] > 0, true))
            after.append(_iou(found, true))
            boxed.append(examples.inputs[:, 4].flatten(1).any(dim=1))
            bare.append(examples.inputs[:, 5].flatten(1).any(dim=1))
        self._draw(trainer, folder)
        iou, by_box, by_click = torch.cat(after), torch.cat(boxed), torch.cat(bare)
        ways = {"box": by_box, "click": by_click & ~by_box, "mask": ~by_box & ~by_click}
        found = {f"held_out_{way}_iou": float(iou[rows].mean()) for way, rows in ways.items()}
        return {"held_out_before_iou": float(torch.cat(before).mean()), **found}

    def _draw(self, trainer: Trainer, folder: Path) -> None:
        """Windows above; below them the mask so far in red, what it becomes in green."""
        examples = self._examples[0]
        inputs = examples.inputs[:16]
        with torch.inference_mode():
            found = self._model(inputs) > 0
        colours = (inputs[:, :3] * 0.2 + 0.5).clamp(0, 1)
        marked = colours.clone()
        marked[:, 0] = torch.where(inputs[:, 3] > 0, 1.0, marked[:, 0])
        marked[:, 1] = torch.where(found, 1.0, marked[:, 1])
        truth = colours.clone()
        truth[:, 2] = torch.where(examples.target[:16] > 0.5, 1.0, truth[:, 2])
        rows = [torch.cat(list(part), dim=2) for part in (colours, marked, truth)]
        picture = (torch.cat(rows, dim=1).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        path = folder / "samples" / f"step_{trainer.step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)


def _iou(one: Tensor, other: Tensor) -> Tensor:
    return (one & other).sum(dim=(1, 2)) / (one | other).sum(dim=(1, 2)).clamp(min=1)
