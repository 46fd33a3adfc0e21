"""One frame through SAM 2's own modules, with every candidate mask kept and no gate on them.

What comes out equals the official `track_step` once the gate is applied; training needs the masks
before it, because behind a shut gate there is no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.prompting import LARGEST_PROMPT_LOGIT
from train.micro.segmenter import MANY_FRAMES, Features
from train.sam2.clicks import Points

Memory = dict[str, Any]


@dataclass
class Decoded:
    """All candidates of N objects; M is 3 where the model offers several masks, else 1.

    Attributes:
        logits: (N, M, s, s) before the gate.
        iou: (N, M) predicted.
        score: (N, 1) object score logits; above 0 the object is taken to be visible.
        tokens: (N, M or 1, C) what pointers are made of.
    """

    logits: Tensor
    iou: Tensor
    score: Tensor
    tokens: Tensor

    def chosen(self) -> Tensor:
        """(N, 1, s, s) logits of the masks with the best predicted IoU, before the gate."""
        rows = torch.arange(len(self.iou), device=self.iou.device)
        return self.logits[rows, self.iou.argmax(dim=1)][:, None]

    def gated(self) -> Tensor:
        """(N, 1, s, s) what the model would output: nothing where the score says absent."""
        return torch.where(self.score[:, :, None, None] > 0, self.chosen().float(), NO_OBJ_SCORE)

    def token(self) -> Tensor:
        """(N, C) the token of the chosen mask."""
        if self.tokens.shape[1] == 1:
            return self.tokens[:, 0]
        rows = torch.arange(len(self.iou), device=self.iou.device)
        return self.tokens[rows, self.iou.argmax(dim=1)]


def decode(
    model: SAM2Base,
    top: Tensor,
    high: list[Tensor],
    points: Points | None,
    mask_prompt: Tensor | None,
    *,
    several: bool,
) -> Decoded:
    """Run the prompt encoder and the mask decoder.

    Args:
        model: The model.
        top: (N, C, S, S) features, with memory or the code of none.
        high: Fine features, one row an object.
        points: Of this frame, or None.
        mask_prompt: (N, 1, s, s) logits to start from, or None.
        several: Whether three candidates are wanted (`use_several` says when), else one.
    """
    count, device = len(top), top.device
    if points is not None:
        coords, labels = points.coords, points.labels
    else:
        coords = torch.zeros(count, 1, 2, device=device)
        labels = -torch.ones(count, 1, dtype=torch.int32, device=device)
    encoder = model.sam_prompt_encoder
    sparse, dense = encoder(points=(coords, labels), boxes=None, masks=mask_prompt)
    logits, iou, tokens, score = model.sam_mask_decoder(
        image_embeddings=top,
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=several,
        repeat_image=False,
        high_res_features=high,
    )
    return Decoded(logits.float(), iou.float(), score.float(), tokens)


def use_several(model: SAM2Base, points: Points | None, *, initial: bool) -> bool:
    """Whether the model gives several masks: for prompts that may mean more than one thing."""
    given = None if points is None else {"point_labels": points.labels}
    return bool(model._use_multimask(initial, given))


def decode_points(
    model: SAM2Base,
    top: Tensor,
    high: list[Tensor],
    points: Points,
    before: Decoded | None,
    *,
    initial: bool,
    rendered: bool,
) -> Decoded:
    """Decode points as the tracker does: beside a drawing of them, or the last round's mask."""
    prompt: Tensor | None = None
    if rendered:
        prompt = points.drawn(model.image_size)
    elif before is not None:
        prompt = before.gated().clamp(-LARGEST_PROMPT_LOGIT, LARGEST_PROMPT_LOGIT)
    several = use_several(model, points, initial=initial)
    return decode(model, top, high, points, prompt, several=several)


def attend(
    model: SAM2Base,
    features: Features,
    index: int,
    conditioning: dict[int, Memory],
    others: dict[int, Memory],
) -> Tensor:
    """The top map of frame ``index`` conditioned on memories, (N, C, S, S)."""
    top, positions = features.flat()
    with attention_of(top.device, fused=True):
        conditioned: Tensor = model._prepare_memory_conditioned_features(
            frame_idx=index,
            is_init_cond_frame=False,
            current_vision_feats=[top],
            current_vision_pos_embeds=[positions],
            feat_sizes=[tuple(features.top.shape[-2:])],
            output_dict={"cond_frame_outputs": conditioning, "non_cond_frame_outputs": others},
            # Pointers are dated as in a stream without end, which is what the tracker runs on.
            num_frames=MANY_FRAMES,
        )
    return conditioned


def remember(model: SAM2Base, features: Features, decoded: Decoded, *, prompted: bool) -> Memory:
    """Make a decoded frame's memory and pointer, behind the gate."""
    side = model.image_size
    full = F.interpolate(decoded.gated(), (side, side), mode="bilinear", align_corners=False)
    pointer = _pointer(model, decoded.token(), decoded.score)
    return _memory(model, features, full, pointer, decoded.score, prompted)


def remember_mask(
    model: SAM2Base, features: Features, mask: Tensor, *, prompted: bool = False
) -> tuple[Memory, Decoded]:
    """Make the memory of given masks (N, S, S) bool, as SAM 2 does of mask prompts.

    Returns:
        The memory, and what the decoder made of the prompt. The pointer passes this decoding's
        object score as well, so that score wants a loss of its own.
    """
    planes = mask[:, None].float()
    prompt = model.mask_downsample(planes)
    # One mask, whatever the number of points would ask for.
    decoded = decode(
        model, features.top, features.high, None, _fitted(model, prompt), several=False
    )
    pointer = _pointer(model, decoded.token(), decoded.score)
    present = mask.flatten(1).any(dim=1)[:, None]
    here = present.to(pointer.dtype)
    if model.fixed_no_obj_ptr:
        pointer = here * pointer
    if model.pred_obj_scores:
        pointer = pointer + (1 - here) * model.no_obj_ptr
    score = torch.where(present, 10.0, -10.0)
    return _memory(model, features, planes * 20.0 - 10.0, pointer, score, prompted), decoded


def _fitted(model: SAM2Base, prompt: Tensor) -> Tensor:
    size = model.sam_prompt_encoder.mask_input_size
    if tuple(prompt.shape[-2:]) == tuple(size):
        return prompt
    return F.interpolate(
        prompt.float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )


def _pointer(model: SAM2Base, token: Tensor, score: Tensor) -> Tensor:
    pointer: Tensor = model.obj_ptr_proj(token)
    if not model.pred_obj_scores:
        return pointer
    seen = score.sigmoid() if model.soft_no_obj_ptr else (score > 0).to(pointer.dtype)
    if model.fixed_no_obj_ptr:
        pointer = seen * pointer
    whole: Tensor = pointer + (1 - seen) * model.no_obj_ptr
    return whole


def _memory(
    model: SAM2Base,
    features: Features,
    full: Tensor,
    pointer: Tensor,
    score: Tensor,
    prompted: bool,
) -> Memory:
    top, _ = features.flat()
    grid = tuple(features.top.shape[-2:])
    spatial, positions = model._encode_new_memory([top], [grid], full, score, prompted)
    return {"maskmem_features": spatial, "maskmem_pos_enc": positions, "obj_ptr": pointer}


@contextmanager
def attention_of(device: torch.device, *, fused: bool) -> Iterator[None]:
    """Choose the attention that is the faster one on a processor; elsewhere torch chooses."""
    if device.type != "cpu":
        yield
        return
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH] if fused else [SDPBackend.MATH]
    with sdpa_kernel(backends):
        yield


def narrow_heads(device: torch.device) -> Any:
    """The context of everything but memory attention, whose heads are narrow."""
    return attention_of(device, fused=False)
