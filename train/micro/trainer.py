"""What training the micro segmenter and the micro CLIP have in common: one step, and the way on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from engines.precision import AUTO, choose_precision
from train.checkpoint import Average
from train.ranks import Ranks


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: optimiser steps in all.
        rate: the highest learning rate.
        warmup: steps of the linear rise to it; a half cosine down to 2 per cent follows.
        weight_decay: of matrices; vectors have none.
        average: decay of the moving average of the weights.
        restarts: steps from which the rate rises and falls once more, beginning with the averaged
            weights (warm restarts: Loshchilov & Hutter 2017, arXiv 1608.03983), in order.
        later_rate: the highest learning rate of those rounds.
    """

    steps: int
    rate: float
    warmup: int
    weight_decay: float
    average: float
    restarts: tuple[int, ...] = ()
    later_rate: float = 0.0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        first = max((start for start in self.restarts if start <= step), default=0)
        end = min((start for start in self.restarts if start > step), default=self.steps)
        rate = self.later_rate if first else self.rate
        if step < first + self.warmup:
            return rate * (step - first + 1) / self.warmup
        progress = min(1.0, (step - first - self.warmup) / max(1, end - first - self.warmup))
        return rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress)))


class Trainer(ABC):
    """Model, optimiser, average and step counter; everything that a resumed run needs.

    Batches depend on seed, step and rank alone, so that a resumed run sees what an uninterrupted
    one would have seen, whoever draws them.

    Args:
        model: what is trained.
        heads: what is trained beside it; most of it is thrown away.
        schedule: how long and how fast.
        seed: of the batches.
        ranks: this process among all.
    """

    #: Attention on CPU: which is faster depends on the width of the heads.
    cpu_attention = SDPBackend.MATH

    def __init__(
        self, model: nn.Module, heads: nn.Module, schedule: Schedule, seed: int, ranks: Ranks
    ) -> None:
        self.model: Any = model.to(ranks.device)
        self.heads = heads.to(ranks.device)
        self.schedule, self.seed, self.ranks = schedule, seed, ranks
        self.parameters = [*model.parameters(), *heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in self.parameters if p.ndim >= 2],
                    "weight_decay": schedule.weight_decay,
                },
                {"params": [p for p in self.parameters if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=schedule.rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.average = Average(self.model, schedule.average)
        self.heads_average = Average(self.heads, schedule.average)
        #: The averaged weights that the present round began with; empty in the first round.
        self.round_began: dict[str, Tensor] = {}
        self.step = 0
        # What has no bf16 in hardware emulates it, about nine times slower than float32;
        # fp16 would need scaled losses.
        self.bf16 = choose_precision(AUTO, ranks.device.type) == "bf16"

    @abstractmethod
    def draw(self, step: int) -> Any:
        """Draw a step's batch, on the CPU, from the seed, the step and this process's rank."""

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch and its parts for the log."""

    def settle(self) -> None:
        """Put right after a step what the optimiser must not change too far."""
        return

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain values."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow,
            "heads_average": self.heads_average.shadow,
            "round_began": self.round_began,
        }

    def kept(self) -> dict[str, Tensor]:
        """What is exported as the weights."""
        return self.average.shadow

    def kept_heads(self) -> dict[str, dict[str, Tensor]]:
        """Heads that are exported beside the weights, by the names of their files."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        for average, key in ((self.average, "average"), (self.heads_average, "heads_average")):
            for name, value in state[key].items():
                average.shadow[name].copy_(value)
        # Checkpoints of before rounds were remembered have none.
        began = state.get("round_began", {})
        self.round_began = {name: value.to(self.ranks.device) for name, value in began.items()}

    def begin_again(self) -> None:
        """Go on from the averaged weights, as if nothing were known of earlier gradients."""
        self.round_began = {name: value.clone() for name, value in self.average.shadow.items()}
        self.model.load_state_dict(self.average.shadow)
        self.optimizer.state.clear()

    def between(self) -> dict[str, Tensor]:
        """The averaged weights, halfway back to those that the present round began with.

        Rounds end at different places, and what lies between them may do better with other data
        (stochastic weight averaging: Izmailov et al. 2018, arXiv 1803.05407).
        """
        now, began = self.average.shadow, self.round_began
        return {name: now[name].lerp(began[name], 0.5) for name in now} if began else dict(now)

    def batches(self, workers: int) -> Iterator[Any]:
        """Batches from the present step to the last.

        Args:
            workers: processes that draw ahead; 0 draws where the training runs.
        """
        steps = range(self.step, self.schedule.steps)
        if workers == 0:
            return map(self.draw, steps)
        loader: DataLoader[Any] = DataLoader(
            _Drawn(self), batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=4
        )
        return iter(loader)

    def advance(self, batch: Any) -> dict[str, float]:
        """One optimiser step; returns the parts of its loss."""
        if self.step in self.schedule.restarts:
            self.begin_again()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        device = self.ranks.device.type
        backends = [self.cpu_attention] if device == "cpu" else list(_ON_DEVICE)
        with sdpa_kernel(backends):
            with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                loss, parts = self.loss(batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.settle()
            self.average.update(self.step)
            self.heads_average.update(self.step)
        self.step += 1
        return {"loss": float(loss.detach()), "norm": float(norm), **parts}

    def _share_gradients(self) -> None:
        """Average the gradients of all processes; what one did not use counts as zero there."""
        if self.ranks.size == 1:
            return
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
        dist.all_reduce(flat)
        flat /= self.ranks.size
        start = 0
        for parameter in self.parameters:
            assert parameter.grad is not None
            count = parameter.numel()
            parameter.grad.copy_(flat[start : start + count].view_as(parameter))
            start += count


_ON_DEVICE = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


class _Drawn(Dataset[Any]):
    """A trainer's batches by step, for processes that draw ahead."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __getitem__(self, step: int) -> Any:
        return self.trainer.draw(step)
