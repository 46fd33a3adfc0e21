"""What the networks compute in."""

from __future__ import annotations

import torch

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
