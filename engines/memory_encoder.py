"""Masks to memories: SAM2's memory encoder, with what objects share computed once a frame."""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.sam2_utils import LayerNorm2d

from engines.features import Features
from engines.heads import Decoded, enlarge
from engines.transfer import on_device
from engines.window import Crop

# The fuser mixes neighbours; a window is encoded with this many tokens around it.
HALO_TOKENS = 2


class MemoryEncoder:
    """Encodes what the masks of one frame look like.

    Far from an object its memory is that of an empty mask, which all objects share; an absent
    object's is nothing else. This is exact for absent objects, and for windows up to what the
    encoder carries across their halo.

    Args:
        model: A `SAM2Base` in eval mode.
        autocast: Makes the context that the modules run in.
        blind: Whether who is absent stays on the device. Absent objects are then computed as others
            are, which costs less than a host that waits for a card.
    """

    def __init__(self, model: Any, autocast: Any, *, blind: bool = False) -> None:
        self._model = model
        self._blind = blind
        self._autocast = autocast
        self._grid = int(model.sam_image_embedding_size)
        self._empty_mask: torch.Tensor | None = None
        self._place: torch.Tensor | None = None

    @property
    def place(self) -> torch.Tensor:
        """(N, M) float32 code of the place of each token."""
        if self._place is None:
            model = self._model
            shape = (1, model.mem_dim, self._grid, self._grid)
            blank = torch.zeros(shape, device=model.maskmem_tpos_enc.device)
            code = model.memory_encoder.position_encoding(blank)
            self._place = code[0].float().flatten(1).T.contiguous()
        return self._place

    def prepare(self, features: Features) -> None:
        """Make what windows of all objects share in a frame."""
        self._empty(features)

    def __call__(
        self, features: Features, out: Decoded, *, prompted: bool, crops: list[Crop | None]
    ) -> torch.Tensor:
        """Return the memories (B, N, M), bfloat16 as the official predictor keeps them.

        Args:
            features: The frame's.
            out: The B masks in it.
            prompted: Whether the masks come from prompts.
            crops: For each object where it was looked for, or None for everywhere.
        """
        present = [True] * len(crops) if self._blind else (out.scores > 0).tolist()
        memory = torch.empty(
            len(out.low), self._grid**2, self._model.mem_dim,
            dtype=torch.bfloat16, device=out.low.device,
        )  # fmt: skip
        groups: dict[int, list[int]] = {}
        for row, (seen, crop) in enumerate(zip(present, crops, strict=True)):
            side = 0 if not seen else crop.side if crop else self._grid
            groups.setdefault(side, []).append(row)
        for side, rows in groups.items():
            at = on_device(rows, memory.device)
            if side == 0:
                memory[at] = _tokens(self._absent(features))
                continue
            if side == self._grid:
                found = self._whole(features, out.low[at], prompted)
            else:
                some = [crop for row in rows if (crop := crops[row]) is not None]
                found = self._windows(features, out.low[at], prompted, some)
            memory[at] = _tokens(self._coded(found, out.scores[at]) if self._blind else found)
        return memory

    def _coded(self, memory: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Mark those (B, M, S, S) whose object is absent: their masks are empty already."""
        code = self._model.no_obj_embed_spatial
        if code is None:
            return memory
        absent = (scores <= 0).to(memory.dtype)[:, None, None, None]
        coded: torch.Tensor = memory + absent * code[..., None, None]
        return coded

    def _whole(self, features: Features, low: torch.Tensor, prompted: bool) -> torch.Tensor:
        with self._autocast():
            high = enlarge(low, self._model.image_size)
            masks = self._downsampled(self._scaled(high, prompted))
            return self._fused(self._pixels(features) + masks)

    def _windows(
        self, features: Features, low: torch.Tensor, prompted: bool, crops: list[Crop]
    ) -> torch.Tensor:
        wide = [crop.widened(HALO_TOKENS) for crop in crops]
        pixels = self._pixels(features)
        memory = self._empty(features).repeat(len(low), 1, 1, 1)
        with self._autocast():
            cut = torch.stack([outer.take(low[row]) for row, outer in enumerate(wide)])
            high = enlarge(cut, wide[0].side * (self._model.image_size // self._grid))
            masks = self._downsampled(self._scaled(high, prompted))
            near = self._fused(torch.cat([outer.take(pixels) for outer in wide]) + masks)
        for row, (crop, outer) in enumerate(zip(crops, wide, strict=True)):
            crop.take(memory[row])[:] = crop.inside(outer).take(near[row])
        return memory

    def _absent(self, features: Features) -> torch.Tensor:
        empty = self._empty(features)
        code = self._model.no_obj_embed_spatial
        return empty if code is None else empty + code[..., None, None]

    def _empty(self, features: Features) -> torch.Tensor:
        """Return the memory (1, M, S, S) of an empty mask."""
        if "empty" not in features.made:
            with self._autocast():
                if self._empty_mask is None:
                    side = self._model.image_size
                    high = torch.full((1, 1, side, side), -1024.0, device=features.top.device)
                    scaled = self._scaled(high, prompted=False)
                    self._empty_mask = self._downsampled(scaled)
                fused = self._fused(self._pixels(features) + self._empty_mask)
            features.made["empty"] = fused
        empty: torch.Tensor = features.made["empty"]
        return empty

    def _pixels(self, features: Features) -> torch.Tensor:
        """Return the frame's projected features (1, C, S, S), once a frame."""
        if "pixels" not in features.made:
            with self._autocast():
                projected = self._model.memory_encoder.pix_feat_proj(features.top)
            features.made["pixels"] = projected
        pixels: torch.Tensor = features.made["pixels"]
        return pixels

    def _downsampled(self, masks: torch.Tensor) -> torch.Tensor:
        """Run the mask downsampler; its norm over channels is written out, with fewer passes."""
        x = masks
        for part in self._model.memory_encoder.mask_downsampler.encoder:
            if isinstance(part, LayerNorm2d):
                x = x - x.mean(1, keepdim=True)
                scale = (x * x).mean(1, keepdim=True).add_(part.eps).rsqrt_()
                weight, bias = (p.view(1, -1, 1, 1).to(x.dtype) for p in part.parameters())
                x = (x * scale).mul_(weight).add_(bias)
            else:
                x = part(x)
        return x

    def _fused(self, x: torch.Tensor) -> torch.Tensor:
        encoder = self._model.memory_encoder
        # Its convolutions and products over channels are up to four times faster so.
        x = x.contiguous(memory_format=torch.channels_last)
        out: torch.Tensor = encoder.out_proj(encoder.fuser(x)).float()
        return out

    def _scaled(self, high: torch.Tensor, prompted: bool) -> torch.Tensor:
        model = self._model
        if prompted and model.binarize_mask_from_pts_for_mem_enc:
            mask = (high > 0).float()
        else:
            mask = torch.sigmoid(high)
        scaled: torch.Tensor = (
            mask * model.sigmoid_scale_for_mem_enc + model.sigmoid_bias_for_mem_enc
        )
        return scaled


def _tokens(memory: torch.Tensor) -> torch.Tensor:
    return memory.to(torch.bfloat16).flatten(2).transpose(1, 2)
