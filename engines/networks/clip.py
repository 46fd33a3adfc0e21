"""CLIP's two towers: pictures to a vector each and one for every patch, texts to a vector each."""

from __future__ import annotations

from typing import Any

import torch

from engines.dense import dense_pass, position_embeddings, require_plain_vit
from engines.networks.base import OBJECTS, Network, Port, Signature


class ImageTower(Network):
    """The image tower with its dense head, for pictures of one size.

    Args:
        clip: An open_clip model with a plain ViT, in eval mode.
        side_px: Side of the square pictures.
        mode: How the last block is read (`engines.dense.MODES`).
        name: `image_tower` for frames and tiles, `crop_tower` for crops of objects.

    Raises:
        ModelError: The tower is of another kind.
        ValueError: The side is no multiple of the patch size.
    """

    fuses = True

    def __init__(self, clip: Any, side_px: int, mode: str, name: str = "image_tower") -> None:
        super().__init__()
        require_plain_vit(clip.visual)
        self.name = name
        self._visual, self._mode = clip.visual, mode
        patch = int(clip.visual.conv1.kernel_size[0])
        if side_px % patch:
            raise ValueError(f"CLIP size {side_px} px is no multiple of its patches of {patch} px")
        with torch.no_grad():
            positions = position_embeddings(clip.visual, (side_px // patch, side_px // patch))
        # Resized once here: graphs know no antialiased resizing.
        self.register_buffer("_positions", positions.detach().clone())
        width, grid = int(clip.visual.output_dim), side_px // patch
        self.signature = Signature(
            inputs=(Port("images", (OBJECTS, 3, side_px, side_px)),),
            outputs=(
                Port("whole", (OBJECTS, width)),
                Port("patches", (OBJECTS, grid, grid, width)),
            ),
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed normalised pictures; nothing is of unit length yet."""
        found = dense_pass(
            self._visual, images, self._mode, positions=self.get_buffer("_positions")
        )
        return found.whole, found.patches


class TextTower(Network):
    """The text tower.

    Args:
        clip: An open_clip model, in eval mode.
    """

    name = "text_tower"

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self._clip = clip
        self.signature = Signature(
            inputs=(Port("tokens", (OBJECTS, int(clip.context_length)), "int64"),),
            outputs=(Port("vectors", (OBJECTS, int(clip.visual.output_dim))),),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed texts; nothing is of unit length yet."""
        out: torch.Tensor = self._clip.encode_text(tokens)
        return out
