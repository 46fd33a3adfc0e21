"""Model, optimiser, best weights and step counter of a fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from stream.errors import UsageError
from train.clip.draws import Batch, Draws
from train.clip.gradcache import Encode, cached_backward
from train.clip.losses import MAX_SCALE, contrastive_loss, dense_loss
from train.clip.recipe import ClipRecipe
from train.clip.stopping import EarlyStop
from train.clip.towers import Towers, choose_trained, parameter_groups
from train.clip.wise import State

_FREE_TO_CHANGE = (
    "data", "minutes", "patience", "wise", "wise_steps", "threads", "device", "save_every_s",
)  # fmt: skip


class Trainer:
    """Takes steps; batches depend on the seed and the step alone.

    Args:
        towers: The model that training begins with; it is changed.
        draws: Where pairs come from.
        recipe: How it is trained.
        dense_weight: Weight of the loss on patches.

    Attributes:
        step: Optimiser steps taken.
        stop: Which look was the best.
        best: The weights that were the best.
        skipped: Steps whose gradient was not finite and was not taken.

    Raises:
        UsageError: What shall be trained is not there.
    """

    def __init__(
        self, towers: Towers, draws: Draws, recipe: ClipRecipe, dense_weight: float
    ) -> None:
        self.towers, self.draws, self.recipe = towers, draws, recipe
        self._dense_weight = dense_weight
        self.trained = choose_trained(towers.model, recipe.train, recipe.freeze_text)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(towers.model, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98)
        )
        self.step = self.skipped = 0
        self.stop = EarlyStop(recipe.patience)
        self.best = self.weights()

    def weights(self) -> State:
        """Return a copy of the weights as they are."""
        state: Mapping[str, Tensor] = self.towers.model.state_dict()
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def look(self, recall: float) -> None:
        """Take a recall on the held-out samples; keep the weights if it is the best."""
        if self.stop.look(self.step, recall):
            self.best = self.weights()

    def rate(self) -> float:
        """Learning rate of the next step: linear warm-up, then a half cosine."""
        use = self.recipe
        if self.step < use.warmup:
            return use.lr * (self.step + 1) / use.warmup
        progress = min(1.0, (self.step - use.warmup) / max(1, use.steps - use.warmup))
        return use.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress)))

    def advance(self) -> dict[str, float]:
        """Take one step; returns the parts of its loss."""
        batch = self.draws.batch(self.step)
        rate = self.rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        shown: dict[str, float] = {}
        loss = cached_backward(
            self._parts(batch), lambda found: self._loss(batch, found, shown), self._seeded
        )
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            with torch.no_grad():
                self.towers.model.logit_scale.clamp_(0.0, math.log(MAX_SCALE))
        else:
            self.skipped += 1
        self.step += 1
        scale = float(self.towers.scale.detach())
        return {"loss": float(loss), **shown, "norm": float(norm), "scale": scale, "lr": rate}

    # -- one batch -------------------------------------------------------------------------------

    def _parts(self, batch: Batch) -> dict[str, list[Encode]]:
        count = self.recipe.accumulate
        texts = (*batch.texts, *batch.swaps)
        parts: dict[str, list[Encode]] = {
            "images": [_later(self.towers.pictures, part) for part in batch.images.chunk(count)],
            "texts": [_later(self.towers.texts, part) for part in _chunks(texts, count)],
        }
        if batch.windows:
            planes = torch.stack([window.planes for window in batch.windows])
            parts["patches"] = [_later(self._patches, part) for part in planes.chunk(count)]
            asked = [*_labels(batch), *self.towers.negatives]
            parts["labels"] = [_later(self.towers.texts, part) for part in _chunks(asked, count)]
        return parts

    def _patches(self, planes: Tensor) -> Tensor:
        return self.towers.patches(planes).flatten(0, 2)

    def _loss(self, batch: Batch, found: Mapping[str, Tensor], shown: dict[str, float]) -> Tensor:
        device, scale = self.towers.device, self.towers.scale
        count = len(batch.texts)
        texts, swaps = found["texts"][:count], found["texts"][count:]
        to_text, to_image = contrastive_loss(
            found["images"], texts, swaps, scale,
            batch.relation.to(device), batch.against.to(device),
        )  # fmt: skip
        loss = (to_text + to_image) / 2
        shown |= {"to_text": float(to_text.detach()), "to_image": float(to_image.detach())}
        if batch.windows:
            labels = _labels(batch)
            asked, negatives = found["labels"][: len(labels)], found["labels"][len(labels) :]
            targets = torch.cat([_targets(w.targets, w.labels, labels) for w in batch.windows])
            dense = dense_loss(found["patches"], targets.to(device), asked, negatives, scale)
            loss = loss + self._dense_weight * dense
            shown["dense"] = float(dense.detach())
        return loss

    @contextmanager
    def _seeded(self, name: str, part: int) -> Iterator[None]:
        """Random choices inside, such as dropout, depend on the seed, the step and the part."""
        device = self.towers.device
        key = hash((self.recipe.seed, self.step, ord(name[0]), part)) & (2**62 - 1)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(key)
            yield

    # -- checkpoints -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that a resumed training needs, as tensors and plain values."""
        return {
            "step": self.step,
            "skipped": self.skipped,
            "model": self.towers.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "stop": self.stop.state(),
            "drawn": self.draws.drawn,
            "failed": self.draws.failed,
            "recipe": self.recipe.model_dump_json(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`.

        Raises:
            UsageError: It was made by another recipe.
        """
        old, new = ClipRecipe.model_validate_json(state["recipe"]), self.recipe
        for key in ClipRecipe.model_fields:
            was, now = getattr(old, key), getattr(new, key)
            if key not in _FREE_TO_CHANGE and was != now:
                raise UsageError(
                    f"--resume: {key} was {was!r} and is {now!r}; give {was!r}, or begin anew in "
                    "another folder"
                )
        self.step, self.skipped = int(state["step"]), int(state["skipped"])
        self.towers.model.load_state_dict(state["model"])
        self.best = dict(state["best"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stop.restore(state["stop"])
        self.draws.drawn, self.draws.failed = int(state["drawn"]), int(state["failed"])


def _later(function: Callable[[Any], Tensor], argument: Any) -> Encode:
    return lambda: function(argument)


def _chunks(items: Sequence[str], count: int) -> list[Sequence[str]]:
    size = math.ceil(len(items) / count)
    return [items[first : first + size] for first in range(0, len(items), size)]


def _labels(batch: Batch) -> list[str]:
    return sorted({label for window in batch.windows for label in window.labels})


def _targets(targets: Tensor, own: Sequence[str], labels: Sequence[str]) -> Tensor:
    """Return (N,) a window's targets in the numbers of a batch's labels."""
    table = torch.tensor([0, *(labels.index(label) + 1 for label in own), -1])
    return table[targets.flatten()]
