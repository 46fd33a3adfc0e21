"""Mask tokens from cached keys and values against a joint forward by the official blocks."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from engines.build import build_clip
from engines.dense import dense_pass
from engines.mask_tokens import mask_tokens, patch_masks


def tower(name: str) -> Any:
    torch.manual_seed(1)
    if name == "micro":
        return build_clip("micro").visual
    config = open_clip.get_model_config(name)
    return open_clip.model._build_vision_tower(config["embed_dim"], config["vision_cfg"]).eval()


def jointly(visual: Any, images: Tensor, masks: Tensor) -> Tensor:
    """The masks' tokens appended to the sequence; no image token sees them, nor they each other."""
    tokens = visual._embeds(images)
    count, length = len(masks), tokens.shape[1]
    tokens = torch.cat([tokens, tokens[:, :1].expand(-1, count, -1)], dim=1)
    forbidden = torch.zeros(length + count, length + count, dtype=torch.bool)
    forbidden[:, length:] = True
    forbidden[length:, 1:length] = ~masks.flatten(1)
    bias = torch.zeros(forbidden.shape).masked_fill(forbidden, float("-inf"))
    out = visual.transformer(tokens, attn_mask=bias)[:, length:]
    return (visual.ln_post(out) @ visual.proj)[0]


@pytest.mark.parametrize("name", ["micro", "ViT-B-32", "ViT-B-16", "xlm-roberta-base-ViT-B-32"])
def test_cached_tokens_equal_the_joint_forward(name: str) -> None:
    visual = tower(name)
    images = torch.randn(1, 3, *visual.image_size)
    masks = torch.rand(5, *visual.grid_size) < 0.2
    masks[0] = True
    masks[1] = False
    with torch.inference_mode():
        found = dense_pass(visual, images)
        tokens = mask_tokens(visual, found, masks)
        expected = jointly(visual, images, masks)
    assert tokens.shape == (5, visual.output_dim)
    assert torch.allclose(tokens, expected, atol=1e-4)
    # A mask of everything is the ordinary class token.
    assert torch.allclose(tokens[0], found.whole[0], atol=1e-4)
    assert not torch.allclose(tokens[2], tokens[3], atol=1e-3)


def test_the_mode_of_the_dense_map_does_not_matter() -> None:
    visual, images = tower("micro"), torch.randn(1, 3, 384, 256)
    masks = torch.rand(3, 24, 16) < 0.3
    with torch.inference_mode():
        first, second = (
            mask_tokens(visual, dense_pass(visual, images, mode), masks)
            for mode in ("naclip", "vanilla")
        )
    assert torch.equal(first, second)


def test_what_does_not_fit_is_said() -> None:
    visual = tower("micro")
    with torch.inference_mode():
        one = dense_pass(visual, torch.zeros(1, 3, 256, 256))
        two = dense_pass(visual, torch.zeros(2, 3, 256, 256))
    with pytest.raises(ValueError, match=r"\(K, 16, 16\) bool is needed"):
        mask_tokens(visual, one, torch.ones(1, 8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="float32"):
        mask_tokens(visual, one, torch.ones(1, 16, 16))
    with pytest.raises(ValueError, match="of 2 images"):
        mask_tokens(visual, two, torch.ones(1, 16, 16, dtype=torch.bool))


def test_a_mask_keeps_its_best_patches_and_at_least_one() -> None:
    share = torch.zeros(3, 2, 3)
    share[0] = torch.tensor([[1.0, 0.6, 0.4], [0.0, 0.0, 0.5]])
    share[1, 1, 2] = 0.01
    assert patch_masks(share).int().tolist() == [
        [[1, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 0]],
    ]
