"""Mask-aware crops: an object as CLIP would see a photograph of it, for a second look.

What lies outside of the mask is painted grey, dimmed or left alone; painting keeps neighbours from
answering for the object, leaving alone keeps what surrounds it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.backends.face import Runner
from engines.dense import dense_pass
from engines.errors import ModelError
from engines.images import to_input

CropStyle = Literal["grey", "raw", "soft"]
CROP_STYLES: tuple[str, ...] = get_args(CropStyle)
GREY = 128.0
INSIDE_GAIN = 1.05
SOFT_ALPHA = 0.4
"""How much of the picture stays outside of the mask, the rest being grey."""
MARGIN = 0.1
"""Room on each side, as part of the longer side of the object's box."""

Box = tuple[int, int, int, int]


def mask_crops(
    image: npt.NDArray[np.uint8],
    masks: torch.Tensor,
    size_px: int,
    style: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> torch.Tensor:
    """Cut out masks as a batch of model input.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (K, h, w) bool, covering the whole image at any resolution.
        size_px: Side of the square crops.
        style: `grey` paints 128 outside and brightens the inside by 1.05, clipped; `raw` changes
            nothing; `soft` keeps 0.4 of the outside over grey.
        mean: Per channel, on the 0..1 scale.
        std: Per channel, on the 0..1 scale.

    Returns:
        (K, 3, size_px, size_px) float32, normalised, on the device of `masks`.

    Raises:
        ModelError: The style is unknown.
        ValueError: A mask is empty.
    """
    require_style(style)
    pieces = []
    for mask in masks:
        box = square_box(mask, image.shape[:2])
        pixels, inside = cut_out(image, mask, box)
        painted = paint(pixels, inside, style)
        pieces.append(to_input(painted, (size_px, size_px), mean, std, masks.device))
    if not pieces:
        return torch.zeros(0, 3, size_px, size_px, device=masks.device)
    return torch.cat(pieces)


def require_style(style: str) -> None:
    """Check that a crop style is known.

    Raises:
        ModelError: It is not.
    """
    if style not in CROP_STYLES:
        raise ModelError(f"crop style {style!r} is unknown; accepted are {', '.join(CROP_STYLES)}")


def square_box(mask: torch.Tensor, size: tuple[int, int], margin: float = MARGIN) -> Box:
    """Return the square around a mask, with a margin, in image pixels; it may leave the image.

    Args:
        mask: (h, w) bool.
        size: (H, W) of the image in pixels.
        margin: Part of the longer side that is added on each side.

    Returns:
        x0, y0, x1, y1.

    Raises:
        ValueError: The mask is empty.
    """
    rows, cols = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    if not len(rows):
        raise ValueError("the mask is empty; there is nothing to cut out")
    down, across = size[0] / mask.shape[0], size[1] / mask.shape[1]
    top, bottom = float(rows[0]) * down, float(rows[-1] + 1) * down
    left, right = float(cols[0]) * across, float(cols[-1] + 1) * across
    side = max(round(max(bottom - top, right - left) * (1 + 2 * margin)), 1)
    x0, y0 = round((left + right - side) / 2), round((top + bottom - side) / 2)
    return x0, y0, x0 + side, y0 + side


def cut_out(
    image: npt.NDArray[np.uint8], mask: torch.Tensor, box: Box
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Cut a box out of an image and a mask; what lies beyond the image is grey and outside.

    Args:
        image: (H, W, 3) uint8.
        mask: (h, w) bool, covering the whole image.
        box: x0, y0, x1, y1 in image pixels.

    Returns:
        (side, side, 3) uint8 and (side, side) bool.
    """
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    pixels = np.full((y1 - y0, x1 - x0, 3), int(GREY), dtype=np.uint8)
    inside = np.zeros(pixels.shape[:2], dtype=np.bool_)
    rows, cols = np.arange(max(y0, 0), min(y1, height)), np.arange(max(x0, 0), min(x1, width))
    there = np.s_[rows[0] - y0 : rows[-1] + 1 - y0, cols[0] - x0 : cols[-1] + 1 - x0]
    pixels[there] = image[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    coarse = mask.cpu().numpy()
    mask_rows = ((rows + 0.5) * coarse.shape[0] / height).astype(np.int64)
    mask_cols = ((cols + 0.5) * coarse.shape[1] / width).astype(np.int64)
    inside[there] = coarse[np.ix_(mask_rows, mask_cols)]
    return pixels, inside


def paint(
    pixels: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_], style: str
) -> npt.NDArray[np.uint8]:
    """Paint what lies outside of a mask; see `mask_crops`.

    Args:
        pixels: (h, w, 3) uint8.
        inside: (h, w) bool.
        style: One of `CROP_STYLES`.

    Returns:
        (h, w, 3) uint8.
    """
    if style == "raw":
        return pixels
    colours = pixels.astype(np.float32)
    if style == "grey":
        inner, outer = colours * INSIDE_GAIN, np.full_like(colours, GREY)
    else:
        inner, outer = colours, SOFT_ALPHA * colours + (1 - SOFT_ALPHA) * GREY
    painted = np.where(inside[..., None], inner, outer)
    return np.clip(np.rint(painted), 0, 255).astype(np.uint8)


def embed_crops(
    visual: torch.nn.Module, crops: torch.Tensor, chunk: int = 8, run: Runner | None = None
) -> torch.Tensor:
    """Return (K, D) unit vectors of (K, 3, S, S) crops, so many at a time; `run` is exported."""
    if run is not None:
        return F.normalize(run({"images": crops})["whole"], dim=-1)
    # The class token of a dense pass is that of the model, at any size of crop.
    parts = (crops[i : i + chunk] for i in range(0, len(crops), chunk))
    vectors = [dense_pass(visual, part, "maskclip").whole.float() for part in parts]
    return F.normalize(torch.cat(vectors), dim=-1)
