"""16 bit to 8 bit with levels that stay put: lock, span floor, re-lock.

Levels that follow every frame make an empty field flash; levels set once go wrong when a film
starts empty. Here they are set over the first frames, never closer than the noise allows, and set
anew only when many pixels have been too bright for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from stream.config import Normalize

_VALUES: Final = 65536
_HEADROOM: Final = 1.25
"""Span after a re-lock: what just arrived is still growing, and few of its pixels are known."""


@dataclass(frozen=True, slots=True)
class Normalized:
    """One frame after normalisation."""

    display: npt.NDArray[np.uint8]
    """(H, W, 3) uint8, gray."""
    lo: float
    """Count that is shown as 0."""
    hi: float
    """Count that is shown as 255."""
    relocked: bool
    """The levels jumped at this frame, after the first lock."""


class Levels:
    """The levels of one film, changed by its frames.

    Args:
        config: Percentiles, frames to lock over, span floor and re-lock rule.
    """

    def __init__(self, config: Normalize) -> None:
        self._config = config
        tail = 1.0 - config.high_percentile / 100.0
        # A limit below the tail that the percentile itself cuts off would re-lock for ever.
        self._bright_limit = max(config.relock_fraction, 2.0 * tail)
        self.reset()

    def reset(self) -> None:
        """Forget the levels; the next frames lock anew. For a new exposure or frame size."""
        self._histogram = np.zeros(_VALUES, dtype=np.int64)
        self._bright = np.zeros(_VALUES, dtype=np.int64)
        self._bright_frames = 0
        self._sigmas: list[float] = []
        self._lo, self._hi = 0.0, 1.0
        self._lut = np.zeros(_VALUES, dtype=np.uint8)

    def update(self, image: npt.NDArray[np.uint16]) -> Normalized:
        """Normalise the next frame.

        Args:
            image: (H, W) uint16 counts.
        """
        step = max(1, min(4, min(image.shape) // 64))
        sample = image[::step, ::step]
        relocked = False
        if len(self._sigmas) < self._config.lock_frames:
            self._sigmas.append(_noise_sigma(image[::step]))
            self._histogram += np.bincount(sample.ravel(), minlength=_VALUES)
            self._set(self._histogram, 1.0)
        else:
            relocked = self._watch(sample)
        gray = self._lut.take(image)
        return Normalized(np.repeat(gray[:, :, None], 3, axis=2), self._lo, self._hi, relocked)

    def _watch(self, sample: npt.NDArray[np.uint16]) -> bool:
        """Count frames in a row that are too bright; set the levels anew after enough of them."""
        if np.count_nonzero(sample > self._hi) <= self._bright_limit * sample.size:
            if self._bright_frames:
                self._bright[:] = 0
                self._bright_frames = 0
            return False
        self._bright += np.bincount(sample.ravel(), minlength=_VALUES)
        self._bright_frames += 1
        if self._bright_frames < self._config.relock_frames:
            return False
        self._set(self._bright, _HEADROOM)
        self._bright[:] = 0
        self._bright_frames = 0
        return True

    def _set(self, histogram: npt.NDArray[np.int64], headroom: float) -> None:
        config = self._config
        cumulated = np.cumsum(histogram)
        wanted = np.array([config.low_percentile, config.high_percentile]) / 100.0 * cumulated[-1]
        low, high = np.searchsorted(cumulated, wanted)
        floor = config.span_floor_sigma * float(np.median(self._sigmas))
        span = max((float(high) - float(low)) * headroom, floor, 1.0)
        self._lo, self._hi = float(low), float(low) + span
        ramp = (np.arange(_VALUES, dtype=np.float32) - self._lo) * np.float32(255.0 / span)
        self._lut = np.clip(ramp + 0.5, 0, 255).astype(np.uint8)


def _noise_sigma(rows: npt.NDArray[np.uint16]) -> float:
    """Noise of one pixel in counts, from neighbours in a row; blobs and hot pixels hardly count."""
    steps = np.abs(rows[:, 1::2].astype(np.int32) - rows[:, : rows.shape[1] // 2 * 2 : 2])
    if not steps.size:
        return 0.0
    # 1.4826 turns a median deviation into a sigma; a difference has two pixels' noise.
    return float(np.median(steps)) * (1.4826 / math.sqrt(2.0))
