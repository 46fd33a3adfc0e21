"""Training passes through SAM 2's own modules.

With the object score's gate kept off the mask loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.prompts import render_prompt
from train.micro.losses import centre_targets, dense_targets
from train.micro.sampling import PromptBatch

#: ImageNet statistics, those of SAM 2.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
#: Foreground, boundary, and x and y of the way to the centre.
DENSE_CHANNELS = 4
#: Live streams are long: pointers are dated relative to the same number of frames in training and
#: live.
MANY_FRAMES = 1_000_000
#: The random Fourier code of prompts is made finer by this factor at birth: objects are small in
#: the frame.
FINER_PROMPT_CODE = 3.0


def pointwise_as_linear(model: nn.Module) -> None:
    """Compute all 1x1 convolutions as matrix products; weights and results stay the same.

    On CPU the backward pass of such a convolution in bf16 takes up to half of the whole encoder's
    time; the product takes a tenth of that.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
            module.forward = MethodType(_linear_forward, module)  # type: ignore[method-assign]


def _linear_forward(conv: nn.Conv2d, x: Tensor) -> Tensor:
    out = F.linear(x.permute(0, 2, 3, 1), conv.weight[:, :, 0, 0], conv.bias)
    return out.permute(0, 3, 1, 2)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> normalised by :data:`MEAN` and :data:`STD`."""
    mean = torch.tensor(MEAN, device=images.device)[:, None, None]
    std = torch.tensor(STD, device=images.device)[:, None, None]
    return (images - mean) / std


@dataclass
class Features:
    """One encoded batch: ``top`` (B, C, 16, 16).

    ``high`` stride 4 and 8 maps for the decoder, ``positions`` of the top map.
    """

    top: Tensor
    high: list[Tensor]
    positions: Tensor

    def take(self, index: Tensor) -> Features:
        """The features of the images in ``index``, one row for each prompt."""
        return Features(self.top[index], [h[index] for h in self.high], self.positions)

    def flat(self) -> tuple[Tensor, Tensor]:
        """The top map and its position code as SAM 2's (HW, B, C)."""
        top = self.top.flatten(2).permute(2, 0, 1)
        positions = self.positions.flatten(2).permute(2, 0, 1).expand(-1, top.shape[1], -1)
        return top, positions


@dataclass
class Decoded:
    """All four masks of each prompt.

    ``logits`` (N, 4, s, s), ``iou`` (N, 4), ``score`` (N, 1), ``tokens`` (N, 4, C).
    """

    logits: Tensor
    iou: Tensor
    score: Tensor
    tokens: Tensor

    def best(self, multimask: bool) -> Tensor:
        """Index of the mask that SAM 2 would output, (N,)."""
        if not multimask:
            return torch.zeros(len(self.iou), dtype=torch.long, device=self.iou.device)
        return self.iou[:, 1:].argmax(dim=1) + 1


def encode(model: SAM2Base, images: Tensor) -> Features:
    """Encode normalised images (B, 3, S, S)."""
    out = model.image_encoder(images)
    fine, middle, top = out["backbone_fpn"]
    decoder = model.sam_mask_decoder
    high = [decoder.conv_s0(fine), decoder.conv_s1(middle)]
    return Features(top, high, out["vision_pos_enc"][-1][:1])


def without_memory(model: SAM2Base, top: Tensor) -> Tensor:
    """The top map of a frame that has no memory, as SAM 2 prepares it."""
    out: Tensor = top + model.no_mem_embed.view(1, -1, 1, 1)
    return out


def decode(
    model: SAM2Base,
    top: Tensor,
    high: list[Tensor],
    points: Tensor | None,
    labels: Tensor | None,
    mask_prompt: Tensor | None,
) -> Decoded:
    """Run the prompt encoder and the mask decoder, without the object score's gate on the masks."""
    count = len(top)
    if points is None or labels is None:
        points = torch.zeros(count, 1, 2, device=top.device)
        labels = -torch.ones(count, 1, dtype=torch.int32, device=top.device)
    sparse, dense = model.sam_prompt_encoder(points=(points, labels), boxes=None, masks=mask_prompt)
    logits, iou, tokens, score = model.sam_mask_decoder.predict_masks(
        image_embeddings=top,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=False,
        high_res_features=high,
    )
    return Decoded(logits.float(), iou.float(), score.float(), tokens)


def decode_prompts(model: SAM2Base, features: Features, prompts: PromptBatch) -> Decoded:
    """Decode first-frame prompts, drawn and as tokens."""
    picked = features.take(prompts.frame)
    drawn = render_prompt(
        model.image_size,
        None if prompts.click is None else prompts.click[:, None],
        None,
        prompts.box,
    )
    top = without_memory(model, picked.top)
    return decode(model, top, picked.high, prompts.points, prompts.labels, drawn)


def remember(
    model: SAM2Base,
    features: Features,
    low_res: Tensor,
    tokens: Tensor,
    present: Tensor,
) -> dict[str, Any]:
    """Write one frame's memory and pointer.

    Args:
        model: the segmenter.
        features: of this frame, one row an object.
        low_res: (N, 1, s, s) mask logits before the gate.
        tokens: (N, C) the chosen mask's output token.
        present: (N,) bool; plays the object score's part.
    """
    size = model.image_size
    gated = torch.where(present[:, None, None, None], low_res.float(), NO_OBJ_SCORE)
    high_res = F.interpolate(gated, size=(size, size), mode="bilinear", align_corners=False)
    pointer = model.obj_ptr_proj(tokens)
    here = present[:, None].to(pointer.dtype)
    pointer = here * pointer + (1 - here) * model.no_obj_ptr
    return _write(model, features, high_res, pointer, present)


def remember_mask(
    model: SAM2Base, features: Features, mask: Tensor
) -> tuple[dict[str, Any], Decoded]:
    """Write a given mask, (N, S, S) in {0, 1}, as SAM 2 does for mask prompts.

    Returns:
        The memory, and what the decoder made of the mask prompt: its score and masks need losses of
        their own, because live the pointer passes the object score's gate on this path too.
    """
    prompt = model.mask_downsample(mask[:, None])
    decoded = decode(model, features.top, features.high, None, None, prompt)
    present = mask.flatten(1).any(dim=1)
    pointer = model.obj_ptr_proj(decoded.tokens[:, 0])
    here = present[:, None].to(pointer.dtype)
    pointer = here * pointer + (1 - here) * model.no_obj_ptr
    high_res = mask[:, None] * 20.0 - 10.0
    return _write(model, features, high_res, pointer, present), decoded


def _write(
    model: SAM2Base, features: Features, high_res: Tensor, pointer: Tensor, present: Tensor
) -> dict[str, Any]:
    top, _ = features.flat()
    grid = tuple(features.top.shape[-2:])
    score = torch.where(present, 10.0, -10.0)[:, None]
    memory, positions = model._encode_new_memory([top], [grid], high_res, score, False)
    return {"maskmem_features": memory, "maskmem_pos_enc": positions, "obj_ptr": pointer}


def attend(
    model: SAM2Base,
    features: Features,
    index: int,
    conditioning: dict[int, dict[str, Any]],
    others: dict[int, dict[str, Any]],
) -> Tensor:
    """The top map of frame ``index`` conditioned on memories, (N, C, 16, 16)."""
    top, positions = features.flat()
    grid = tuple(features.top.shape[-2:])
    bank = {"cond_frame_outputs": conditioning, "non_cond_frame_outputs": others}
    # One wide head over many keys: on CPU, unlike elsewhere, the fused attention is the faster one.
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(backends[:1] if top.device.type == "cpu" else backends):
        result: Tensor = model._prepare_memory_conditioned_features(
            frame_idx=index,
            is_init_cond_frame=False,
            current_vision_feats=[top],
            current_vision_pos_embeds=[positions],
            feat_sizes=[grid],
            output_dict=bank,
            num_frames=MANY_FRAMES,
        )
    return result


class DenseHead(nn.Module):
    """Auxiliary heads (training only): foreground, boundary and the way to the object's centre.

    They read the finest map as the decoder gets it, and the coarsest. What is told there linearly,
    the decoder's product of a prompt's vector and the finest map can use.

    Args:
        fine: channels of the decoder's finest map.
        coarse: channels of the coarsest map.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, DENSE_CHANNELS, 1)
        self.coarse = nn.Conv2d(coarse, DENSE_CHANNELS * 16, 1)

    def loss(self, features: Features, ids: Tensor) -> Tensor:
        """Losses of both heads against (B, S, S) int32 ids; a scalar."""
        shares, ways = dense_targets(ids), centre_targets(ids)
        inside = shares[:, :1] > 0.5
        total = shares.sum() * 0.0
        for found in (
            self.fine(features.high[0]),
            F.pixel_shuffle(self.coarse(features.top), 4),
        ):
            found = found.float()
            total = total + F.binary_cross_entropy_with_logits(found[:, :2], shares)
            if bool(inside.any()):
                away = (found[:, 2:] - ways).abs().sum(dim=1, keepdim=True)
                total = total + 0.3 * away[inside].mean()
        return total
