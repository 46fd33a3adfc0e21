"""A box in a frame to the mask of the object that it shows, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from engines.candidates import Decode
from engines.detection import DetectorSettings
from engines.errors import ModelError
from engines.findings import tight_box
from engines.pieces import one_piece

Box = tuple[float, float, float, float]
LEAST_FIT = 0.4
"""Lowest IoU of the box with the tight box of the mask."""
VOUCHED = 0.5
"""Part of `min_quality` that is enough where a person says that there is an object."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A thing shown in a frame."""

    label: str
    box: Box
    """x0, y0, x1, y1 in frame pixels."""


def shown_mask(
    decode: Decode, box: Box, frame_size: tuple[int, int], settings: DetectorSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best mask for a box.

    Two are asked for: that of the box with a click into its middle, and that of the click alone,
    which may be the whole of what the box shows the middle of.

    Args:
        decode: Prompts to masks.
        box: x0, y0, x1, y1 in frame pixels.
        frame_size: (H, W) in pixels.
        settings: `min_quality`, `min_area_px` and `one_piece`.

    Returns:
        (h, w) bool and the (2,) point, x and y as fractions.

    Raises:
        ModelError: The box lies outside of the frame, or no mask fills it.
    """
    height, width = frame_size
    inside = _clipped(box, width, height)
    size = torch.tensor([width, height, width, height], dtype=torch.float32)
    corners = (torch.tensor([inside]) / size).float()
    point = (corners[:, :2] + corners[:, 2:]) / 2
    both = (decode(point, corners), decode(point, None))
    logits = torch.cat([part[0] for part in both])
    quality = torch.cat([part[1] for part in both])
    if settings.one_piece:
        logits = one_piece(logits, point.expand(2, -1).to(logits.device))
    masks = logits > 0
    fit = torch.tensor(
        [
            box_iou(tight_box(mask.cpu().numpy(), width, height), inside) if mask.any() else 0.0
            for mask in masks
        ]
    )
    best = int((fit * quality.cpu()).argmax())
    mask = masks[best]
    _require_usable(float(fit[best]), float(quality[best]), mask, height * width, settings)
    return mask, point[0]


def box_iou(a: Box, b: Box) -> float:
    """Return the IoU of two boxes x0, y0, x1, y1 that have an area."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0.0) * max(down, 0.0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (areas - shared)


def _clipped(box: Box, width: int, height: int) -> Box:
    said = ", ".join(f"{edge:g}" for edge in box)
    if not all(math.isfinite(edge) for edge in box):
        raise ModelError(f"its box ({said}) is not made of numbers")
    x0, y0, x1, y1 = box
    inside = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if inside[2] - inside[0] < 1 or inside[3] - inside[1] < 1:
        raise ModelError(
            f"its box ({said}) covers no pixel of the {width}x{height} frame; "
            "accepted is x0 < x1, y0 < y1 in frame pixels"
        )
    return inside


def _require_usable(
    fit: float, quality: float, mask: torch.Tensor, frame_px: int, settings: DetectorSettings
) -> None:
    if fit == 0.0:
        raise ModelError("no mask was found in its box; draw the box closely around one object")
    if settings.accept_best:
        return  # random weights: how well a mask fits means nothing
    area_px = float(mask.sum()) * frame_px / mask.numel()
    if area_px < settings.min_area_px:
        raise ModelError(
            f"its mask has {area_px:.0f} px; {settings.min_area_px} are needed (min_area_px)"
        )
    least = VOUCHED * settings.min_quality
    if fit < LEAST_FIT or quality < least:
        raise ModelError(
            f"no mask fills its box (overlap {fit:.2f}, {LEAST_FIT} is needed; quality "
            f"{quality:.2f}, {least:.2f} is needed); draw it closely around one object"
        )
