"""From a heatmap to candidate masks: prompts where it is warm, or everywhere, and few that stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from engines.detection import DetectorSettings
from engines.finder import Spots
from engines.proposals import (
    coverage,
    grid_points,
    peaks,
    region_threshold,
    regions,
    suppress,
)

COVERED = 0.1
"""Share of a patch under masks from which it is theirs."""
Decode = Callable[[torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, torch.Tensor]]
"""(P, 2) points and (P, 4) boxes or None, fractions, to (P, h, w) logits and (P,) quality."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Masks and where they were prompted."""

    points: torch.Tensor
    """(P, 2) x, y as fractions of the frame."""
    logits: torch.Tensor
    """(P, h, w)."""
    quality: torch.Tensor
    """(P,) predicted IoU x stability x object probability."""
    blind: torch.Tensor
    """(P,) bool: prompted whatever the heat."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.points)

    def keep(self, rows: list[int]) -> Candidates:
        """Return some of them, in this order."""
        return Candidates(
            self.points[rows], self.logits[rows], self.quality[rows], self.blind[rows]
        )


def propose(
    decode: Decode,
    heat: torch.Tensor,
    settings: DetectorSettings,
    *,
    everywhere: bool,
    spots: Spots | None = None,
) -> Candidates:
    """Prompt the decoder.

    Args:
        decode: Prompts to masks.
        heat: (rows, columns) probabilities, the best of all labels.
        settings: Thresholds.
        everywhere: Whether a grid of clicks over the whole frame is decoded as well.
        spots: Where the segmenter's finder tells objects. It tells neighbours apart better than
            heat does, but does not know everything: what is warm elsewhere is prompted as well.
    """
    threshold = 0.0 if settings.accept_best else settings.peak_threshold
    most = settings.max_prompts
    parts = []
    if spots is not None and len(spots):
        logits, quality = decode(spots.points, spots.boxes)
        quality = quality * spots.scores.sqrt()
        parts.append((spots.points, logits, quality, False))
        heat = _elsewhere(heat, logits[quality >= settings.min_quality] > 0)
    points, boxes = regions(heat, region_threshold(heat, threshold))
    if len(points):
        points, boxes = points[:most], boxes[:most]
        parts.append((points, *decode(points, boxes), False))
    if spots is None:
        points = _warm_clicks(heat, threshold, settings.sweep_grid)[:most]
        if len(points):
            parts.append((points, *decode(points, None), False))
    if everywhere:
        points = grid_points(heat, settings.recall_grid, float("-inf"))
        parts.append((points, *decode(points, None), True))
    if not parts:
        none = heat.new_zeros(0)
        return Candidates(none.view(0, 2), none.view(0, 1, 1), none, none.bool())
    blind = [heat.new_full((len(part[0]),), part[3], dtype=torch.bool) for part in parts]
    return Candidates(
        torch.cat([part[0] for part in parts]),
        torch.cat([part[1] for part in parts]),
        torch.cat([part[2] for part in parts]),
        torch.cat(blind),
    )


def select(
    found: Candidates, heat: torch.Tensor, settings: DetectorSettings, frame_px: int
) -> list[int]:
    """Return the rows that stay: good enough, large enough, each object once.

    Args:
        found: The candidates.
        heat: (rows, columns) that they were proposed on.
        settings: Thresholds.
        frame_px: Pixels of the frame.
    """
    masks = found.logits > 0
    area_px = masks.flatten(1).sum(1) * (frame_px / masks[0].numel())
    if settings.accept_best:
        good = (area_px > 0).nonzero()[:, 0]
    else:
        fits = (found.quality >= settings.min_quality) & (area_px >= settings.min_area_px)
        good = fits.nonzero()[:, 0]
    if not len(good):
        return []
    some = found.keep(good.tolist())
    rank = _rank(some, masks[good], heat)
    kept = suppress(masks[good], rank, settings.nms_iou, settings.contained)
    rows: list[int] = good[kept].tolist()
    return rows[: settings.accept_best] if settings.accept_best else rows


def _elsewhere(heat: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Return a heatmap that is cold where masks (N, h, w) lie, and in the patches around."""
    covered = masks.any(0).float()
    size = (int(heat.shape[0]), int(heat.shape[1]))
    share = F.interpolate(covered[None, None], size=size, mode="area")
    near = F.max_pool2d((share > COVERED).float(), 3, stride=1, padding=1)[0, 0]
    return heat.masked_fill(near > 0, 0.0)


def _warm_clicks(heat: torch.Tensor, threshold: float, sweep_grid: int) -> torch.Tensor:
    """Return (P, 2) points as fractions of the frame: peaks, then the grid where it is warm."""
    height, width = heat.shape
    size = torch.tensor([width, height], device=heat.device)
    points = (peaks(heat, threshold).flip(1) + 0.5) / size
    if not sweep_grid:
        return points
    return torch.cat([points, grid_points(heat, sweep_grid, threshold)])


def _rank(some: Candidates, masks: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Return (N,) what decides between masks that overlap.

    A click on background often gives a good mask of background, around the objects: what was
    prompted blindly comes after all else, and among its like by its warmth too.
    """
    if not bool(some.blind.any()):
        return some.quality
    grid = (int(heat.shape[0]), int(heat.shape[1]))
    warmth = torch.einsum("nhw,hw->n", coverage(masks, grid, some.points), heat)
    return torch.where(some.blind, some.quality * warmth - 1, some.quality)
