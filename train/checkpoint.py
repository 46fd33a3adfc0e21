"""Checkpoints that resume exactly and are never half written.

Export of weights as fp16 safetensors.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stream.errors import UsageError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write atomically: a reader sees the old file or the new one.

    Raises:
        OSError: It cannot be written; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    with _written(partial, path):
        torch.save(state, partial)


@contextmanager
def _written(partial: Path, path: Path) -> Iterator[None]:
    """Put what was written beside a file in its place; what was written in part goes away."""
    try:
        yield
        os.replace(partial, path)
    except (RuntimeError, SafetensorError) as error:
        # These writers hide what the disk said.
        partial.unlink(missing_ok=True)
        raise OSError(errno.EIO, "writing failed, perhaps for want of room", str(path)) from error
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values.

    Raises:
        FileNotFoundError: naming the file and what to do.
        UsageError: The file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no checkpoint to resume from; run without --resume to start"
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        # What the reader of a damaged file raises depends on where it is damaged.
        raise UsageError(f"{path}: damaged, or no checkpoint; begin in another folder") from error
    if not isinstance(state, dict):
        raise UsageError(
            f"{path}: holds {type(state).__name__} and no training; begin in another folder"
        )
    return state


def export_weights(
    state: dict[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> str:
    """Write a state dict as fp16 safetensors, atomically; returns the file's sha256."""
    half = {
        name: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for name, value in state.items()
    }
    for name, value in half.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"weight {name!r} is not finite in fp16; nothing was written to {path}"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with _written(partial, path):
        save_file(half, partial, metadata={"format": "pt", **(metadata or {})})
        partial.chmod(0o644)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(model: nn.Module, path: Path) -> None:
    """Load exported weights into a model of the same shape, strictly."""
    state = {
        name: value.float() if value.is_floating_point() else value
        for name, value in load_file(path).items()
    }
    model.load_state_dict(state, strict=True)


class Average:
    """Exponential moving average of a model's parameters."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._pairs = [(k, p) for k, p in model.named_parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the model; early steps count more, so that the start does not linger."""
        weight = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        for name, parameter in self._pairs:
            self.shadow[name].lerp_(parameter.detach(), weight)
