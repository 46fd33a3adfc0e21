"""Draws one cell onto the canvas and into the truth, touching only its bounding box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.synth.coats import SPAN, Coat
from stream.synth.outline import TABLE, Outline, draw_outline, lobe_radius_px
from stream.synth.spec import F32, U16
from stream.synth.table import Pose

_ANGLE_STEP: Final = np.float32(TABLE / (2.0 * math.pi))
_HALF_TABLE: Final = np.float32(TABLE / 2.0)
# A little of the resting texture stays, or dividing cells would look like smooth balls.
_MOST_MITOSIS: Final = 0.90


@dataclass(frozen=True, slots=True)
class Focus:
    """How sharp a cell is: edge softness in px and the contrast of its inside, 0..1."""

    soft_px: float
    contrast: float


@dataclass(frozen=True, slots=True)
class Painted:
    """Where a cell was drawn: its box in the frame, and the area of its whole outline, px."""

    id: int
    rows: slice
    columns: slice
    area_px: float


def paint(
    canvas: F32, ids: U16, pose: Pose, coat: Coat, focus: Focus, light: float, time_s: float
) -> Painted | None:
    """Draws a cell over what is there.

    Args:
        canvas: (C, H, W) float32 picture so far, changed in place.
        ids: (H, W) uint16 truth so far, changed in place.
        pose: Where the cell is and in which state.
        coat: How it looks.
        focus: How sharp it is.
        light: Lamp brightness at the cell.
        time_s: Time of the frame in seconds.

    Returns:
        Where it was drawn, or None when it is wholly out of view.
    """
    outline = draw_outline(
        pose.cell.genes, time_s, pose.radius_px, pose.angle, pose.stretch, pose.calm, pose.pinch
    )
    height, width = ids.shape
    margin_px = max(coat.glow_px, focus.soft_px) + 1.0
    x0 = max(math.floor(pose.x_px - outline.half_width_px - margin_px), 0)
    x1 = min(math.ceil(pose.x_px + outline.half_width_px + margin_px), width)
    y0 = max(math.floor(pose.y_px - outline.half_height_px - margin_px), 0)
    y1 = min(math.ceil(pose.y_px + outline.half_height_px + margin_px), height)
    if x0 >= x1 or y0 >= y1:
        return None
    rows, columns = slice(y0, y1), slice(x0, x1)
    along, across, inverse, out_px = _measure(outline, pose, x0, x1, y0, y1)
    mitosis = _MOST_MITOSIS * pose.mitosis
    cover = np.clip(np.float32(0.5) - out_px * np.float32(1.0 / focus.soft_px), 0.0, 1.0)
    cover *= cover * (np.float32(3.0) - np.float32(2.0) * cover)
    shine = np.clip(np.float32(1.0) - np.abs(out_px) * np.float32(1.0 / coat.glow_px), 0.0, 1.0)
    shine *= shine * np.float32(coat.glow * coat.gain * light * (1.0 + 0.6 * pose.mitosis))
    place = _texels(along * inverse, across * inverse, coat.picture.shape[-1])
    chromatin = _chromatin(pose, along, across) if pose.mitosis > 0.0 else None
    gain = coat.gain * light
    for layer, picture in enumerate(coat.picture):
        value = picture.ravel().take(place, mode="clip")
        value *= np.float32(gain * focus.contrast)
        value += np.float32(gain * (1.0 - focus.contrast) * coat.mean[layer])
        if chromatin is not None:
            pale, dense = float(coat.pale[layer]), float(coat.dense[layer])
            other = chromatin * np.float32((dense - pale) * gain) + np.float32(pale * gain)
            value += np.float32(mitosis) * (other - value)
        view = canvas[layer, rows, columns]
        view += shine
        value -= view
        value *= cover
        view += value
    np.copyto(ids[rows, columns], np.uint16(pose.cell.id), where=out_px < 0.0)
    return Painted(pose.cell.id, rows, columns, outline.area_px)


def _measure(
    outline: Outline, pose: Pose, x0: int, x1: int, y0: int, y1: int
) -> tuple[F32, F32, F32, F32]:
    """Own-frame offsets, 1 / radius there, and signed px outside the outline, per pixel."""
    dx = np.arange(x0, x1) + (0.5 - pose.x_px)
    dy = np.arange(y0, y1) + (0.5 - pose.y_px)
    matrix = outline.to_body
    along = (matrix[0, 0] * dx).astype(np.float32) + (matrix[0, 1] * dy).astype(np.float32)[:, None]
    across = (matrix[1, 0] * dx).astype(np.float32) + (matrix[1, 1] * dy).astype(np.float32)[
        :, None
    ]
    if pose.pinch > 0.0:
        even = np.full_like(along, 1.0 / pose.radius_px)
        return along, across, even, _outside_lobes(pose, along, across)
    turn = np.arctan2(across, along)
    turn *= _ANGLE_STEP
    turn += _HALF_TABLE
    spot = turn.astype(np.int32)
    inverse = outline.inverse_px.take(spot, mode="clip")
    out_px = along * along
    out_px += across * across
    np.sqrt(out_px, out=out_px)
    out_px *= inverse
    out_px -= np.float32(1.0)
    out_px *= outline.reach_px.take(spot, mode="clip")
    return along, across, inverse, out_px


def _outside_lobes(pose: Pose, along: F32, across: F32) -> F32:
    """Signed px outside two discs joined by a smooth waist, per pixel."""
    lobe_px = lobe_radius_px(pose.radius_px, pose.pinch)
    apart_px = np.float32(pose.pinch * lobe_px)
    # By symmetry the nearer lobe lies on the pixel's own side.
    ahead = np.abs(along)
    near = np.hypot(ahead - apart_px, across)
    waist_px = np.float32(1.3 * lobe_px * pose.pinch * (1.0 - pose.pinch) + 1e-3)
    bridge = np.hypot(ahead + apart_px, across) - near
    bridge = np.clip(waist_px - bridge, 0.0, None)
    out_px: F32 = near - bridge * bridge / (np.float32(4.0) * waist_px) - np.float32(lobe_px)
    return out_px


def _texels(u: F32, v: F32, side: int) -> NDArray[np.int32]:
    """Flat places in a coat's picture for own-frame places on the unit disc."""
    texel, middle = np.float32(side / (2.0 * SPAN)), np.float32(side / 2.0)
    u *= texel
    u += middle
    v *= texel
    v += middle
    place = v.astype(np.int32)
    place *= side
    place += u.astype(np.int32)
    return place


def _chromatin(pose: Pose, along: F32, across: F32) -> F32:
    """Condensed chromosomes of a dividing or newborn cell, 0..1 per pixel."""
    lobe_px = lobe_radius_px(pose.radius_px, pose.pinch) if pose.pinch else pose.radius_px
    apart_px = 0.92 * pose.pinch * lobe_px
    wide = np.float32(1.0 / (0.30 * lobe_px))
    bar = np.exp(-np.square((along - np.float32(apart_px)) * wide))
    if apart_px > 0.0:
        bar = np.maximum(bar, np.exp(-np.square((along + np.float32(apart_px)) * wide)))
    bar *= np.exp(-np.square(across * np.float32(1.0 / (0.62 * lobe_px))))
    chromatin: F32 = bar
    return chromatin
