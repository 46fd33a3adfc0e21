"""The refiner in training, and how much nearer to the truth it brings masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from engines.eight_bit import packed
from engines.refiner import Drawing, Refiner
from train.micro.again import replaced, seen_again
from train.micro.patches import Patch, patches_of
from train.micro.pool import Pool
from train.micro.recipe import RefinerPart
from train.micro.refining import Examples, examples_of
from train.micro.trainer import Schedule, Trainer
from train.ranks import Ranks

#: Weights of the Dice loss and of the judge's two beside the cross-entropy of cells.
DICE, JUDGE, ORDER = 0.5, 0.2, 1.0
#: How often each patch is seen: cutting costs more than looking, and drawings of one object by the
#: same click are what the judge chooses among.
LOOKS = 2


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
        restarts = tuple(sorted(step for step in recipe.restarts if step < recipe.steps))
        schedule = Schedule(
            recipe.steps,
            recipe.rate,
            recipe.warmup,
            0.02,
            recipe.average,
            restarts,
            recipe.later_rate,
        )
        super().__init__(model, nn.ModuleDict(), schedule, seed, ranks)

    def kept(self) -> dict[str, Tensor]:
        """What the last two rounds ended with, in eight bits."""
        return packed(self.between())

    def draw(self, step: int) -> Examples:
        """Windows of as many pictures as the recipe says."""
        rng = np.random.default_rng((self.seed, step, self.ranks.rank, 2))
        patches: list[Patch] = []
        while not patches:
            for _ in range(self.recipe.pictures):
                still = self.pool.picture(rng, self.recipe.shape_share)
                patches += patches_of(still, self.recipe.objects, rng)
        return examples_of(patches, rng, LOOKS)

    def loss(self, batch: Examples) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of cells, Dice, and how well the judge knew."""
        batch = self._with_own(batch)
        target, areas = batch.target.to(self.ranks.device), batch.areas.to(self.ranks.device)
        drawing = self._drawn(batch.inputs, batch.wider)
        logits = drawing.logits.float()
        cells = F.binary_cross_entropy_with_logits(logits, target)
        chance = logits.sigmoid()
        both = (chance * target).sum(dim=(1, 2))
        sizes = chance.sum(dim=(1, 2)) + areas
        dice = (1 - (2 * both + 1) / (sizes + 1)).mean()
        found, quality = _found(logits.detach(), target, areas), drawing.quality.float()
        judge = F.binary_cross_entropy_with_logits(quality, found)
        order = _order(quality, found, batch.clicked())
        parts = {"cells": cells, "dice": dice, "judge": judge, "order": order}
        total = cells + DICE * dice + JUDGE * judge + ORDER * order
        return total, {name: float(part.detach()) for name, part in parts.items()}

    def _drawn(self, inputs: Tensor, wider: Tensor) -> Drawing:
        device = self.ranks.device
        drawing: Drawing = self.model(
            inputs.to(device, memory_format=torch.channels_last),
            wider.to(device, memory_format=torch.channels_last),
        )
        return drawing

    def _with_own(self, batch: Examples) -> Examples:
        """Put in place of every second clicked object what the network drew of it just now.

        Every second of these is what it drew around that once more.
        """
        rows = batch.clicked()[::2]
        if self.step < self.recipe.own_from or not len(rows):
            return batch
        batch = self._again(batch, rows)
        return self._again(batch, rows[::2])

    def _again(self, batch: Examples, rows: Tensor) -> Examples:
        with torch.no_grad():
            logits = self._drawn(batch.inputs[rows], batch.wider[rows]).logits.float()
        return replaced(batch, rows, seen_again(batch, rows, logits))


def _found(logits: Tensor, target: Tensor, areas: Tensor) -> Tensor:
    """(N,) IoU of drawn masks and whole objects."""
    inside = (logits > 0).float()
    shared = (inside * target).sum(dim=(1, 2))
    union = inside.sum(dim=(1, 2)) + areas - shared
    return (shared / union.clamp(min=1.0)).clamp(0, 1)


def _order(quality: Tensor, found: Tensor, clicked: Tensor) -> Tensor:
    """How badly the judge tells which of two drawings of one object is better.

    Each pair weighs as much as their IoU differ (RankNet: Burges et al. 2005, "Learning to rank
    using gradient descent").

    Args:
        quality: (N,) logits; the two looks at a patch are N / 2 rows apart.
        found: (N,) IoU of the drawings.
        clicked: Rows of those drawn from a click.
    """
    half = len(quality) // LOOKS
    rows = clicked[clicked < half].to(quality.device)
    if not len(rows):
        return quality.sum() * 0.0
    better = found[rows] - found[rows + half]
    surer = quality[rows] - quality[rows + half]
    return (better.abs() * F.softplus(-better.sign() * surer)).mean()


class RefinerLook:
    """IoU of held-out masks before and after.

    Args:
        pool: held-out pictures.
        pictures: how many of them.
    """

    def __init__(self, pool: Pool, pictures: int = 60) -> None:
        rng = np.random.default_rng(6)
        self._examples = []
        for _ in range(pictures // 12 if pool.kinds else 0):
            patches = [one for _ in range(12) for one in patches_of(pool.still(rng), 6, rng)]
            if patches:
                self._examples.append(examples_of(patches, rng))
        self._model = Refiner()

    def __call__(self, trainer: Trainer, folder: Path) -> Mapping[str, float]:
        """Measure and draw what would be kept."""
        if not self._examples:
            return {}
        self._model.load_state_dict({k: v.cpu() for k, v in trainer.between().items()})
        before, after, boxed, bare, far = [], [], [], [], []
        for examples in self._examples:
            with torch.inference_mode():
                drawing = self._model(examples.inputs, examples.wider)
                rows, logits = examples.clicked(), drawing.logits
                again = replaced(examples, rows, seen_again(examples, rows, logits[rows]))
                twice = self._model(again.inputs, again.wider).logits
            before.append(_found(examples.inputs[:, 3], examples.target, examples.areas))
            after.append(_found(twice, again.target, again.areas))
            there = _found(logits, examples.target, examples.areas)
            far.append((drawing.quality.sigmoid() - there).abs())
            boxed.append(~examples.given[:, 0].isnan())
            bare.append(torch.isin(torch.arange(len(logits)), rows))
        self._draw(trainer, folder)
        iou, by_box, by_click = torch.cat(after), torch.cat(boxed), torch.cat(bare)
        ways = {"box": by_box, "click": by_click, "mask": ~by_box & ~by_click}
        found = {f"held_out_{way}_iou": float(iou[rows].mean()) for way, rows in ways.items()}
        found["held_out_judge_error"] = float(torch.cat(far).mean())
        return {"held_out_before_iou": float(torch.cat(before).mean()), **found}

    def _draw(self, trainer: Trainer, folder: Path) -> None:
        """Windows above; below them the mask so far in red, what it becomes in green."""
        examples = self._examples[0]
        inputs = examples.inputs[:16]
        with torch.inference_mode():
            found = self._model(inputs, examples.wider[:16]).logits > 0
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
