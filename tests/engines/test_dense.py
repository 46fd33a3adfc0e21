"""Dense CLIP: parity with the official towers, interpolation, and refusal of other towers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import open_clip
import pytest
import torch

from engines.build import build_clip
from engines.clip_models import build_detector_clip
from engines.dense import MODES, dense_features, dense_pass, position_embeddings
from engines.errors import ModelError

# Depth is cut where it only costs time: every block runs the same code.
TOWERS = {
    "ViT-B-32": None,
    "ViT-B-16": None,
    "xlm-roberta-base-ViT-B-32": None,
    "ViT-B-32-quickgelu": 2,
    "ViT-L-14": 2,
    "ViT-L-14-336-quickgelu": 1,
}


@lru_cache(maxsize=1)
def tower(name: str, layers: int | None) -> Any:
    """The image tower of an open_clip model; its text tower is not needed here."""
    config = open_clip.get_model_config(name)
    vision = config["vision_cfg"] | ({"layers": layers} if layers else {})
    quick = config.get("quick_gelu", False)
    torch.manual_seed(0)
    return open_clip.model._build_vision_tower(config["embed_dim"], vision, quick).eval()


@pytest.fixture(scope="module")
def clip() -> Any:
    torch.manual_seed(0)
    return build_clip("micro")


@pytest.mark.parametrize(("name", "layers"), TOWERS.items())
@torch.inference_mode()
def test_one_pass_equals_the_official_tower(name: str, layers: int | None) -> None:
    visual = tower(name, layers)
    side = visual.image_size[0]
    images = torch.randn(1, 3, side, side)
    found = dense_pass(visual, images)
    assert torch.allclose(found.whole, visual(images), atol=1e-4)
    # The tokens as the official blocks see them, and what their attention makes of them.
    tokens, entering = visual._embeds(images), []
    for block in visual.transformer.resblocks:
        entering.append(block.ln_1(tokens))
        tokens = block(tokens)
    assert torch.allclose(found.start[:, 0], visual._embeds(images)[:, 0], atol=1e-5)
    assert found.grid == visual.grid_size
    assert len(found.keys) == len(found.values) == len(visual.transformer.resblocks)
    for block, seen, key, value in zip(
        visual.transformer.resblocks, entering, found.keys, found.values, strict=True
    ):
        attention = block.attn
        weights = attention.in_proj_weight.chunk(3)
        biases = attention.in_proj_bias.chunk(3)
        assert key.shape[1] == attention.num_heads
        joined = [part.transpose(1, 2).flatten(2) for part in (key, value)]
        assert torch.allclose(joined[0], seen @ weights[1].T + biases[1], atol=1e-4)
        assert torch.allclose(joined[1], seen @ weights[2].T + biases[2], atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_class_token_equals_encode_image(clip: Any, mode: str) -> None:
    images = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        expected = clip.encode_image(images)
        whole, dense = dense_features(clip.visual, images, mode)
    assert torch.allclose(whole, expected, atol=1e-4)
    assert dense.shape == (2, 16, 16, 128)
    assert torch.isfinite(dense).all()


def test_other_sizes_interpolate_positions(clip: Any) -> None:
    visual = clip.visual
    with torch.inference_mode():
        _, dense = dense_features(visual, torch.randn(1, 3, 512, 384))
        table = position_embeddings(visual, (32, 24))
    assert dense.shape == (1, 32, 24, 128)
    assert table.shape == (1 + 32 * 24, 192)
    assert torch.equal(table[0], visual.positional_embedding[0])
    # A bicubic enlargement keeps the mean of what it enlarges.
    assert torch.allclose(table[1:].mean(0), visual.positional_embedding[1:].mean(0), atol=0.01)


def test_positions_keep_rows_and_columns_apart(clip: Any) -> None:
    visual = build_clip("micro").visual
    with torch.no_grad():
        rows = torch.arange(16.0)[:, None, None].expand(16, 16, 192)
        visual.positional_embedding[1:] = rows.reshape(256, 192)
        table = position_embeddings(visual, (32, 8))[1:].view(32, 8, 192)
    assert torch.allclose(table, table[:, :1].expand(-1, 8, -1), atol=1e-4)
    assert (table[1:, 0, 0] > table[:-1, 0, 0] - 1e-4).all()


def test_modes_differ_and_vanilla_matches_official_tokens(clip: Any) -> None:
    visual = clip.visual
    images = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        found = {mode: dense_features(visual, images, mode)[1] for mode in MODES}
        tokens = visual.transformer(visual._embeds(images))
        official = (visual.ln_post(tokens) @ visual.proj)[:, 1:].unflatten(1, (16, 16))
    assert torch.allclose(found["vanilla"], official, atol=1e-4)
    assert not torch.allclose(found["naclip"], found["clearclip"], atol=1e-3)
    assert not torch.allclose(found["naclip"], found["maskclip"], atol=1e-3)


def test_modes_by_hand(clip: Any) -> None:
    """The last block's attention written out as the papers have it."""
    visual, sigma = clip.visual, 5.0
    images = torch.randn(1, 3, 256, 256)
    last = visual.transformer.resblocks[-1]
    heads = last.attn.num_heads
    with torch.inference_mode():
        tokens = visual._embeds(images)
        for block in visual.transformer.resblocks[:-1]:
            tokens = block(tokens)
        joint = last.ln_1(tokens) @ last.attn.in_proj_weight.T + last.attn.in_proj_bias
        query, key, value = (
            part.view(257, heads, -1).transpose(0, 1) for part in joint[0].chunk(3, -1)
        )
        root = query.shape[-1] ** -0.5
        place = torch.cartesian_prod(torch.arange(16.0), torch.arange(16.0))
        near = torch.zeros(257, 257)
        near[1:, 1:] = torch.exp(-(torch.cdist(place, place) ** 2) / (2 * sigma**2))
        weights = {
            "naclip": (key @ key.mT * root + near).softmax(-1),
            "clearclip": (query @ query.mT * root).softmax(-1),
            "maskclip": torch.eye(257).expand(heads, -1, -1),
        }
        for mode, attention in weights.items():
            mixed = last.attn.out_proj((attention @ value).transpose(0, 1).flatten(1))
            expected = (visual.ln_post(mixed) @ visual.proj)[1:].view(16, 16, -1)
            found = dense_features(visual, images, mode, sigma)[1][0]
            assert torch.allclose(found, expected, atol=1e-4), mode


def test_naclip_prefers_neighbours() -> None:
    """Nearby patches get more than far ones, and the class token is left alone."""
    from engines.dense import _neighbourhood

    near = _neighbourhood((16, 16), 5.0)
    assert near[0].abs().sum() == 0
    assert near[:, 0].abs().sum() == 0
    assert near[1, 2] > near[1, 5] > near[1, 200]


def test_training_works_after_a_look(clip: Any) -> None:
    images = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        dense_features(clip.visual, images, "naclip")
    dense_features(clip.visual, images, "naclip")[1].sum().backward()
    assert clip.visual.proj.grad is not None
    clip.zero_grad()


def test_positions_can_be_given(clip: Any) -> None:
    images = torch.randn(1, 3, 64, 64)
    own = position_embeddings(clip.visual, (4, 4))
    with torch.inference_mode():
        expected = dense_pass(clip.visual, images)
        same = dense_pass(clip.visual, images, positions=own)
        other = dense_pass(clip.visual, images, positions=own.flip(0))
    assert torch.equal(expected.patches, same.patches)
    assert not torch.allclose(expected.patches, other.patches)


def test_refuses_modes_and_sizes_that_do_not_fit(clip: Any) -> None:
    with pytest.raises(ValueError, match="accepted are naclip"):
        dense_features(clip.visual, torch.zeros(1, 3, 256, 256), "best")
    with pytest.raises(ValueError, match="250x256"):
        dense_features(clip.visual, torch.zeros(1, 3, 256, 250))


def test_a_model_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ModelError) as caught:
        build_detector_clip("RN50")
    text = str(caught.value)
    assert "CLIP model RN50: image tower ModifiedResNet has no 'class_embedding'" in text
    assert "plain open_clip VisionTransformer such as ViT-B-32" in text


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"attentional_pool": True}, "pools by attention, not by its class token"),
        ({"pool_type": "avg"}, "pools by 'avg', not by its class token"),
        ({"qk_norm": True}, "no plain multi-head attention"),
        ({"timm_model_name": "vit_tiny_patch16_224"}, "TimmModel has no 'conv1'"),
    ],
)
def test_other_towers_are_refused(changes: dict[str, Any], found: str) -> None:
    config = open_clip.get_model_config("ViT-B-32")["vision_cfg"] | {"layers": 1} | changes
    visual = open_clip.model._build_vision_tower(512, config)
    with pytest.raises(ModelError, match=found):
        dense_features(visual, torch.zeros(1, 3, 224, 224))
