"""Masks that may overlap to a map of ids in which each pixel is one object's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from stream.frame import TrackedObject

Labels = npt.NDArray[np.int32]


def label_map(objects: Iterable[TrackedObject], size: tuple[int, int]) -> Labels:
    """Give each pixel to the surest object that claims it; of equally sure ones the lowest id's.

    Args:
        objects: Of one frame.
        size: (H, W) of the frame.

    Returns:
        (H, W) int32 ids, 0 background. An object that others cover has no pixel.
    """
    labels: Labels = np.zeros(size, dtype=np.int32)
    for item in sorted(objects, key=lambda item: (item.score, -item.id)):
        x0, y0, x1, y1 = item.box
        labels[y0:y1, x0:x1][item.mask] = item.id
    return labels
