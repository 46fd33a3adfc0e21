"""What is trained, what is frozen, and how fast it learns."""

from __future__ import annotations

import pytest

from stream.errors import UsageError
from tests.train.sam2.scenes import random_model, small_recipe
from train.sam2.parts import choose_parts, parameter_groups, train_mode


@pytest.mark.parametrize(
    ("train", "heads"),
    [
        ("decoder", {"sam_mask_decoder", "sam_prompt_encoder"}),
        (
            "memory",
            {
                "sam_mask_decoder", "sam_prompt_encoder", "memory_attention", "memory_encoder",
                "mask_downsample", "maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc",
                "no_obj_ptr", "no_obj_embed_spatial", "obj_ptr_proj", "obj_ptr_tpos_proj",
            },
        ),
    ],
)  # fmt: skip
def test_only_what_is_named_is_trained(train: str, heads: set[str]) -> None:
    model = random_model()
    trained = choose_parts(model, small_recipe(train=train))
    assert {name.split(".")[0] for name in trained} == heads
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name in trained)
    train_mode(model)
    assert model.sam_mask_decoder.training
    assert not model.image_encoder.training
    assert model.memory_attention.training == (train == "memory")


def test_all_is_all_but_what_is_frozen() -> None:
    model = random_model()
    every = {name for name, _ in model.named_parameters()}
    assert set(choose_parts(model, small_recipe(train="all"))) == every
    trained = choose_parts(model, small_recipe(train="all", freeze=["image_encoder.trunk"]))
    assert every - set(trained) == {n for n in every if n.startswith("image_encoder.trunk")}


def test_nothing_to_freeze_or_to_train_is_an_error() -> None:
    with pytest.raises(UsageError, match="freeze 'decoder' fits no parameter; they begin with"):
        choose_parts(random_model(), small_recipe(freeze=["decoder"]))
    with pytest.raises(UsageError, match="leaves nothing to train"):
        choose_parts(random_model(), small_recipe(freeze=["sam_"]))


def test_early_layers_of_the_encoder_learn_slower() -> None:
    model = random_model()
    recipe = small_recipe(train="all", encoder_lr_scale=0.5, layer_decay=0.8, weight_decay=0.1)
    choose_parts(model, recipe)
    groups = parameter_groups(model, recipe)
    scales = {id(p): group["scale"] for group in groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert len(scales) == len(named)
    blocks = len(model.image_encoder.trunk.blocks)

    def scale(name: str) -> float:
        return float(scales[id(named[name])])

    trunk = "image_encoder.trunk."
    assert scale("sam_mask_decoder.iou_token.weight") == 1.0
    assert scale("image_encoder.neck.convs.0.conv.weight") == 0.5
    assert scale(f"{trunk}blocks.{blocks - 1}.attn.qkv.weight") == 0.5
    assert scale(f"{trunk}blocks.0.attn.qkv.weight") == pytest.approx(0.5 * 0.8 ** (blocks - 1))
    assert scale(f"{trunk}patch_embed.proj.weight") == pytest.approx(0.5 * 0.8**blocks)
    assert scale(f"{trunk}pos_embed") == 0.5
    assert decays[id(named[f"{trunk}blocks.0.attn.qkv.weight"])] == 0.1
    assert decays[id(named[f"{trunk}blocks.0.attn.qkv.bias"])] == 0.0
    assert decays[id(named["maskmem_tpos_enc"])] == 0.0
