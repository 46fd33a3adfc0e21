"""Which detection is of which track: overlaps of masks, and what they mean. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream.config import LifecycleConfig
from stream.frame import BoolMask

Matrix = npt.NDArray[np.float32]
Same = npt.NDArray[np.bool_]


def overlap_matrices(a: Sequence[BoolMask], b: Sequence[BoolMask]) -> tuple[Matrix, Matrix]:
    """Return how masks of one size overlap, pair by pair.

    Args:
        a: N masks, (h, w) bool.
        b: M masks, (h, w) bool.

    Returns:
        IoU and intersection over the smaller mask, (N, M) float32 in [0, 1] each; empty masks
        overlap nothing.
    """
    if not a or not b:
        none = np.zeros((len(a), len(b)), dtype=np.float32)
        return none, none
    flat_a = np.stack(a).reshape(len(a), -1).astype(np.float32)
    flat_b = np.stack(b).reshape(len(b), -1).astype(np.float32)
    shared = flat_a @ flat_b.T
    area_a, area_b = flat_a.sum(1)[:, None], flat_b.sum(1)[None]
    iou: Matrix = shared / np.maximum(area_a + area_b - shared, 1.0)
    contained: Matrix = shared / np.maximum(np.minimum(area_a, area_b), 1.0)
    return iou, contained


def iou_matrix(a: Sequence[BoolMask], b: Sequence[BoolMask]) -> Matrix:
    """Return the pairwise IoU of masks of one size; see `overlap_matrices`."""
    return overlap_matrices(a, b)[0]


def match(iou: Matrix, threshold: float) -> list[tuple[int, int]]:
    """Pair detections with tracks, the largest overlap first, each at most once.

    Args:
        iou: (detections, tracks).
        threshold: Lowest IoU of a pair.

    Returns:
        (detection, track) pairs.
    """
    pairs: list[tuple[int, int]] = []
    left = iou.copy()
    while left.size:
        row, col = np.unravel_index(int(left.argmax()), left.shape)
        if left[row, col] < threshold or left[row, col] <= 0.0:
            break
        pairs.append((int(row), int(col)))
        left[row, :] = -1.0
        left[:, col] = -1.0
    return pairs


def match_labelled(iou: Matrix, same: Same, rules: LifecycleConfig) -> list[tuple[int, int]]:
    """Pair detections with tracks; where pairs compete, one of a single label is preferred.

    A label alone forbids no pair: two texts may claim one object, and its track stays one.

    Args:
        iou: (detections, tracks).
        same: (detections, tracks), whether labels are equal.
        rules: `match_iou` and `other_label_iou`.

    Returns:
        (detection, track) pairs.
    """
    rank = iou + 1.0 - rules.other_label_iou * ~same
    return match(np.where(iou >= rules.match_iou, rank, 0.0).astype(np.float32) * (iou > 0), 0.0)


def misfits(
    iou: Matrix, contained: Matrix, pairs: Sequence[tuple[int, int]], rules: LifecycleConfig
) -> tuple[list[tuple[int, int]], list[int]]:
    """Find tracks that follow a part of an object, or more than one.

    Such a track overlaps a detection too little to be supported by it, but one lies in the other;
    or it is supported by one detection and holds another as well.

    Args:
        iou: (detections, tracks).
        contained: (detections, tracks), intersection over the smaller; 0 where labels differ, for
            a thing may lie in another.
        pairs: Detections and tracks that support each other.
        rules: `misfit_contained`.

    Returns:
        (detection, track) pairs: what each misfit should follow instead; and tracks that lie in
        a detection which another track follows already.
    """
    inside = contained >= rules.misfit_contained
    crowded = [(row, col) for row, col in pairs if inside[:, col].sum() > 1]
    taken = {row for row, _ in pairs}
    supported = {col for _, col in pairs}
    fits = np.where(inside, iou, 0.0).astype(np.float32)
    fits[:, list(supported)] = 0.0
    free = fits.copy()
    free[list(taken), :] = 0.0
    again = [*crowded, *match(free, 1e-6)]
    mended = {col for _, col in again}
    parts = [
        col
        for col in range(iou.shape[1])
        if col not in supported | mended and any(fits[row, col] > 0 for row in taken)
    ]
    return again, parts


def younger_duplicates(
    ids: Sequence[int], masks: Sequence[BoolMask], rules: LifecycleConfig
) -> list[int]:
    """Return the ids that follow what a track before them follows already.

    Args:
        ids: Track ids: those made by hand, then the others, the oldest first.
        masks: Their masks.
        rules: `duplicate_iou`.
    """
    iou = iou_matrix(masks, masks)
    gone: list[int] = []
    for young in range(len(ids)):
        older = [k for k in range(young) if ids[k] not in gone]
        if any(iou[young, k] >= rules.duplicate_iou and iou[young, k] > 0 for k in older):
            gone.append(ids[young])
    return gone
