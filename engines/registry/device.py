"""Whether a torch device is there, said before anything is loaded."""

from __future__ import annotations

import torch

from engines.errors import ModelError


def check_device(device: str) -> None:
    """Check that a torch device is there.

    Raises:
        ModelError: It is not a device's name, or not on this machine.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ModelError(
            f"device {device!r} is unknown; accepted are cpu, cuda, cuda:0 ..."
        ) from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {device!r}: torch finds no CUDA device here; accepted is cpu")
