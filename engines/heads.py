"""SAM2's mask decoder: features in; masks, predicted IoUs, pointers and object scores out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from engines.features import Features
from engines.window import Crop

NO_OBJECT_LOGIT = -1024.0
"""Every pixel's logit where the object is taken to be absent; SAM2's own number."""
OUTSIDE_LOGIT = -10.0
"""Every pixel's logit outside of the window that an object was looked for in."""


@dataclass(slots=True)
class Decoded:
    """Results for B objects in one frame, float32."""

    low: torch.Tensor
    """(B, h, w) logits at a quarter of the image size."""
    ious: torch.Tensor
    """(B,) predicted IoU of the mask that was chosen."""
    pointers: torch.Tensor
    """(B, C)."""
    scores: torch.Tensor
    """(B,) object score; above 0 the object is taken to be visible."""

    @classmethod
    def cat(cls, parts: list[Decoded]) -> Decoded:
        """Join results of several groups of objects."""
        names = ("low", "ious", "pointers", "scores")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def __getitem__(self, rows: Any) -> Decoded:
        """Take some of the objects."""
        return Decoded(self.low[rows], self.ious[rows], self.pointers[rows], self.scores[rows])


class Heads:
    """Runs the prompt encoder and the mask decoder of a model.

    Args:
        model: A `SAM2Base` in eval mode.
        autocast: Makes the context that the modules run in.
    """

    def __init__(self, model: Any, autocast: Any) -> None:
        self._model = model
        self._autocast = autocast
        self._multimask = bool(model._use_multimask(False, None))
        self._constants: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def track(
        self, pix: torch.Tensor, features: Features, crops: list[Crop] | None = None
    ) -> Decoded:
        """Find the masks of objects that are not prompted in this frame.

        Only the mask that is chosen is kept, and none is enlarged.

        Args:
            pix: (B, C, s, s) features conditioned on each object's memories.
            features: The frame's.
            crops: Where in the frame each of B objects was looked for; None for everywhere.
        """
        model, decoder = self._model, self._model.sam_mask_decoder
        count = len(pix)
        sparse, dense, places = self._prompt_constants()
        fine = features.high_res
        if crops is None:
            places = places.expand(count, -1, -1, -1)
            fine = [level.expand(count, -1, -1, -1) for level in fine]
        else:
            places = torch.cat([crop.take(places) for crop in crops])
            fine = [torch.cat([crop.take(level) for crop in crops]) for level in fine]
        with self._autocast():
            masks, ious, tokens, scores = _predict(decoder, pix + dense, places, sparse, fine)
            if self._multimask:
                masks, ious = masks[:, 1:], ious[:, 1:]
                tokens = tokens[:, 1:] if decoder.use_multimask_token_for_obj_ptr else tokens[:, :1]
            elif decoder.dynamic_multimask_via_stability:
                masks, ious = decoder._dynamic_multimask_via_stability(masks, ious)
                tokens = tokens[:, :1]
            else:
                masks, ious, tokens = masks[:, :1], ious[:, :1], tokens[:, :1]
            best = ious.argmax(1)
            rows = torch.arange(count, device=pix.device)
            token = tokens[rows, best if tokens.shape[1] > 1 else 0]
            pointers = self._pointers(model.obj_ptr_proj(token), scores)
        low = masks[rows, best].float()
        present = scores > 0 if model.pred_obj_scores else torch.ones_like(scores, dtype=torch.bool)
        low = torch.where(present[:, :, None], low, NO_OBJECT_LOGIT)
        if crops is not None:
            low = paste(low, crops, present[:, 0], features)
        return Decoded(low, ious[rows, best].float(), pointers.float(), scores[:, 0].float())

    def click(
        self,
        pix: torch.Tensor,
        features: Features,
        coords: torch.Tensor,
        labels: torch.Tensor,
        mask_prompt: torch.Tensor | None,
        *,
        initial: bool,
    ) -> Decoded:
        """Find the mask of one object that is prompted with points or a box.

        Args:
            pix: (1, C, S, S) features; conditioned on memories where the prompt is a correction.
            features: The frame's.
            coords: (1, P, 2) x, y in model-input pixels.
            labels: (1, P) int32; 2 and 3 are the corners of a box.
            mask_prompt: (1, 1, 4S, 4S) logits of a mask to start from, or None.
            initial: Whether the object is new to the frame.
        """
        model = self._model
        points = {"point_coords": coords, "point_labels": labels}
        with self._autocast():
            out = model._forward_sam_heads(
                backbone_features=pix,
                point_inputs=points,
                mask_inputs=mask_prompt,
                high_res_features=features.high_res,
                multimask_output=model._use_multimask(initial, points),
            )
        return _official(out)

    def masks(self, features: Features, full: torch.Tensor) -> Decoded:
        """Take given masks as the result and find their pointers.

        Args:
            features: The frame's.
            full: (B, 1, image_size, image_size) float32, 0 or 1.
        """
        count = len(full)
        fine = [level.expand(count, -1, -1, -1) for level in features.high_res]
        with self._autocast():
            top = features.top.expand(count, -1, -1, -1)
            out = self._model._use_mask_as_output(top, fine, full)
        return _official(out)

    def _pointers(self, pointers: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        model = self._model
        if not model.pred_obj_scores:
            return pointers
        seen = scores.sigmoid() if model.soft_no_obj_ptr else (scores > 0).float()
        if model.fixed_no_obj_ptr:
            pointers = seen * pointers
        blended: torch.Tensor = pointers + (1 - seen) * model.no_obj_ptr
        return blended

    def _prompt_constants(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens and dense code of 'no prompt', and the code of places (1, C, S, S)."""
        if self._constants is None:
            encoder = self._model.sam_prompt_encoder
            device = encoder.no_mask_embed.weight.device
            with self._autocast():
                sparse, dense = encoder(
                    points=(
                        torch.zeros(1, 1, 2, device=device),
                        -torch.ones(1, 1, dtype=torch.int32, device=device),
                    ),
                    boxes=None,
                    masks=None,
                )
            self._constants = sparse, dense[:, :, :1, :1], encoder.get_dense_pe()
        return self._constants


def _predict(
    decoder: Any,
    source: torch.Tensor,
    places: torch.Tensor,
    sparse: torch.Tensor,
    fine: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run the decoder's modules; unlike its own method, on any part of the frame.

    Returns:
        Masks (B, 4, 4s, 4s), IoUs (B, 4), mask tokens (B, 4, C) and object scores (B, 1).
    """
    own = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    if decoder.pred_obj_scores:
        own.insert(0, decoder.obj_score_token.weight)
    count, channels, height, width = source.shape
    tokens = torch.cat([torch.cat(own)[None], sparse], 1).expand(count, -1, -1)
    out, source = decoder.transformer(source, places, tokens)
    first = 1 if decoder.pred_obj_scores else 0
    mask_tokens = out[:, first + 1 : first + 1 + decoder.num_mask_tokens]
    # Tokens are channels-last as they are; the convolutions are faster so.
    grid = source.view(count, height, width, channels).permute(0, 3, 1, 2)
    if decoder.use_high_res_features:
        up1, norm, act1, up2, act2 = decoder.output_upscaling
        grid = act1(norm(up1(grid) + fine[1]))
        grid = act2(up2(grid) + fine[0])
    else:
        grid = decoder.output_upscaling(grid)
    weights = torch.stack(
        [mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1
    )
    pixels = grid.permute(0, 2, 3, 1).flatten(1, 2)
    masks = torch.bmm(weights, pixels.transpose(1, 2)).view(count, -1, *grid.shape[-2:])
    ious = decoder.iou_prediction_head(out[:, first])
    if decoder.pred_obj_scores:
        return masks, ious, mask_tokens, decoder.pred_obj_score_head(out[:, 0])
    return masks, ious, mask_tokens, ious.new_full((count, 1), 10.0)


def paste(
    low: torch.Tensor, crops: list[Crop], present: torch.Tensor, features: Features
) -> torch.Tensor:
    """Put (B, 4s, 4s) logits of windows into frames of (B, 4S, 4S); (B,) says who is visible."""
    side = features.quarter.shape[-1]
    full = low.new_full((len(low), side, side), OUTSIDE_LOGIT)
    full = torch.where(present[:, None, None], full, NO_OBJECT_LOGIT)
    for row, crop in enumerate(crops):
        crop.take(full[row])[:] = low[row]
    return full


def _official(out: tuple[torch.Tensor, ...]) -> Decoded:
    _, _, ious, low, _, pointers, scores = out
    return Decoded(low[:, 0].float(), ious.amax(1).float(), pointers.float(), scores[:, 0].float())


def enlarge(low: torch.Tensor, side: int) -> torch.Tensor:
    """Return (B, h, w) logits as (B, 1, side, side), as SAM2 enlarges them."""
    return F.interpolate(low[:, None], size=(side, side), mode="bilinear", align_corners=False)
