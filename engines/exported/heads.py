"""Prompts and features to masks, by an exported mask decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from engines.backends.face import Runner
from engines.features import Features
from engines.heads import NO_OBJECT_LOGIT, Decoded, Heads, paste
from engines.networks.mask_decoder import PointCode
from engines.window import Crop

#: Slots for points that graphs are made for; the first that is enough is taken.
SLOTS = (2, 4, 8, 16, 32)


@dataclass(slots=True)
class Four:
    """All masks of B prompts."""

    masks: torch.Tensor
    """(B, 4, h, w) logits."""
    ious: torch.Tensor
    """(B, 4)."""
    pointers: torch.Tensor
    """(B, 4, C), before occlusion is minded."""
    scores: torch.Tensor
    """(B, 1)."""


class ExportedDecoder:
    """Calls the exported mask decoder with what it wants to know.

    Args:
        model: A `SAM2Base`: its point code, and the code of places.
        run: The network.
    """

    def __init__(self, model: Any, run: Runner) -> None:
        self._model = model
        self._run = run
        self._code = PointCode(model)
        self._none: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def places(self) -> torch.Tensor:
        """(1, C, S, S) code of the places in the frame."""
        out: torch.Tensor = self._model.sam_prompt_encoder.get_dense_pe()
        return out

    def unprompted(self, pix: torch.Tensor, places: torch.Tensor, fine: list[torch.Tensor]) -> Four:
        """Decode without any prompt: what a tracked object gets."""
        if self._none is None:
            coords = pix.new_zeros(1, 1, 2)
            labels = torch.full((1, 1), -1, dtype=torch.int32, device=pix.device)
            self._none = self._code(coords, labels, SLOTS[0])
        codes, missing = self._none
        count = len(pix)
        return self._four(
            pix, places, fine, codes.expand(count, -1, -1), missing.expand(count, -1), None
        )

    def prompted(
        self,
        pix: torch.Tensor,
        fine: list[torch.Tensor],
        coords: torch.Tensor,
        labels: torch.Tensor,
        drawn: torch.Tensor | None,
    ) -> Four:
        """Decode prompts on whole frames.

        Args:
            pix: (B, C, S, S).
            fine: Quarter and half resolution features, of one frame.
            coords: (B, P, 2) in model-input pixels.
            labels: (B, P).
            drawn: (B, 1, 4S, 4S) logits of a mask prompt, or None.
        """
        needed = labels.shape[1] + 1
        slots = next((some for some in SLOTS if some >= needed), needed)
        codes, missing = self._code(coords, labels, slots)
        return self._four(pix, self.places, fine, codes, missing, drawn)

    def _four(
        self,
        pix: torch.Tensor,
        places: torch.Tensor,
        fine: list[torch.Tensor],
        codes: torch.Tensor,
        missing: torch.Tensor,
        drawn: torch.Tensor | None,
    ) -> Four:
        count, side = len(pix), 4 * pix.shape[-1]
        blank = pix.new_zeros(count, 1, side, side) if drawn is None else drawn.float()
        there = pix.new_full((count, 1, 1, 1), 0.0 if drawn is None else 1.0)
        found = self._run(
            {
                "pix": pix.float(),
                "code": places.float(),
                "half": fine[1].float(),
                "quarter": fine[0].float(),
                "points": codes,
                "missing": missing,
                "drawn": blank,
                "is_drawn": there,
            }
        )
        return Four(found["masks"], found["ious"], found["pointers"], found["scores"])


def choose(
    decoder: Any, four: Four, several: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the masks, their IoUs and pointers that the official decoder would give.

    Args:
        decoder: The official `MaskDecoder`.
        four: All of them.
        several: Whether three masks are wanted; else one.
    """
    masks, ious, pointers = four.masks, four.ious, four.pointers
    if several:
        own = pointers[:, 1:] if decoder.use_multimask_token_for_obj_ptr else pointers[:, :1]
        return masks[:, 1:], ious[:, 1:], own
    if decoder.dynamic_multimask_via_stability:
        masks, ious = decoder._dynamic_multimask_via_stability(masks, ious)
        return masks, ious, pointers[:, :1]
    return masks[:, :1], ious[:, :1], pointers[:, :1]


class ExportedHeads(Heads):
    """As `engines.heads.Heads`, on an exported decoder.

    Args:
        model: A `SAM2Base` in eval mode.
        autocast: Makes the context that what is left of the modules runs in.
        decoder: The decoder.
    """

    def __init__(self, model: Any, autocast: Any, decoder: ExportedDecoder) -> None:
        super().__init__(model, autocast)
        self._decoder = decoder

    def track(
        self, pix: torch.Tensor, features: Features, crops: list[Crop] | None = None
    ) -> Decoded:
        """Find objects that are not prompted in this frame; see `Heads.track`."""
        places, fine = self._decoder.places, features.high_res
        if crops is not None:
            places = torch.cat([crop.take(places) for crop in crops])
            fine = [torch.cat([crop.take(level) for crop in crops]) for level in fine]
        out, present = self._choose(self._decoder.unprompted(pix, places, fine), self._multimask)
        if crops is not None:
            out.low = paste(out.low, crops, present[:, 0], features)
        return out

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
        """Find the mask of a prompted object; see `Heads.click`."""
        points = {"point_coords": coords, "point_labels": labels}
        several = bool(self._model._use_multimask(initial, points))
        four = self._decoder.prompted(pix, features.high_res, coords, labels, mask_prompt)
        return self._choose(four, several)[0]

    def masks(self, features: Features, full: torch.Tensor) -> Decoded:
        """Take given masks as the result; see `Heads.masks`.

        After `SAM2Base._use_mask_as_output`: logits of -10 and 10, and the decoder's pointer.
        """
        model, count = self._model, len(full)
        low = F.interpolate(
            full * 20.0 - 10.0,
            scale_factor=0.25, mode="bilinear", align_corners=False, antialias=True,
        )[:, 0]  # fmt: skip
        pix = features.top.expand(count, -1, -1, -1)
        with self._autocast():
            drawn = model.mask_downsample(full).float()
        side = low.shape[-1]
        if drawn.shape[-1] != side:
            drawn = F.interpolate(
                drawn, size=(side, side), mode="bilinear", align_corners=False, antialias=True
            )
        coords = full.new_zeros(count, 1, 2)
        labels = torch.full((count, 1), -1, dtype=torch.int32, device=full.device)
        four = self._decoder.prompted(pix, features.high_res, coords, labels, drawn)
        pointers = self._choose(four, several=False)[0].pointers
        there = (full.flatten(1) > 0).any(1)[:, None].float()
        if model.pred_obj_scores:
            if model.fixed_no_obj_ptr:
                pointers = there * pointers
            pointers = pointers + (1 - there) * model.no_obj_ptr
        return Decoded(low, full.new_ones(count), pointers.float(), (20.0 * there - 10.0)[:, 0])

    def _choose(self, four: Four, several: bool) -> tuple[Decoded, torch.Tensor]:
        """Take the mask that the official model takes.

        Returns:
            The result, and (B, 1) whether the object is visible.
        """
        model = self._model
        masks, ious, pointers = choose(model.sam_mask_decoder, four, several)
        best = ious.argmax(1)
        rows = torch.arange(len(masks), device=masks.device)
        pointer = self._pointers(pointers[rows, best if pointers.shape[1] > 1 else 0], four.scores)
        present = (
            four.scores > 0
            if model.pred_obj_scores
            else torch.ones_like(four.scores, dtype=torch.bool)
        )
        low = torch.where(present[:, :, None], masks[rows, best], NO_OBJECT_LOGIT)
        return Decoded(low, ious[rows, best], pointer, four.scores[:, 0]), present
