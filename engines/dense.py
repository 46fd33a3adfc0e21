"""Dense CLIP: an embedding for every patch, from an unchanged open_clip vision transformer.

Only the last block is read differently. Its attention is made local (what a patch attends to is
what looks like it and lies near it), and its residual and feed-forward parts, which carry what the
image is about as a whole, are left out. The recipes are those of MaskCLIP, ClearCLIP and NACLIP;
the class token takes the ordinary way and equals ``encode_image``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.errors import ModelError

Mode = Literal["naclip", "clearclip", "maskclip", "vanilla"]
MODES: tuple[str, ...] = get_args(Mode)
#: Standard deviation of NACLIP's neighbourhood, in patches.
NEIGHBOURHOOD = 5.0


@dataclass(frozen=True, slots=True)
class DensePass:
    """What one pass over B images gives; N is the number of patches."""

    whole: Tensor
    """(B, D) class embedding, equal to ``encode_image``, not normalised."""
    patches: Tensor
    """(B, H / patch, W / patch, D) patch embeddings, not normalised."""
    start: Tensor
    """(B, 1, width) class token as it enters the first block."""
    keys: tuple[Tensor, ...]
    """Per block (B, heads, 1 + N, width / heads), the class token first."""
    values: tuple[Tensor, ...]
    """As :attr:`keys`."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return int(self.patches.shape[1]), int(self.patches.shape[2])


def dense_features(
    visual: Any, images: Tensor, mode: str = "naclip", sigma: float = NEIGHBOURHOOD
) -> tuple[Tensor, Tensor]:
    """Embed images as a whole and patch by patch, in one pass.

    See :func:`dense_pass`, of which this returns ``whole`` and ``patches``.
    """
    found = dense_pass(visual, images, mode, sigma)
    return found.whole, found.patches


def dense_pass(
    visual: Any,
    images: Tensor,
    mode: str = "naclip",
    sigma: float = NEIGHBOURHOOD,
    positions: Tensor | None = None,
) -> DensePass:
    """Embed images as a whole and patch by patch, and keep every block's keys and values.

    Args:
        visual: the ``visual`` tower of an open_clip model, a plain ``VisionTransformer``.
        images: (B, 3, H, W) float, normalised for the model; H and W multiples of its patch size.
            Position embeddings are interpolated for other sizes than the model's own.
        mode: one of :data:`MODES`: NACLIP (Hajimiri et al. 2024, arXiv 2404.08181), ClearCLIP (Lan
            et al. 2024, arXiv 2407.12442), MaskCLIP (Zhou et al. 2022, arXiv 2112.01071), or
            ``vanilla``: the last block as it was trained.
        sigma: NACLIP's neighbourhood in patches.
        positions: (1 + N, width) position embeddings, the class token's first; None for those of
            :func:`position_embeddings`. Training gives those of a part of a larger picture.

    Raises:
        ModelError: if the tower is not a plain vision transformer.
        ValueError: for an unknown mode or an image size that does not fit the patches.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; accepted are {', '.join(MODES)}")
    require_plain_vit(visual)
    tokens, grid = _embed(visual, images, positions)
    start = tokens[:, :1]
    *early, last = visual.transformer.resblocks
    keys, values = [], []
    for block in early:
        query, key, value = split_heads(block, block.ln_1(tokens))
        keys.append(key)
        values.append(value)
        tokens = attend(block, tokens, query, key, value)
    query, key, value = split_heads(last, last.ln_1(tokens))
    keys.append(key)
    values.append(value)
    class_token = attend(last, tokens[:, :1], query[:, :, :1], key, value)[:, 0]
    if mode == "vanilla":
        patches = attend(last, tokens, query, key, value)[:, 1:]
    else:
        patches = _local(last, query, key, value, grid, mode, sigma)[:, 1:]
    dense = project(visual, patches)
    return DensePass(
        whole=project(visual, class_token),
        patches=dense.view(dense.shape[0], *grid, -1),
        start=start,
        keys=tuple(keys),
        values=tuple(values),
    )


def require_plain_vit(visual: Any) -> None:
    """Refuse towers whose blocks or pooling the surgery does not know.

    Raises:
        ModelError: naming what was found and which models work.
    """
    found = _strangeness(visual)
    if found:
        raise ModelError(
            f"{found}; dense CLIP needs a plain open_clip VisionTransformer such as ViT-B-32, "
            "ViT-B-16, ViT-L-14, xlm-roberta-base-ViT-B-32 or micro"
        )


def _strangeness(visual: Any) -> str:
    """Say what keeps a tower from being a plain vision transformer; empty where nothing does."""
    kind = type(visual).__name__
    for attribute in ("conv1", "class_embedding", "positional_embedding", "transformer", "ln_post"):
        if not hasattr(visual, attribute):
            return f"image tower {kind} has no {attribute!r}"
    if getattr(visual, "attn_pool", None) is not None:
        return f"image tower {kind} pools by attention, not by its class token"
    pool = getattr(visual, "pool_type", "tok")
    if pool != "tok":
        return f"image tower {kind} pools by {pool!r}, not by its class token"
    for block in visual.transformer.resblocks:
        attention = getattr(block, "attn", None)
        plain = (
            isinstance(attention, nn.MultiheadAttention) and attention.in_proj_weight is not None
        )
        if not plain or not hasattr(block, "ln_1"):
            return f"block {type(block).__name__} of {kind} has no plain multi-head attention"
    return ""


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


def _embed(visual: Any, images: Tensor, positions: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
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
    head = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
    if positions is None:
        positions = position_embeddings(visual, grid)
    tokens = torch.cat([head, patches], dim=1) + positions.to(patches.dtype)
    return visual.ln_pre(tokens), grid


def split_heads(block: Any, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of a block, each (B, heads, N, width / heads)."""
    attention = block.attn
    joint = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias)
    parts = joint.view(*joint.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def attend(
    block: Any,
    asking: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor | None = None,
) -> Tensor:
    """An unchanged transformer block of which the queries are given.

    Args:
        block: an open_clip residual attention block.
        asking: (B, Q, width) tokens whose queries these are.
        query: (B, heads, Q, width / heads).
        key: (B, heads, N, width / heads).
        value: as ``key``.
        allowed: bool, broadcast to (B, heads, Q, N): what each query may look at; None for all.

    Returns:
        (B, Q, width).
    """
    heads = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    mixed = asking + block.ls_1(_merge(block, heads))
    out: Tensor = mixed + block.ls_2(block.mlp(block.ln_2(mixed)))
    return out


def project(visual: Any, tokens: Tensor) -> Tensor:
    """Tokens (..., width) after the last block to embeddings (..., D)."""
    normed: Tensor = visual.ln_post(tokens)
    return normed if visual.proj is None else normed @ visual.proj


def _merge(block: Any, heads: Tensor) -> Tensor:
    out: Tensor = block.attn.out_proj(heads.transpose(1, 2).flatten(2))
    return out


def _local(
    block: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    grid: tuple[int, int],
    mode: str,
    sigma: float,
) -> Tensor:
    """The last block's values, gathered locally.

    No residual, no feed-forward. (B, 1 + patches, width).
    """
    if mode == "maskclip":
        return _merge(block, value)
    if mode == "clearclip":
        return _merge(block, F.scaled_dot_product_attention(query, query, value))
    near = _neighbourhood(grid, sigma).to(device=key.device, dtype=key.dtype)
    return _merge(block, F.scaled_dot_product_attention(key, key, value, attn_mask=near))


@lru_cache(maxsize=8)
# What is kept must be of use to training too, whoever asks first.
@torch.inference_mode(False)
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
