"""The SAM2 image encoder: one picture in, features at three resolutions out."""

from __future__ import annotations

from typing import Any

import torch

from engines.networks.base import Network, Port, Signature


class ImageEncoder(Network):
    """Hiera and its neck, with the two projections that the mask decoder wants.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "image_encoder"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._encoder = model.image_encoder
        self._projections = torch.nn.ModuleList(
            [model.sam_mask_decoder.conv_s0, model.sam_mask_decoder.conv_s1]
        )
        trunk, stride = model.image_encoder.trunk, model.image_encoder.trunk.patch_embed.proj.stride
        with torch.no_grad():
            places = trunk._get_pos_embed([int(model.image_size) // step for step in stride])
        # Resized once here: resized in the graph it would be control flow.
        self.register_buffer("_places", places)
        side, grid, width = int(model.image_size), model.sam_image_embedding_size, model.hidden_dim
        self.signature = Signature(
            inputs=(Port("image", (1, 3, side, side)),),
            outputs=(
                Port("top", (1, width, grid, grid)),
                Port("half", (1, width // 4, 2 * grid, 2 * grid)),
                Port("quarter", (1, width // 8, 4 * grid, 4 * grid)),
            ),
        )

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Encode a normalised picture: `SAM2Base.forward_image` without its position codes."""
        trunk = self._encoder.trunk
        x = trunk.patch_embed(image) + self.get_buffer("_places")
        stages = []
        for number, block in enumerate(trunk.blocks):
            x = block(x)
            if number in trunk.stage_ends:
                stages.append(x.permute(0, 3, 1, 2))
        levels = self._encoder.neck(stages)[0]
        # The coarsest level only feeds the others.
        quarter, half, top = levels[: len(levels) - self._encoder.scalp]
        return top, self._projections[1](half), self._projections[0](quarter)
