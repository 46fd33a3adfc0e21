"""The face that every backend shows: a network of a file becomes something that can be called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from engines.errors import ModelError
from engines.networks.base import Network

__all__ = ["Backend", "BackendError", "Network", "Runner", "Running"]

Tensors = Mapping[str, torch.Tensor]


class BackendError(ModelError):
    """A backend is not there, or cannot run a network."""


class Runner(Protocol):
    """A network, ready to run."""

    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Run once.

        Args:
            tensors: Inputs by name, of the dtypes of the signature, on the runner's device.

        Returns:
            Outputs by name, float32, which the caller may keep.
        """
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """How networks are run."""

    device: str = "cpu"
    """A torch device."""
    threads: int | None = None
    """Threads of a processor; None for torch's own number."""
    cache: Path | None = None
    """Folder for what a backend compiles and wants to find again; None for nowhere."""

    @property
    def thread_count(self) -> int:
        """Threads of a processor."""
        return self.threads or torch.get_num_threads()


class Backend(Protocol):
    """One way to run networks."""

    name: str
    suffix: str
    """Of the files that it runs."""
    fastest_first: int
    """Place in the order in which `auto` tries them; the lowest that is there is taken."""

    def missing(self, device: str) -> str:
        """Say what keeps it from running on a device, and what to do; empty where nothing does."""
        ...

    def load(self, path: Path, network: Network, precision: str, how: Running) -> Runner:
        """Load a network.

        Args:
            path: Its file.
            network: What it was exported from; most backends want its signature only.
            precision: `fp32`, `fp16`, `bf16` or `int8`.
            how: Device, threads, cache.

        Raises:
            BackendError: It cannot be run.
        """
        ...
