"""Class tokens that see one mask each, at the price of a few tokens instead of a pass per crop.

A copy of the class token is let attend to the class token and the patches of its mask. As the image
never attends to the copies, the keys and values of the dense pass are those that the copies would
meet in a joint forward, so that only the copies run. The masked attention is that of MaskCLIP of
Ding et al. 2023 (arXiv 2208.08984).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.dense import DensePass, attend, project, split_heads


def mask_tokens(visual: Any, found: DensePass, masks: Tensor) -> Tensor:
    """Embed each mask of one image.

    Args:
        visual: The tower that made `found`.
        found: The dense pass over one image, in any mode.
        masks: (K, rows, columns) bool on the pass's patch grid. An empty mask sees the class
            token only.

    Returns:
        (K, D), not normalised.

    Raises:
        ValueError: The pass is of several images, or the masks are on another grid.
    """
    if len(found.start) != 1:
        raise ValueError(f"the dense pass is of {len(found.start)} images; one is needed")
    if masks.dtype != torch.bool or masks.ndim != 3 or tuple(masks.shape[1:]) != found.grid:
        raise ValueError(
            f"masks are {masks.dtype} {tuple(masks.shape)}; (K, {found.grid[0]}, {found.grid[1]}) "
            "bool is needed"
        )
    allowed = F.pad(masks.flatten(1), (1, 0), value=True)[None, None]
    tokens = found.start.expand(1, len(masks), -1)
    blocks = visual.transformer.resblocks
    for block, key, value in zip(blocks, found.keys, found.values, strict=True):
        query = split_heads(block, block.ln_1(tokens))[0]
        tokens = attend(block, tokens, query, key, value, allowed)
    return project(visual, tokens)[0]


def patch_masks(share: Tensor, least: float = 0.5) -> Tensor:
    """Say which patches belong to each mask.

    Args:
        share: (K, rows, columns): which part of each patch a mask covers, in any unit.
        least: Part of the best covered patch's share from which a patch belongs to the mask, so
            that a mask smaller than a patch keeps one.

    Returns:
        (K, rows, columns) bool; none of the patches of an empty mask.
    """
    best = share.flatten(1).amax(1)[:, None, None]
    return (share >= least * best) & (share > 0)
