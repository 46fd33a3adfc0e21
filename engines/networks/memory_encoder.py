"""The SAM2 memory encoder: a frame's features and masks in, memories out."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from engines.networks.base import OBJECTS, SHARED, Network, Port, Signature


class MaskMemory(Network):
    """Encodes masks on any square part of the frame.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "memory_encoder"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._encoder = model.memory_encoder
        self._scale = float(model.sigmoid_scale_for_mem_enc)
        self._bias = float(model.sigmoid_bias_for_mem_enc)
        width, memory = int(model.hidden_dim), int(model.mem_dim)
        self._enlarge = int(model.image_size) // (4 * int(model.sam_image_embedding_size))
        self.signature = Signature(
            inputs=(
                Port("top", (SHARED, width, "s", "s")),
                Port("low", (OBJECTS, 1, "s4", "s4")),
                Port("binary", (OBJECTS, 1, 1, 1)),
            ),
            outputs=(Port("memory", (OBJECTS, memory, "s", "s")),),
        )

    def forward(self, top: torch.Tensor, low: torch.Tensor, binary: torch.Tensor) -> torch.Tensor:
        """Encode.

        Args:
            top: (R, C, s, s) features.
            low: (B, 1, 4s, 4s) logits.
            binary: (B, 1, 1, 1) 1 where a mask counts as in or out only, else 0.
        """
        high = F.interpolate(
            low, scale_factor=float(self._enlarge), mode="bilinear", align_corners=False
        )
        soft = torch.sigmoid(high)
        inside = binary * (high > 0).float() + (1.0 - binary) * soft
        masks = self._encoder.mask_downsampler(inside * self._scale + self._bias)
        mixed = self._encoder.fuser(self._encoder.pix_feat_proj(top) + masks)
        out: torch.Tensor = self._encoder.out_proj(mixed)
        return out
