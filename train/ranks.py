"""One process or several: what they have to agree on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from stream.errors import UsageError


@dataclass(frozen=True)
class Ranks:
    """This process among all that train together.

    Attributes:
        rank: of this process.
        size: how many there are.
        device: where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    def total(self, value: float) -> float:
        """Return the sum over all processes."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(number)
        return float(number)

    def any(self, flag: bool) -> bool:
        """Return whether it is so in any process."""
        return self.total(float(flag)) > 0

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average gradients over all processes; what has none in any process keeps none.

        Once a step, after all batches: batches reach different parameters, which a hook on the last
        backward pass alone would miss.
        """
        if self.size == 1:
            return
        reached = torch.tensor([p.grad is not None for p in parameters], device=self.device)
        reached = reached.to(torch.int32)
        dist.all_reduce(reached, dist.ReduceOp.MAX)
        used = [p for p, one in zip(parameters, reached.tolist(), strict=True) if one]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [p.grad for p in used if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads]).div_(self.size)
        dist.all_reduce(flat)
        at = 0
        for grad in grads:
            grad.copy_(flat[at : at + grad.numel()].view_as(grad))
            at += grad.numel()

    def wait(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """Leave the others."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(device: str) -> Ranks:
    """Join the processes that torchrun started, or be alone.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`; with several processes, `cuda` is each one's own.

    Raises:
        UsageError: There is no such device.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = _device(device, local if size > 1 else 0)
    if size > 1:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Ranks(rank, size, chosen)


def _device(name: str, local: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device {name!r} is unknown; accepted are auto, cpu, cuda, cuda:0 ..."
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: torch finds no CUDA device here; accepted is cpu")
    return torch.device("cuda", local) if name == "cuda" else device
