"""Every model name builds, from the official configurations or ours; rendered prompts.

The byte tokenizer.
"""

from __future__ import annotations

import pytest
import torch

from engines.build import RENDERED_PROMPTS, SAM2_NAMES, build_clip, build_sam2
from engines.micro_text import END, START, ByteTokenizer
from engines.prompts import render_prompt


@pytest.mark.parametrize("name", ["micro", "sam2.1-tiny"])
def test_build_encodes_an_image(name: str) -> None:
    model = build_sam2(name, 256)
    assert not model.training
    assert model.image_size == 256
    width = model.hidden_dim
    with torch.inference_mode():
        out = model.forward_image(torch.zeros(1, 3, 256, 256))
    shapes = [tuple(level.shape) for level in out["backbone_fpn"]]
    assert shapes == [(1, width // 8, 64, 64), (1, width // 4, 32, 32), (1, width, 16, 16)]
    layer = model.memory_attention.layers[0]
    assert layer.cross_attn_image.freqs_cis.shape[0] == 16 * 16


def test_sizes_follow_the_request() -> None:
    model = build_sam2("sam2.1-tiny", 512)
    assert model.memory_attention.layers[0].self_attn.freqs_cis.shape[0] == 32 * 32
    assert build_sam2("micro").image_size == 256


def test_micro_keeps_the_official_flags() -> None:
    micro, tiny = build_sam2("micro"), build_sam2("sam2.1-tiny", 256)
    for flag in (
        "num_maskmem", "use_mask_input_as_output_without_sam", "multimask_output_for_tracking",
        "multimask_min_pt_num", "multimask_max_pt_num", "pred_obj_scores", "fixed_no_obj_ptr",
        "sigmoid_scale_for_mem_enc", "sigmoid_bias_for_mem_enc", "directly_add_no_mem_embed",
        "use_obj_ptrs_in_encoder", "max_obj_ptrs_in_encoder", "use_signed_tpos_enc_to_obj_ptrs",
        "only_obj_ptrs_in_the_past_for_eval", "use_multimask_token_for_obj_ptr",
    ):  # fmt: skip
        assert getattr(micro, flag) == getattr(tiny, flag), flag
    names = {n.split(".")[0] for n in micro.state_dict()}
    assert names == {n.split(".")[0] for n in tiny.state_dict()}
    assert sum(p.numel() for p in micro.parameters()) < 4_500_000


def test_unknown_names_say_what_is_accepted() -> None:
    with pytest.raises(ValueError, match=r"'sam3' is unknown; accepted are micro, sam2.1-tiny"):
        build_sam2("sam3")
    with pytest.raises(ValueError, match="image_size 250"):
        build_sam2("micro", 250)
    with pytest.raises(ValueError, match="'ViT-Z' is unknown"):
        build_clip("ViT-Z")
    assert set(SAM2_NAMES) >= RENDERED_PROMPTS


def test_micro_clip_embeds_images_and_texts() -> None:
    clip = build_clip("micro")
    with torch.inference_mode():
        images = clip.encode_image(torch.zeros(1, 3, 256, 256))
        texts = clip.encode_text(ByteTokenizer()(["a cell", "細胞"]))
    assert images.shape == (1, 128)
    assert texts.shape == (2, 128)
    assert torch.isfinite(texts).all()


def test_tokenizer_round_trip() -> None:
    tokenizer = ByteTokenizer()
    texts = ["", "A cell", "紅色圓形", "naïve café ☕"]
    tokens = tokenizer(texts)
    assert tokens.shape == (4, 64)
    assert [tokenizer.decode(row.tolist()) for row in tokens] == [
        "",
        "a cell",
        "紅色圓形",
        "naïve café ☕",
    ]
    assert (tokens[:, 0] == START).all()
    assert (tokens.max(dim=1).values == END).all()
    assert tokens[0].tolist() == [START, END] + [0] * 62


def test_tokenizer_cuts_between_characters() -> None:
    row = ByteTokenizer(10)("細胞細胞細胞")[0].tolist()
    assert ByteTokenizer(10).decode(row) == "細胞"
    assert row.count(END) == 1
    with pytest.raises(ValueError, match="context_length 2"):
        ByteTokenizer(2)


def test_render_click() -> None:
    drawn = render_prompt(256, points=torch.tensor([[[102.0, 42.0]], [[10.0, 250.0]]]))
    assert drawn.shape == (2, 1, 64, 64)
    assert drawn.min() >= -4
    assert drawn.max() <= 4
    peaks = drawn.flatten(1).argmax(dim=1)
    assert [(int(p) % 64, int(p) // 64) for p in peaks] == [(25, 10), (2, 62)]
    assert drawn[0, 0, 10, 25] > 3.5
    assert drawn[0, 0, 30, 25] == -4


def test_render_box_and_both() -> None:
    box = torch.tensor([[80.0, 40.0, 160.0, 120.0]])
    filled = render_prompt(256, boxes=box)[0, 0]
    # The ellipse that touches the box's four sides in their middles, its corners left out.
    down, across = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    inside = ((across - 30) / 10) ** 2 + ((down - 20) / 10) ** 2 < 1
    assert torch.equal(filled > 0, inside)
    both = render_prompt(256, points=torch.tensor([[[100.0, 60.0]]]), boxes=box)[0, 0]
    assert both.argmax() == 14 * 64 + 24 or both.argmax() == 15 * 64 + 25 or both[15, 25] > 3.0
    assert 0 < both[24, 33] < filled[24, 33]


def test_render_negative_and_padding() -> None:
    points = torch.tensor([[[100.0, 100.0], [100.0, 100.0]]])
    cancelled = render_prompt(256, points, torch.tensor([[1, 0]]))
    assert cancelled.max() < -3.9
    padded = render_prompt(256, points, torch.tensor([[1, -1]]))
    assert padded.max() > 2.5


def test_render_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        render_prompt(256)
    with pytest.raises(ValueError, match=r"expected \(B, 4\)"):
        render_prompt(256, boxes=torch.zeros(4))
    with pytest.raises(ValueError, match="multiple of 4"):
        render_prompt(30, boxes=torch.zeros(1, 4))
    with pytest.raises(ValueError, match="2 rows of points but 1 boxes"):
        render_prompt(256, points=torch.zeros(2, 1, 2), boxes=torch.zeros(1, 4))
