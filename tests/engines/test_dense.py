"""Dense CLIP: parity of the class token, interpolation, and refusal of other towers."""

from __future__ import annotations

import open_clip
import pytest
import torch

from engines.build import build_clip
from engines.dense import MODES, dense_features, position_embeddings


@pytest.fixture(scope="module")
def clip() -> object:
    torch.manual_seed(0)
    return build_clip("micro")


@pytest.mark.parametrize("mode", MODES)
def test_class_token_equals_encode_image(clip: object, mode: str) -> None:
    images = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        expected = clip.encode_image(images)  # type: ignore[attr-defined]
        whole, dense = dense_features(clip.visual, images, mode)  # type: ignore[attr-defined]
    assert torch.allclose(whole, expected, atol=1e-4)
    assert dense.shape == (2, 16, 16, 128)
    assert torch.isfinite(dense).all()


def test_other_sizes_interpolate_positions(clip: object) -> None:
    visual = clip.visual  # type: ignore[attr-defined]
    with torch.inference_mode():
        _, dense = dense_features(visual, torch.randn(1, 3, 512, 384))
        table = position_embeddings(visual, (32, 24))
    assert dense.shape == (1, 32, 24, 128)
    assert table.shape == (1 + 32 * 24, 192)
    assert torch.equal(table[0], visual.positional_embedding[0])
    # A bicubic enlargement keeps the mean of what it enlarges.
    assert torch.allclose(table[1:].mean(0), visual.positional_embedding[1:].mean(0), atol=0.01)


def test_modes_differ_and_vanilla_matches_official_tokens(clip: object) -> None:
    visual = clip.visual  # type: ignore[attr-defined]
    images = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        found = {mode: dense_features(visual, images, mode)[1] for mode in MODES}
        tokens = visual.transformer(visual._embeds(images))
        official = (visual.ln_post(tokens) @ visual.proj)[:, 1:].unflatten(1, (16, 16))
    assert torch.allclose(found["vanilla"], official, atol=1e-4)
    assert not torch.allclose(found["naclip"], found["clearclip"], atol=1e-3)


def test_naclip_prefers_neighbours(clip: object) -> None:
    """With a narrow and strong neighbourhood a change far away matters less than one nearby."""
    visual = clip.visual  # type: ignore[attr-defined]
    block = visual.transformer.resblocks[-1]
    from engines.dense import _neighbourhood

    near = _neighbourhood((16, 16), 5.0)
    assert near[0].abs().sum() == 0
    assert near[:, 0].abs().sum() == 0
    assert near[1, 2] > near[1, 5] > near[1, 200]
    assert block.attn.num_heads == 6


def test_refuses_what_it_does_not_know(clip: object) -> None:
    visual = clip.visual  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="accepted are naclip"):
        dense_features(visual, torch.zeros(1, 3, 256, 256), "best")
    with pytest.raises(ValueError, match="250x256"):
        dense_features(visual, torch.zeros(1, 3, 256, 250))
    resnet = open_clip.create_model("RN50", pretrained=None).visual
    with pytest.raises(TypeError, match="plain open_clip VisionTransformer"):
        dense_features(resnet, torch.zeros(1, 3, 224, 224))
