"""Frames through the training's passes equal the official `track_step` in eval mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from tests.train.sam2.scenes import SIDE, picture, random_model
from train.micro.segmenter import encode, normalise, without_memory
from train.sam2.clicks import Points, first_boxes, first_clicks
from train.sam2.passes import (
    Decoded,
    Memory,
    attend,
    decode,
    decode_points,
    remember,
    remember_mask,
    use_several,
)

FRAMES = 3


@pytest.fixture(scope="module", params=["open", "shut"])
def model(request: pytest.FixtureRequest) -> SAM2Base:
    """Random weights whose memories matter, and whose gate is open or shut."""
    built = random_model(4)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name.startswith(("memory", "obj_ptr", "maskmem", "no_")):
                parameter.mul_(2.0)
        built.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(
            5.0 if request.param == "open" else -5.0
        )
    return built


def prompt(kind: str) -> tuple[Points | None, Tensor | None]:
    if kind == "click":
        return first_clicks([(36.0, 36.0, 1), (92.0, 36.0, 1)]), None
    if kind == "box":
        return first_boxes([(20.0, 20.0, 52.0, 52.0), (76.0, 20.0, 108.0, 52.0)]), None
    ids = torch.from_numpy(picture().ids.astype("int32"))  # type: ignore[union-attr]
    return None, torch.stack([ids == 1, ids == 2])


@torch.inference_mode()
def official(model: SAM2Base, images: Tensor, kind: str) -> list[dict[str, Any]]:
    """What the model's own `track_step` gives for the frames."""
    points, mask = prompt(kind)
    outputs: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    results = []
    for t in range(FRAMES):
        out = model.forward_image(images[t : t + 1])
        out = {
            "backbone_fpn": [x.expand(2, -1, -1, -1) for x in out["backbone_fpn"]],
            "vision_pos_enc": [x.expand(2, -1, -1, -1) for x in out["vision_pos_enc"]],
        }
        _, features, positions, sizes = model._prepare_backbone_features(out)
        first = t == 0
        given = {"point_coords": points.coords, "point_labels": points.labels} if points else None
        step = model.track_step(
            frame_idx=t,
            is_init_cond_frame=first,
            current_vision_feats=features,
            current_vision_pos_embeds=positions,
            feat_sizes=sizes,
            point_inputs=given if first else None,
            mask_inputs=mask[:, None].float() if first and mask is not None else None,
            output_dict=outputs,
            num_frames=1_000_000,
        )
        outputs["cond_frame_outputs" if first else "non_cond_frame_outputs"][t] = step
        results.append(step)
    return results


@torch.inference_mode()
def ours(model: SAM2Base, images: Tensor, kind: str) -> list[tuple[Decoded | None, Memory]]:
    points, mask = prompt(kind)
    conditioning: dict[int, Memory] = {}
    others: dict[int, Memory] = {}
    results: list[tuple[Decoded | None, Memory]] = []
    for t in range(FRAMES):
        here = encode(model, images[t : t + 1]).take(torch.tensor([0, 0]))
        decoded: Decoded | None = None
        if t == 0 and mask is not None:
            memory, _ = remember_mask(model, here, mask)
        else:
            if t == 0:
                assert points is not None
                top = without_memory(model, here.top)
                decoded = decode_points(
                    model, top, here.high, points, None, initial=True, rendered=False
                )
            else:
                top = attend(model, here, t, conditioning, others)
                several = use_several(model, None, initial=False)
                decoded = decode(model, top, here.high, None, None, several=several)
            memory = remember(model, here, decoded, prompted=t == 0)
        (conditioning if t == 0 else others)[t] = memory
        results.append((decoded, memory))
    return results


@pytest.mark.parametrize("kind", ["click", "box", "mask"])
def test_three_frames_equal_the_official_ones(model: SAM2Base, kind: str) -> None:
    frames = [torch.from_numpy(picture(t, 4 * t).image).permute(2, 0, 1) for t in range(FRAMES)]
    images = normalise(torch.stack(frames).float() / 255.0)
    shown = []
    for wanted, (decoded, memory) in zip(
        official(model, images, kind), ours(model, images, kind), strict=True
    ):
        if decoded is not None:
            assert torch.allclose(decoded.gated(), wanted["pred_masks"], atol=2e-4)
            assert torch.allclose(decoded.score, wanted["object_score_logits"], atol=1e-4)
            shown.append(decoded)
        assert torch.allclose(memory["obj_ptr"], wanted["obj_ptr"], atol=1e-4)
        assert torch.allclose(
            memory["maskmem_features"], wanted["maskmem_features"], atol=1e-3, rtol=1e-3
        )
    is_open = bool((shown[0].score > 0).all())
    for decoded in shown:
        # What the gate shuts is still there for the loss.
        assert bool((decoded.logits > -100).all())
        assert bool((decoded.gated() > -100).all()) == is_open


def test_memory_is_felt() -> None:
    """The parity above would hold for a memory that is never read; here it is."""
    model = random_model(4)
    images = normalise(torch.rand(1, 3, SIDE, SIDE))
    with torch.inference_mode():
        here = encode(model, images).take(torch.tensor([0, 0]))
        masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
        masks[0, 20:50, 20:50], masks[1, 70:100, 70:100] = True, True
        memory, _ = remember_mask(model, here, masks)
        top = attend(model, here, 1, {0: memory}, {})
    assert float((top[0] - top[1]).abs().max()) > 1e-3
    assert float((top[0] - here.top[0]).abs().max()) > 1e-3
