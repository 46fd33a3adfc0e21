"""The SAM2 image encoder: one picture in, features at three resolutions out."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from engines.networks.base import Network, Port, Signature
from engines.networks.channels_last import LargestOfFour, PatchProduct


class SeparateAttention(nn.Module):
    """Hiera's attention with queries, keys and values as three products, and its scale in one.

    Split from one product they lie interleaved, and engines pick them apart slowly.

    Args:
        official: `sam2.modeling.backbones.hieradet.MultiScaleAttention`.
    """

    @torch.no_grad()
    def __init__(self, official: Any) -> None:
        super().__init__()
        self._heads, self._pool, self._out = official.num_heads, official.q_pool, official.proj
        if self._pool and LargestOfFour.fits(self._pool):
            self._pool = LargestOfFour()
        weights, biases = official.qkv.weight.chunk(3), official.qkv.bias.chunk(3)
        into = weights[0].shape[1]
        self._parts = nn.ModuleList()
        for weight, bias in zip(weights, biases, strict=True):
            part = nn.Linear(into, len(weight), device=weight.device, dtype=weight.dtype)
            part.weight.copy_(weight)
            part.bias.copy_(bias)
            self._parts.append(part)
        scale = (len(weights[0]) // self._heads) ** -0.5
        self._parts[0].get_parameter("weight").mul_(scale)
        self._parts[0].get_parameter("bias").mul_(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within each of (B, H, W, C)."""
        q, k, v = (part(x) for part in self._parts)
        if self._pool:
            # The largest of scaled queries is the scaled largest.
            q = self._pool(q.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        count, height, width = q.shape[:3]
        q, k, v = (self._split(part) for part in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        if self._heads > 1:
            found = found.transpose(1, 2)
        out: torch.Tensor = self._out(found.reshape(count, height, width, -1))
        return out

    def _split(self, part: torch.Tensor) -> torch.Tensor:
        """Return (B, heads, H W, C / heads) of (B, H, W, C)."""
        count, width = part.shape[0], part.shape[-1]
        if self._heads == 1:
            return part.reshape(count, 1, -1, width)
        return part.reshape(count, -1, self._heads, width // self._heads).transpose(1, 2)


@torch.no_grad()
def product_of(first: nn.Conv2d, then: nn.Conv2d | None = None) -> nn.Linear:
    """Return one 1x1 convolution, or two in a row, as a product over the last axis."""
    for conv in (first, *([then] if then else [])):
        if conv.kernel_size != (1, 1) or conv.bias is None:
            raise ValueError(f"{conv}: a 1x1 convolution with a bias was expected")
    weight: torch.Tensor = first.weight[:, :, 0, 0]
    bias: torch.Tensor = first.get_parameter("bias")
    if then is not None:
        outer = then.weight[:, :, 0, 0]
        weight, bias = outer @ weight, outer @ bias + then.get_parameter("bias")
    product = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    product.weight.copy_(weight)
    product.bias.copy_(bias)
    return product


class Neck(nn.Module):
    """The neck with the mask decoder's projections of the two fine levels.

    A fine level that feeds no other is wanted as it is projected only: its two 1x1 convolutions are
    one, and the wide map between them, the largest of the whole encoder, is never made.

    Args:
        official: `sam2.modeling.backbones.image_encoder.FpnNeck`.
        fine: The decoder's projections of the finest level and the next one.
        scalp: How many of the coarsest levels only feed others.
    """

    def __init__(self, official: Any, fine: list[nn.Conv2d], scalp: int) -> None:
        super().__init__()
        laterals = [lateral.conv for lateral in official.convs][::-1]
        self._fed = official.fpn_top_down_levels  # by the level above them
        self._mode, self._halved = official.fpn_interp_model, official.fuse_type == "avg"
        self._top = len(laterals) - 1 - scalp
        # What comes from above can be projected there, where there is less of it, if it is summed.
        summed = self._mode == "nearest" and not self._halved
        self._alone = [
            level - 1 not in self._fed and (summed or level not in self._fed)
            for level in range(len(fine))
        ]
        self._laterals = nn.ModuleList(
            product_of(lateral, fine[level] if level < len(fine) and self._alone[level] else None)
            for level, lateral in enumerate(laterals)
        )
        self._fine = nn.ModuleList(fine)

    def forward(self, stages: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the fine levels, projected, then those above up to the one that is tracked on.

        Args:
            stages: (1, s, s, C) of the trunk, the finest first.
        """
        out: list[torch.Tensor] = []
        above: torch.Tensor | None = None
        for level in range(len(stages) - 1, -1, -1):
            # Channels go first when there are fewer of them.
            found = self._laterals[level](stages[level]).permute(0, 3, 1, 2)
            projects = level < len(self._fine)
            if above is not None and level in self._fed:
                if projects and self._alone[level]:
                    above = F.conv2d(above, self._fine[level].get_parameter("weight"))
                found = found + F.interpolate(above, scale_factor=2.0, mode=self._mode)
                found = found / 2 if self._halved else found
            above = found
            if projects and not self._alone[level]:
                found = self._fine[level](found)
            if level <= self._top:
                out.insert(0, found)
        return out


class ImageEncoder(Network):
    """Hiera and its neck, with the two projections that the mask decoder wants.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "image_encoder"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._trunk = trunk = copy.deepcopy(model.image_encoder.trunk)
        for block in trunk.blocks:
            block.attn = SeparateAttention(block.attn)
            if block.pool is not None and LargestOfFour.fits(block.pool):
                block.pool = LargestOfFour()
        self._patches = trunk.patch_embed
        if PatchProduct.fits(trunk.patch_embed):
            self._patches = PatchProduct(trunk.patch_embed)
        decoder = model.sam_mask_decoder
        self._neck = Neck(
            model.image_encoder.neck, [decoder.conv_s0, decoder.conv_s1], model.image_encoder.scalp
        )
        stride = trunk.patch_embed.proj.stride
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
        trunk = self._trunk
        x = self._patches(image) + self.get_buffer("_places")
        stages = []
        for number, block in enumerate(trunk.blocks):
            x = block(x)
            if number in trunk.stage_ends:
                stages.append(x)
        quarter, half, top = self._neck(stages)
        return top, half, quarter
