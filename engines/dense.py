"""Dense CLIP: an embedding for every patch, from an unchanged open_clip vision transformer.

Only the last block is read differently. Its attention is made local (what a patch attends to is
what looks like it and lies near it), and its residual and feed-forward parts, which carry what the
image is about as a whole, are left out. The recipes are those of MaskCLIP, ClearCLIP and NACLIP;
the class token takes the ordinary way and equals ``encode_image``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mode = Literal["naclip", "clearclip", "maskclip", "vanilla"]
MODES: tuple[str, ...] = get_args(Mode)
#: Standard deviation of NACLIP's neighbourhood, in patches.
NEIGHBOURHOOD = 5.0


def dense_features(
    visual: Any, images: Tensor, mode: str = "naclip", sigma: float = NEIGHBOURHOOD
) -> tuple[Tensor, Tensor]:
    """Embed images as a whole and patch by patch, in one pass.

    Args:
        visual: the ``visual`` tower of an open_clip model, a plain ``VisionTransformer``.
        images: (B, 3, H, W) float, normalised for the model; H and W multiples of its patch size.
            Position embeddings are interpolated for other sizes than the model's own.
        mode: one of :data:`MODES`.
        sigma: NACLIP's neighbourhood in patches.

    Returns:
        Class embedding (B, D) and patch embeddings (B, H / patch, W / patch, D), neither
        normalised.

    Raises:
        TypeError: if the tower is not a plain vision transformer.
        ValueError: for an unknown mode or an image size that does not fit the patches.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; accepted are {', '.join(MODES)}")
    require_plain_vit(visual)
    tokens, grid = _embed(visual, images)
    *early, last = visual.transformer.resblocks
    for block in early:
        tokens = _ordinary_block(block, tokens, tokens)
    class_token = _ordinary_block(last, tokens, tokens[:, :1])[:, 0]
    if mode == "vanilla":
        patches = _ordinary_block(last, tokens, tokens)[:, 1:]
    else:
        patches = _local_block(last, tokens, grid, mode, sigma)[:, 1:]
    dense = _project(visual, patches)
    return _project(visual, class_token), dense.view(len(dense), *grid, -1)


def require_plain_vit(visual: Any) -> None:
    """Refuse towers whose blocks or pooling the surgery does not know.

    Raises:
        TypeError: naming what was found and which models work.
    """
    wanted = (
        "dense CLIP needs a plain open_clip VisionTransformer such as ViT-B-32, ViT-B-16, "
        "ViT-L-14 or micro"
    )
    for attribute in ("conv1", "class_embedding", "positional_embedding", "transformer", "ln_post"):
        if not hasattr(visual, attribute):
            raise TypeError(f"{type(visual).__name__} has no {attribute!r}; {wanted}")
    if (
        getattr(visual, "attn_pool", None) is not None
        or getattr(visual, "pool_type", "tok") != "tok"
    ):
        raise TypeError(
            f"{type(visual).__name__} pools by attention or average, not by class token; {wanted}"
        )
    for block in visual.transformer.resblocks:
        if not isinstance(getattr(block, "attn", None), nn.MultiheadAttention) or not hasattr(
            block, "ln_1"
        ):
            raise TypeError(
                f"block {type(block).__name__} has no plain multi-head attention; {wanted}"
            )
        if block.attn.in_proj_weight is None:
            raise TypeError(
                f"block {type(block).__name__} keeps separate q, k, v weights; {wanted}"
            )


def position_embeddings(visual: Any, grid: tuple[int, int]) -> Tensor:
    """Position embeddings for a patch grid, (1 + rows * columns, width).

    Bicubic from the model's own grid.
    """
    own = tuple(visual.grid_size)
    table: Tensor = visual.positional_embedding
    if grid == own:
        return table
    plane = table[1:].view(*own, -1).permute(2, 0, 1)[None].float()
    resized = F.interpolate(plane, size=grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([table[:1], resized[0].flatten(1).t().to(table.dtype)])


def _embed(visual: Any, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    patch = visual.conv1.kernel_size
    height, width = images.shape[-2:]
    if height % patch[0] or width % patch[1] or not height or not width:
        raise ValueError(
            f"image of {width}x{height} px does not divide into patches of "
            f"{patch[1]}x{patch[0]} px; resize it to a multiple first"
        )
    maps = visual.conv1(images)
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    patches = maps.flatten(2).transpose(1, 2)
    head = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    tokens = torch.cat([head, patches], dim=1) + position_embeddings(visual, grid).to(patches.dtype)
    return visual.ln_pre(tokens), grid


def _split(block: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of a block, each (B, heads, N, width / heads)."""
    attention = block.attn
    joint = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    parts = joint.view(*joint.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def _merge(block: Any, heads: Tensor) -> Tensor:
    out: Tensor = block.attn.out_proj(heads.transpose(1, 2).flatten(2))
    return out


def _ordinary_block(block: Any, tokens: Tensor, asking: Tensor) -> Tensor:
    """An unchanged transformer block whose queries are ``asking``.

    All tokens, or the leading ones only.
    """
    query, key, value = _split(block, block.ln_1(tokens))
    query = query[:, :, : asking.shape[1]]
    mixed = asking + block.ls_1(_merge(block, F.scaled_dot_product_attention(query, key, value)))
    out: Tensor = mixed + block.ls_2(block.mlp(block.ln_2(mixed)))
    return out


def _local_block(
    block: Any, tokens: Tensor, grid: tuple[int, int], mode: str, sigma: float
) -> Tensor:
    """The last block's values, gathered locally.

    No residual, no feed-forward. (B, 1 + patches, width).
    """
    query, key, value = _split(block, block.ln_1(tokens))
    if mode == "maskclip":
        return _merge(block, value)
    if mode == "clearclip":
        return _merge(block, F.scaled_dot_product_attention(query, query, value))
    near = _neighbourhood(grid, sigma).to(device=key.device, dtype=key.dtype)
    return _merge(block, F.scaled_dot_product_attention(key, key, value, attn_mask=near))


@lru_cache(maxsize=8)
def _neighbourhood(grid: tuple[int, int], sigma: float) -> Tensor:
    """Bonus on attention logits by distance between patches, (1 + N, 1 + N).

    None to or from the class token.
    """
    lines = []
    for length in grid:
        place = torch.arange(length, dtype=torch.float32)
        lines.append(torch.exp(-((place[:, None] - place[None]) ** 2) / (2.0 * sigma**2)))
    plane = lines[0][:, None, :, None] * lines[1][None, :, None, :]
    count = grid[0] * grid[1]
    return F.pad(plane.reshape(count, count), (1, 0, 1, 0))


def _project(visual: Any, tokens: Tensor) -> Tensor:
    normed: Tensor = visual.ln_post(tokens)
    return normed if visual.proj is None else normed @ visual.proj
