"""Masks to begin with where nothing is known but a box or a place."""

from __future__ import annotations

import math

import numpy as np

from engines.edges import Placed


def ellipse_in(box: tuple[float, float, float, float], size: tuple[int, int]) -> Placed | None:
    """Return the part inside the frame of the ellipse that fills a box.

    Args:
        box: x0, y0, x1, y1 in pixels of the frame.
        size: (H, W) of the frame.

    Returns:
        (h, w) bool in its tight box, and that box; None where the ellipse holds the middle of no
        pixel of the frame.
    """
    height, width = size
    x0, y0 = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    wide, high = box[2] - box[0], box[3] - box[1]
    if x0 >= x1 or y0 >= y1 or wide <= 0 or high <= 0:
        return None
    across = (np.arange(x0, x1) + 0.5 - (box[0] + box[2]) / 2) * (2 / wide)
    down = (np.arange(y0, y1) + 0.5 - (box[1] + box[3]) / 2) * (2 / high)
    inside = across[None, :] ** 2 + down[:, None] ** 2 <= 1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    tight = (int(x0 + left), int(y0 + top), int(x0 + right), int(y0 + bottom))
    return np.ascontiguousarray(inside[top:bottom, left:right]), tight


def disc_at(point: tuple[float, float], radius: float, size: tuple[int, int]) -> Placed:
    """Return the part inside the frame of a disc; a point beside the frame is brought to its edge.

    Args:
        point: x, y in pixels of the frame.
        radius: In pixels, 1 or more.
        size: (H, W) of the frame.
    """
    height, width = size
    x = min(max(point[0], 0.5), width - 0.5)
    y = min(max(point[1], 0.5), height - 0.5)
    place = ellipse_in((x - radius, y - radius, x + radius, y + radius), size)
    assert place is not None, "a disc of a pixel's reach holds the middle of a pixel"
    return place
