"""A prompt's result between the prompt and the next step: not a memory yet.

The official predictor keeps such results aside and makes memories of them when it propagates, so
prompts that are given without a step between them do not see one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engines.heads import Decoded


@dataclass(frozen=True, slots=True)
class Pending:
    """What a prompted frame will be remembered by."""

    out: Decoded
    """One row."""
    raw: torch.Tensor
    """(1, N, M) its memory."""
    conditioning: bool
    """Whether the frame becomes a conditioning frame, or only has another memory."""
