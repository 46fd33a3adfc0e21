"""Draws masks on a frame: a tint, an outline and the id of each object.

All work happens inside each object's box, so the cost follows the objects and not the frame.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from stream.frame import BoolMask, Masks, TrackedObject
from stream.sinks.palette import Colour, colour_of

Rgb = npt.NDArray[np.uint8]

FONT_PX = 11
"""Height of the id's font on a frame of 480 lines."""


def draw_overlay(rgb: Rgb, masks: Masks, hidden: bool = False) -> Rgb:
    """Draw the objects of a frame on a copy of it.

    Args:
        rgb: (H, W, 3) uint8.
        masks: Result for this frame; only `confirmed` objects are drawn.
        hidden: Also outline, without tint, the objects in every other state.

    Returns:
        (H, W, 3) uint8, a new array.

    Raises:
        ValueError: The frame's size is not that of the masks.
    """
    if rgb.shape != (*masks.size, 3) or rgb.dtype != np.uint8:
        raise ValueError(f"rgb is {rgb.dtype} {rgb.shape}; uint8 {(*masks.size, 3)} is needed")
    out = rgb.copy()
    scale = max(1, round(min(masks.size) / 480))
    shown = [item for item in masks.objects if item.mask.any()]
    shown = [item for item in shown if hidden or item.state == "confirmed"]
    for item in shown:
        _paint(out, item, width_px=2 * scale)
    for item in shown:
        _write_id(out, item, scale)
    return out


def _paint(out: Rgb, item: TrackedObject, width_px: int) -> None:
    """Tint the object and draw its outline inwards, with a dark rim of one pixel outside."""
    height, width = out.shape[:2]
    x0, y0, x1, y1 = item.box
    left, top = max(x0 - 1, 0), max(y0 - 1, 0)
    region = out[top : min(y1 + 1, height), left : min(x1 + 1, width)]
    # One empty pixel around the mask on every side; what lies outside the frame is cut off again.
    padded = np.zeros((y1 - y0 + 2, x1 - x0 + 2), dtype=np.bool_)
    padded[1:-1, 1:-1] = item.mask
    cut = (
        slice(1 if y0 == 0 else 0, 1 + y1 - y0 + (y1 < height)),
        slice(1 if x0 == 0 else 0, 1 + x1 - x0 + (x1 < width)),
    )
    inner = padded
    for _ in range(width_px if item.state == "confirmed" else width_px // 2):
        inner = _eroded(inner)
    colour = np.array(colour_of(item.id), dtype=np.uint8)
    body, line = inner[cut], (padded & ~inner)[cut]
    rim = (~padded & ~_eroded(~padded))[cut]
    if item.state == "confirmed":
        # A quarter of the colour: the sum stays within 8 bits. Both operands are spelled out over
        # the channels, because NumPy broadcasts along a last axis of 3 ten times slower.
        quarter = np.tile(colour >> 2, region.shape[1]).reshape(-1, 3)
        everywhere = np.repeat(body, 3, axis=1).reshape(region.shape)
        np.copyto(region, region - (region >> 2) + quarter, where=everywhere)
    region[rim] >>= 1
    region[line] = colour


def _eroded(mask: BoolMask) -> BoolMask:
    """Return the mask without the pixels that touch its outside; beyond the array counts as in."""
    out = mask.copy()
    out[1:] &= mask[:-1]
    out[:-1] &= mask[1:]
    out[:, 1:] &= mask[:, :-1]
    out[:, :-1] &= mask[:, 1:]
    return out


def _write_id(out: Rgb, item: TrackedObject, scale: int) -> None:
    """Put the id above the object, moved into the frame where it would leave it."""
    pixels, opaque = _tag(str(item.id), scale, colour_of(item.id))
    height, width = opaque.shape
    x0, y0, x1, _ = item.box
    left = min(max((x0 + x1 - width) // 2, 0), out.shape[1] - width)
    top = min(max(y0 - height - scale, 0), out.shape[0] - height)
    if left < 0 or top < 0:
        return  # The frame is smaller than the tag.
    region = out[top : top + height, left : left + width]
    np.copyto(region, pixels, where=opaque[:, :, None])


@lru_cache(maxsize=1024)
def _tag(text: str, scale: int, colour: Colour) -> tuple[Rgb, BoolMask]:
    """Draw a text, dark on the colour.

    Returns:
        (h, w, 3) uint8 pixels, and (h, w) bool: False at the rounded corners.
    """
    font = ImageFont.load_default(size=FONT_PX * scale)
    x0, y0, x1, y1 = (round(v) for v in font.getbbox(text))
    size = (x1 - x0 + 6 * scale, y1 - y0 + 4 * scale)
    image = Image.new("RGB", size, colour)
    dark = tuple(channel // 8 for channel in colour)
    middle = (size[0] / 2, size[1] / 2)
    ImageDraw.Draw(image).text(middle, text, fill=dark, font=font, anchor="mm")
    corners = Image.new("L", size, 0)
    frame = (0, 0, size[0] - 1, size[1] - 1)
    ImageDraw.Draw(corners).rounded_rectangle(frame, radius=2 * scale, fill=255)
    return np.asarray(image), np.asarray(corners) > 0
