"""Contour accuracy F of two masks, after Perazzi et al. 2016 (DAVIS).

F is the harmonic mean of the share of the result's contour that lies near the true one (precision)
and of the true contour near the result's (recall). Near means within a disk whose radius is 0.008
of the frame's diagonal in pixels, rounded up.

Conventions, those of the DAVIS benchmarks:
- A contour pixel is one that differs from its right, lower or lower right neighbour. The frame's
  own border is no contour, so an object that fills the frame has none.
- Neither mask has a contour: F = 1, even where one fills the frame and the other is empty, which J
  punishes. Only one has a contour: F = 0.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from stream.evaluate.regions import check_alike
from stream.frame import BoolMask

TOLERANCE: Final = 0.008


def contour_accuracy(truth: BoolMask, result: BoolMask, tolerance: float = TOLERANCE) -> float:
    """Return F of one object in one frame, in [0, 1].

    Args:
        truth: (H, W) bool.
        result: (H, W) bool.
        tolerance: Radius of the disk as a share of the frame's diagonal.

    Raises:
        ValueError: The masks differ in shape.
    """
    check_alike(truth, result)
    union = truth | result
    if not union.any():
        return 1.0
    inside = _near(union)
    true_points, result_points = contour(truth[inside]), contour(result[inside])
    if not len(true_points) or not len(result_points):
        return 1.0 if len(true_points) == len(result_points) else 0.0
    radius_px = tolerance_px(truth.shape, tolerance)
    precision = _share_near(result_points, true_points, radius_px)
    recall = _share_near(true_points, result_points, radius_px)
    if precision + recall == 0.0:
        return 0.0
    return 2.0 * precision * recall / (precision + recall)


def contour(mask: BoolMask) -> npt.NDArray[np.intp]:
    """Return the contour of a mask as (N, 2) rows and columns of pixels."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, across = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.argwhere((mask != right) | (mask != below) | (mask != across))


def tolerance_px(shape: tuple[int, ...], tolerance: float = TOLERANCE) -> int:
    """Return the radius in pixels within which two contours of an (H, W) frame agree."""
    return math.ceil(tolerance * math.hypot(shape[0], shape[1]))


def _near(union: BoolMask) -> tuple[slice, slice]:
    """Return the part of a frame in which all contours of masks with this union lie.

    Args:
        union: (H, W) bool with at least one pixel.
    """
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    # One pixel more on each side: there a contour is seen to end, or the frame does.
    return (
        slice(max(int(rows[0]) - 1, 0), int(rows[-1]) + 2),
        slice(max(int(columns[0]) - 1, 0), int(columns[-1]) + 2),
    )


def _share_near(
    points: npt.NDArray[np.intp], others: npt.NDArray[np.intp], radius_px: int
) -> float:
    # Asking each point for its nearest equals dilating the others by a disk, at a tenth of the
    # cost. Whole distances are compared; the bound itself is exclusive.
    nearest, _ = cKDTree(others).query(points, distance_upper_bound=radius_px + 1.0)
    return float(np.mean(nearest <= radius_px))
