"""Candidates whose edges were drawn again: each object once, at the resolution of results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from engines.edges import Edges, Outline, Placed, whole
from engines.images import mask_in_frame
from engines.proposals import suppress


@dataclass(frozen=True, slots=True)
class Redrawn:
    """N masks."""

    placed: list[Placed]
    """In pixels of the frame; none is empty."""
    masks: torch.Tensor
    """(N, S, S) bool, covering the frame; none is empty."""

    def keep(self, rows: list[int]) -> Redrawn:
        """Return some of them, in this order."""
        return Redrawn([self.placed[row] for row in rows], self.masks[rows])

    def whole(self, rows: list[int], frame_size: tuple[int, int]) -> torch.Tensor:
        """Return some as (K, H, W) bool of the frame."""
        return torch.stack([whole(self.placed[row], frame_size) for row in rows])


def redraw(
    edges: Edges, image: NDArray[np.uint8], logits: torch.Tensor, side: int
) -> tuple[list[int], Redrawn]:
    """Draw the edges of masks again.

    Args:
        edges: Draws.
        image: (H, W, 3) uint8 RGB.
        logits: (N, h, w).
        side: S, of the results.

    Returns:
        The rows of which something is seen in the frame, and their masks. They may overlap.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    coarse = [mask_in_frame(one, size) for one in logits.cpu().numpy()]
    rows = [row for row, (mask, _) in enumerate(coarse) if mask.size]
    placed, _ = edges.draw_alone(image, [Outline(*coarse[row]) for row in rows])
    masks = [_resized(place, size, side) for place in placed]
    none = torch.zeros(0, side, side, dtype=torch.bool)
    return rows, Redrawn(placed, torch.stack(masks) if masks else none)


def once(redrawn: Redrawn, quality: torch.Tensor, nms_iou: float, contained: float) -> list[int]:
    """Return the rows of different objects: two poor masks of one can become the same.

    Args:
        redrawn: N masks.
        quality: (N,) which of the same stays.
        nms_iou: As for `engines.proposals.suppress`.
        contained: See there.
    """
    if len(redrawn.placed) < 2:
        return list(range(len(redrawn.placed)))
    return suppress(redrawn.masks.to(quality.device), quality, nms_iou, contained)


def _resized(place: Placed, size: tuple[int, int], side: int) -> torch.Tensor:
    """Return a mask as (side, side) bool; of a tiny one the cell that it fills most."""
    mask, (x0, y0, x1, y1) = place
    down, tall = _cells(size[0], side)
    across, wide = _cells(size[1], side)
    filled = down[:, y0:y1] @ torch.from_numpy(mask).float() @ across[:, x0:x1].T
    cover = filled / (tall[:, None] * wide)
    return (cover >= min(0.5, float(cover.max()))) & (cover > 0)


@lru_cache(maxsize=8)
def _cells(pixels: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pixels of a line each of so many cells has, (side, pixels) of 0 and 1; and how many."""
    cell = torch.arange(side)[:, None]
    first, end = cell * pixels // side, -(-(cell + 1) * pixels // side)
    has = ((torch.arange(pixels) >= first) & (torch.arange(pixels) < end)).float()
    return has, has.sum(dim=1)
