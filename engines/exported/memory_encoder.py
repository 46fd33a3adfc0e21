"""Masks to memories, by an exported memory encoder."""

from __future__ import annotations

from typing import Any

import torch

from engines.backends.face import Runner
from engines.features import Features
from engines.heads import NO_OBJECT_LOGIT
from engines.memory_encoder import HALO_TOKENS, MemoryEncoder
from engines.window import Crop


class ExportedMemoryEncoder(MemoryEncoder):
    """As `engines.memory_encoder.MemoryEncoder`, on an exported network.

    Args:
        model: A `SAM2Base` in eval mode.
        autocast: Makes the context that what is left of the modules runs in.
        run: The network.
        blind: See `MemoryEncoder`.
    """

    def __init__(self, model: Any, autocast: Any, run: Runner, *, blind: bool = False) -> None:
        super().__init__(model, autocast, blind=blind)
        self._run = run

    def _whole(self, features: Features, low: torch.Tensor, prompted: bool) -> torch.Tensor:
        return self._encoded(features.top, low[:, None], prompted)

    def _windows(
        self, features: Features, low: torch.Tensor, prompted: bool, crops: list[Crop]
    ) -> torch.Tensor:
        wide = [crop.widened(HALO_TOKENS) for crop in crops]
        memory = self._empty(features).repeat(len(low), 1, 1, 1)
        cut = torch.stack([outer.take(low[row][None]) for row, outer in enumerate(wide)])
        top = torch.cat([outer.take(features.top) for outer in wide])
        near = self._encoded(top, cut, prompted)
        for row, (crop, outer) in enumerate(zip(crops, wide, strict=True)):
            crop.take(memory[row])[:] = crop.inside(outer).take(near[row])
        return memory

    def _empty(self, features: Features) -> torch.Tensor:
        if "empty" not in features.made:
            side = 4 * self._grid
            low = features.top.new_full((1, 1, side, side), NO_OBJECT_LOGIT)
            features.made["empty"] = self._encoded(features.top, low, prompted=False)
        empty: torch.Tensor = features.made["empty"]
        return empty

    def _encoded(self, top: torch.Tensor, low: torch.Tensor, prompted: bool) -> torch.Tensor:
        binary = prompted and self._model.binarize_mask_from_pts_for_mem_enc
        flag = low.new_full((len(low), 1, 1, 1), float(binary))
        return self._run({"top": top, "low": low, "binary": flag})["memory"]
