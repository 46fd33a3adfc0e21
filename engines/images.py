"""Pixels to model input and logits back to pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.transfer import on_device

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def to_input(
    image: npt.NDArray[np.uint8],
    size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    bring: Callable[[npt.NDArray[np.uint8]], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Resize and normalise one image; the aspect ratio is not kept, as SAM2 does it.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: (height, width) of the model's input in pixels.
        mean: Per channel, on the 0..1 scale.
        std: Per channel, on the 0..1 scale.
        device: Where the result lies.
        bring: Brings the pixels there as they are; None for a copy that is waited for.

    Returns:
        (1, 3, height, width) float32.

    Raises:
        ValueError: The image is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} {image.shape}; (H, W, 3) uint8 RGB is needed")
    pixels = bring(image) if bring else _copied(image, device)
    planes = pixels.permute(2, 0, 1)[None]
    if tuple(planes.shape[-2:]) != size:
        if device.type != "cpu":
            # Only processors resize whole numbers: five times as fast, and rounded as PIL rounds.
            planes = planes.float()
        planes = F.interpolate(planes, size=size, mode="bilinear", antialias=True)
    # Planes in a row, as the networks' first convolution takes them.
    planes = planes.contiguous().float()
    shift, scale = (on_device(some, device).view(1, 3, 1, 1) * 255.0 for some in (mean, std))
    normalised: torch.Tensor = planes.sub_(shift).div_(scale)
    return normalised


def _copied(image: npt.NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    if not image.flags.writeable:
        image = image.copy()  # torch warns on read-only memory, which a ring slot is
    return torch.from_numpy(image).to(device)


@lru_cache(maxsize=64)
def _weights(out_px: int, in_px: int) -> npt.NDArray[np.float32]:
    """Return the (out_px, in_px) matrix of bilinear resizing (half-pixel centres)."""
    centre = np.maximum((np.arange(out_px) + 0.5) * in_px / out_px - 0.5, 0.0)
    low = np.minimum(np.floor(centre).astype(np.int64), in_px - 1)
    high = np.minimum(low + 1, in_px - 1)
    part = (centre - low).astype(np.float32)
    matrix = np.zeros((out_px, in_px), dtype=np.float32)
    rows = np.arange(out_px)
    np.add.at(matrix, (rows, low), 1.0 - part)
    np.add.at(matrix, (rows, high), part)
    return matrix


def mask_in_frame(
    logits: npt.NDArray[np.float32], size: tuple[int, int], threshold: float = 0.0
) -> tuple[npt.NDArray[np.bool_], tuple[int, int, int, int]]:
    """Bring one low-resolution mask to frame size, inside its tight box only.

    The result equals `F.interpolate(logits, size, mode="bilinear") > threshold`; only the rows and
    columns near the mask are computed.

    Args:
        logits: (h, w) float32.
        size: (H, W) of the frame in pixels.
        threshold: Logit above which a pixel belongs to the mask.

    Returns:
        (bh, bw) bool and its box x0, y0, x1, y1; (0, 0) and zeros for an empty mask.
    """
    empty = np.zeros((0, 0), dtype=np.bool_), (0, 0, 0, 0)
    inside = logits > threshold
    rows, cols = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if rows.size == 0:
        return empty
    (height, width), (low_h, low_w) = size, logits.shape
    y0, y1 = _span(rows, low_h, height)
    x0, x1 = _span(cols, low_w, width)
    fine = _weights(height, low_h)[y0:y1] @ logits @ _weights(width, low_w)[x0:x1].T
    mask = fine > threshold
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        return empty
    top, bottom, left, right = rows[0], rows[-1] + 1, cols[0], cols[-1] + 1
    box = (int(x0 + left), int(y0 + top), int(x0 + right), int(y0 + bottom))
    return np.ascontiguousarray(mask[top:bottom, left:right]), box


def _span(indices: npt.NDArray[np.intp], low_px: int, full_px: int) -> tuple[int, int]:
    scale = full_px / low_px
    first = int(np.floor((indices[0] - 1) * scale))
    last = int(np.ceil((indices[-1] + 2) * scale))
    return max(first, 0), min(last, full_px)
