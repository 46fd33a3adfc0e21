"""From a heatmap to prompts, and from many masks to few. Pure functions on tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from engines.pieces import labels


def peaks(heat: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the local maxima of a heatmap, highest first.

    Args:
        heat: (h, w) probabilities.
        threshold: Lowest value of a peak.

    Returns:
        (P, 2) integer positions, row and column. A plateau gives one of its places.
    """
    # A tie is broken by position, so that a flat top gives one peak and not all of its cells.
    order = torch.arange(heat.numel(), device=heat.device).view_as(heat) * 1e-7
    unique = heat.double() - order.double()
    top = F.max_pool2d(unique[None, None], kernel_size=3, stride=1, padding=1)[0, 0]
    found = ((unique == top) & (heat >= threshold)).nonzero()
    values = heat[found[:, 0], found[:, 1]]
    return found[values.argsort(descending=True, stable=True)]


def grid_points(heat: torch.Tensor, side: int, threshold: float) -> torch.Tensor:
    """Return the points of a regular grid that lie where the heatmap is high, highest first.

    Args:
        heat: (h, w) probabilities.
        side: Points along each edge.
        threshold: Lowest value under a point.

    Returns:
        (P, 2) float, x and y as fractions of the width and the height.
    """
    steps = (torch.arange(side, device=heat.device) + 0.5) / side
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    points = torch.stack([xs.flatten(), ys.flatten()], dim=1)
    values = sample(heat, points)
    keep = values >= threshold
    points, values = points[keep], values[keep]
    return points[values.argsort(descending=True, stable=True)]


def regions(heat: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the connected warm regions of a heatmap, the warmest first.

    Args:
        heat: (h, w) probabilities.
        threshold: Lowest value inside a region; neighbours by edge or corner belong together.

    Returns:
        (R, 2) points x, y, the warmest place nearest to the region's middle, and (R, 4) boxes
        x0, y0, x1, y1; both as fractions of the width and the height.
    """
    height, width = heat.shape
    pieces = labels((heat >= threshold)[None])[0]
    points, boxes, peaks_ = [], [], []
    for label in sorted(set(pieces.flatten().tolist())):
        if label == 0:
            continue
        rows, cols = (pieces == label).nonzero(as_tuple=True)
        values = heat[rows, cols]
        away = (rows - rows.float().mean()) ** 2 + (cols - cols.float().mean()) ** 2
        away = away.masked_fill(values < 0.9 * values.max(), float("inf"))
        middle = int(away.argmin())
        points.append([(float(cols[middle]) + 0.5) / width, (float(rows[middle]) + 0.5) / height])
        boxes.append(
            [
                float(cols.min()) / width,
                float(rows.min()) / height,
                (float(cols.max()) + 1) / width,
                (float(rows.max()) + 1) / height,
            ]
        )
        peaks_.append(float(values.max()))
    order = torch.tensor(peaks_).argsort(descending=True, stable=True)
    return (
        torch.tensor(points, device=heat.device).view(-1, 2)[order],
        torch.tensor(boxes, device=heat.device).view(-1, 4)[order],
    )


def region_threshold(heat: torch.Tensor, threshold: float) -> float:
    """Return where regions end: halfway up to the warmest place, so that neighbours come apart."""
    return max(threshold, 0.5 * float(heat.max()))


def coverage(masks: torch.Tensor, grid: tuple[int, int], points: torch.Tensor) -> torch.Tensor:
    """Return how much of each mask lies in each patch.

    Args:
        masks: (N, h, w) bool.
        grid: Rows and columns of patches.
        points: (N, 2) x, y as fractions: a mask that covers no patch still weighs the one here.

    Returns:
        (N, rows, columns) weights that sum to 1 for each mask.
    """
    cover = F.interpolate(masks.float()[:, None], size=grid, mode="area")[:, 0]
    height, width = grid
    rows = (points[:, 1] * height).long().clamp(0, height - 1)
    cols = (points[:, 0] * width).long().clamp(0, width - 1)
    cover[torch.arange(len(cover)), rows, cols] += 1e-3
    return cover / cover.flatten(1).sum(1)[:, None, None]


def sample(heat: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return a heatmap's bilinear values at (P, 2) fractional x, y."""
    grid = (points * 2 - 1).view(1, 1, -1, 2).to(heat.dtype)
    out = F.grid_sample(heat[None, None], grid, padding_mode="border", align_corners=False)
    return out.view(-1)


def stability(logits: torch.Tensor, delta: float = 1.0) -> torch.Tensor:
    """Return how little each mask changes when its threshold moves by +-delta.

    The stability score of SAM (Kirillov et al. 2023, arXiv 2304.02643).

    Args:
        logits: (..., h, w).
        delta: How far the threshold moves, in logits.

    Returns:
        (...) in [0, 1]; 0 for an empty mask.
    """
    strict = (logits > delta).flatten(-2).sum(-1).float()
    loose = (logits > -delta).flatten(-2).sum(-1).float()
    return strict / loose.clamp(min=1.0)


def overlaps(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pairwise IoU and intersection over the smaller mask.

    Args:
        a: (N, ...) bool.
        b: (M, ...) bool.

    Returns:
        Two (N, M) float tensors; empty masks overlap nothing.
    """
    flat_a, flat_b = a.flatten(1).float(), b.flatten(1).float()
    shared = flat_a @ flat_b.T
    area_a, area_b = flat_a.sum(1)[:, None], flat_b.sum(1)[None, :]
    union = area_a + area_b - shared
    smaller = torch.minimum(area_a.expand_as(shared), area_b.expand_as(shared))
    return shared / union.clamp(min=1.0), shared / smaller.clamp(min=1.0)


def suppress(
    masks: torch.Tensor, scores: torch.Tensor, max_iou: float, max_contained: float
) -> list[int]:
    """Keep the best of masks that say the same, best first.

    A mask goes when a better one overlaps it by more than `max_iou`, or when either lies in the
    other by more than `max_contained`: the better of a part and its whole stays.

    Args:
        masks: (N, h, w) bool.
        scores: (N,).
        max_iou: In [0, 1].
        max_contained: In [0, 1].

    Returns:
        Rows that stay.
    """
    iou, contained = overlaps(masks, masks)
    kept: list[int] = []
    for row in scores.argsort(descending=True, stable=True).tolist():
        others = torch.tensor(kept, dtype=torch.long, device=masks.device)
        if kept and (
            (iou[row, others] > max_iou).any() or (contained[row, others] > max_contained).any()
        ):
            continue
        kept.append(row)
    return kept
