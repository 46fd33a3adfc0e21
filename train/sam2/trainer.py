"""Model, optimiser, average and step counter: everything that a resumed training needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from engines.precision import PRECISIONS, choose_precision
from train.checkpoint import Average
from train.ranks import Ranks
from train.sam2.clips import Pool
from train.sam2.following import Batch, FollowingLoss, Plan, choose_plan, collate
from train.sam2.parts import choose_parts, parameter_groups, train_mode, use_checkpointing
from train.sam2.recipe import Recipe

_PLAN, _CLIP = 1, 2
Shown = dict[str, tuple[float, int]]


class Trainer:
    """Advances a model by optimiser steps.

    Batches depend on `(seed, step)` alone, so a resumed training sees what an uninterrupted one
    would have seen; which process draws which clip changes nothing about the clips.

    Args:
        model: The model, on the ranks' device.
        pool: What clips are drawn from.
        recipe: Resolved.
        ranks: This process among the others.
    """

    def __init__(self, model: SAM2Base, pool: Pool, recipe: Recipe, ranks: Ranks) -> None:
        self.model, self.pool, self.recipe, self.ranks = model, pool, recipe, ranks
        self.trained = choose_parts(model, recipe)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if recipe.checkpointing:
            use_checkpointing(model)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, recipe), lr=recipe.lr or 0.0, betas=(0.9, 0.999)
        )
        self.average = Average(model, recipe.ema) if recipe.ema else None
        self.step = 0
        self.elapsed_s = 0.0
        self.skipped = 0
        self.loss = FollowingLoss(model, recipe)
        device = ranks.device
        name = choose_precision(recipe.precision, device.type)
        # Half precision without bf16 would need scaled losses; float32 is safe.
        self._dtype = torch.bfloat16 if name == "bf16" else PRECISIONS["fp32"]

    # -- what is kept ---------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything a resumed training needs, as tensors and plain values."""
        return {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "skipped": self.skipped,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow if self.average else {},
            "draws": [self.pool.draws.count, self.pool.draws.failed],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
        self.skipped = int(state["skipped"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            for name, value in state["average"].items():
                self.average.shadow[name].copy_(value)
        self.pool.draws.count, self.pool.draws.failed = (int(v) for v in state["draws"])

    def weights(self) -> dict[str, Tensor]:
        """The weights as they are now, on the processor; their average where one is kept."""
        state = self.average.shadow if self.average else self.model.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    # -- one step -------------------------------------------------------------------------------

    def done(self) -> float:
        """Share of the training that is done: of its steps or its minutes, whichever is more."""
        recipe = self.recipe
        shares = [0.0]
        if recipe.steps:
            shares.append(self.step / recipe.steps)
        if recipe.minutes:
            shares.append(self.elapsed_s / (60.0 * recipe.minutes))
        return max(shares)

    def rate(self) -> float:
        """Learning rate of the present step: linear warm-up, then a half cosine."""
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / (recipe.warmup + 1))
        fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, self.done())))
        share = recipe.final_lr + (1.0 - recipe.final_lr) * fall
        return float((recipe.lr or 0.0) * warm * share)

    def batches(self) -> list[tuple[Batch, Plan, list[np.random.Generator]]]:
        """Draw this process's batches of the present step."""
        recipe, pool = self.recipe, self.pool
        count = int(recipe.batch or 1)
        drawn = []
        for part in range(recipe.accumulate):
            plan = choose_plan(
                recipe,
                bool(pool.images),
                bool(pool.videos),
                np.random.default_rng((recipe.seed, _PLAN, self.step, part)),
            )
            slots = range(self.ranks.rank * count, (self.ranks.rank + 1) * count)
            rngs = [
                np.random.default_rng((recipe.seed, _CLIP, self.step, part, slot)) for slot in slots
            ]
            clips = [pool.clip(plan.source, plan.frames, rng) for rng in rngs]
            drawn.append((collate(clips), plan, rngs))
        return drawn

    def advance(self) -> dict[str, float]:
        """Make one optimiser step.

        Returns:
            The loss and its parts, the means over objects of what is shown, and the rate.
        """
        train_mode(self.model)
        # Dropout, too, depends on the step alone.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step * 1_009 + self.ranks.rank)
        drawn = self.batches()
        mine = sum(batch.objects for batch, _, _ in drawn)
        objects = max(1.0, self.ranks.total(float(mine)) / self.ranks.size)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate() * group["scale"]
        rate = self.rate()
        self.optimizer.zero_grad(set_to_none=True)
        total, shown = 0.0, Shown()
        for batch, plan, rngs in drawn:
            value, figures = self._backward(batch, plan, rngs, objects)
            total += value
            _merge(shown, figures)
        self.ranks.average_gradients(self._parameters)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip_norm or 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            if self.average:
                self.average.update(self.step)
        else:
            self.skipped += 1
        self.step += 1
        means = {name: value / number for name, (value, number) in shown.items() if number}
        return {"loss": total, "norm": float(norm), "lr": rate, **means}

    def _backward(
        self, batch: Batch, plan: Plan, rngs: list[np.random.Generator], objects: float
    ) -> tuple[float, Shown]:
        device = self.ranks.device
        with torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32):
            loss, shown = self.loss(batch.to(device), plan, rngs, objects)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), shown


def _merge(into: Shown, new: Shown) -> None:
    for name, (value, number) in new.items():
        # Losses are already divided by the objects of all batches, so they add up.
        count = 1 if name.startswith("loss_") else into.get(name, (0.0, 0))[1] + number
        into[name] = (into.get(name, (0.0, 0))[0] + value, count)
