"""Images of more than 8 bit become visible: grey values are stretched between two percentiles."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

LOW_PERCENTILE: Final = 1.0
HIGH_PERCENTILE: Final = 99.8

Levels = tuple[float, float]
"""The grey values that become 0 and 255."""


def find_levels(*images: npt.NDArray[Any]) -> Levels:
    """Return the levels of one image, or those that several images of one film share.

    They are the percentiles that a live source uses, so that models see in training what they see
    later.

    Args:
        images: (H, W) each, of any whole number type.
    """
    low, high = np.percentile(
        np.concatenate([image.ravel() for image in images]), (LOW_PERCENTILE, HIGH_PERCENTILE)
    )
    return float(low), float(high)


def stretch(image: npt.NDArray[Any], levels: Levels) -> npt.NDArray[np.uint8]:
    """Map grey values to 0..255, (H, W) -> (H, W) uint8; what lies outside the levels is clipped.

    An image of one value becomes black.
    """
    low, high = levels
    scaled = (image.astype(np.float32) - low) * (255.0 / max(high - low, 1.0))
    stretched: npt.NDArray[np.uint8] = np.clip(scaled + 0.5, 0.0, 255.0).astype(np.uint8)
    return stretched
