"""What the networks compute in."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AUTO = "auto"


def choose_precision(precision: str, device: str) -> str:
    """Turn `auto` into bf16 where the processor computes it in hardware, and into fp32 elsewhere.

    Args:
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        device: A torch device.

    Raises:
        ValueError: An unknown precision.
    """
    if precision == AUTO:
        if torch.device(device).type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    if precision not in PRECISIONS:
        accepted = ", ".join((AUTO, *PRECISIONS))
        raise ValueError(f"precision is {precision!r}; accepted are {accepted}")
    return precision


def with_weights_in(model: Any, dtype: torch.dtype) -> Any:
    """Return a copy of a model whose products have their weights in `dtype`, for use in autocast.

    Autocast would cast them anew in every call, which costs more than the products of small models.
    Norms, codes and embeddings stay float32, as in autocast.
    """
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            module.to(dtype)
    return model
