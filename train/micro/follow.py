"""A plain tracker over SAM 2's official passes, for measuring; live tracking is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from engines.prompts import render_prompt
from train.micro.sampling import PromptBatch
from train.micro.segmenter import Features, attend, encode, normalise, without_memory


@dataclass(frozen=True)
class Seen:
    """Official outputs of one frame.

    ``masks`` (N, S, S) bool, ``iou`` (N,), ``score`` (N,) logits.
    """

    masks: Tensor
    iou: Tensor
    score: Tensor


def _heads(
    model: SAM2Base, top: Tensor, high: list[Tensor], prompts: PromptBatch | None
) -> tuple[Any, ...]:
    points = mask = None
    count = 0
    if prompts is not None:
        points = {"point_coords": prompts.points, "point_labels": prompts.labels}
        click = None if prompts.click is None else prompts.click[:, None]
        mask = render_prompt(model.image_size, click, None, prompts.box)
        count = prompts.labels.shape[1]
    multimask = model.multimask_min_pt_num <= count <= model.multimask_max_pt_num
    outputs: tuple[Any, ...] = model._forward_sam_heads(
        backbone_features=top,
        point_inputs=points,
        mask_inputs=mask,
        high_res_features=high,
        multimask_output=multimask,
    )
    return outputs


def _seen(outputs: tuple[Any, ...]) -> Seen:
    return Seen(outputs[4][:, 0] > 0, outputs[2].max(dim=1).values, outputs[6][:, 0])


@torch.inference_mode()
def segment(model: SAM2Base, images: Tensor, prompts: PromptBatch) -> Seen:
    """Segment prompted objects of single images, (B, 3, S, S) in [0, 1]."""
    here = encode(model, normalise(images)).take(prompts.frame)
    return _seen(_heads(model, without_memory(model, here.top), here.high, prompts))


@torch.inference_mode()
def follow(
    model: SAM2Base, images: Tensor, prompts: PromptBatch | None, mask: Tensor | None = None
) -> list[Seen]:
    """Track objects of the first frame of a film through all its frames.

    Args:
        model: the segmenter.
        images: (T, 3, S, S) in [0, 1].
        prompts: of the first frame.
        mask: (N, S, S) in {0, 1}, instead of prompts.
    """
    count = len(mask) if mask is not None else len(prompts.frame)  # type: ignore[union-attr]
    rows = torch.zeros(count, dtype=torch.long)
    conditioning: dict[int, dict[str, Any]] = {}
    others: dict[int, dict[str, Any]] = {}
    seen = []
    for index in range(len(images)):
        here = encode(model, normalise(images[index : index + 1])).take(rows)
        if index == 0 and mask is not None:
            outputs = model._use_mask_as_output(here.top, here.high, mask[:, None])
        elif index == 0:
            outputs = _heads(model, without_memory(model, here.top), here.high, prompts)
        else:
            top = attend(model, here, index, conditioning, others)
            outputs = _heads(model, top, here.high, None)
        bank = conditioning if index == 0 else others
        bank[index] = _memory(model, here, outputs)
        others.pop(index - 16, None)
        seen.append(_seen(outputs))
    return seen


def _memory(model: SAM2Base, here: Features, outputs: tuple[Any, ...]) -> dict[str, Any]:
    top, _ = here.flat()
    grid = tuple(here.top.shape[-2:])
    memory, positions = model._encode_new_memory([top], [grid], outputs[4], outputs[6], False)
    return {"maskmem_features": memory, "maskmem_pos_enc": positions, "obj_ptr": outputs[5]}


def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """IoU of boolean masks (N, S, S), (N,); two empty masks count as 1."""
    both = (predicted & truth).flatten(1).sum(dim=1).float()
    either = (predicted | truth).flatten(1).sum(dim=1).float()
    return torch.where(either > 0, both / either.clamp_min(1), torch.ones_like(both))
