"""Turns the drawn light into a camera picture: flicker, noise, hot pixels, tint, counts."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from stream.synth.spec import F32, U8, U16, CellFilmSpec

_SPARE: Final = 65_536
# Peak tint of each fluorescence film; the darkest parts stay neutral.
_TINTS: Final = {
    "cyan": (0.30, 0.95, 1.00),
    "green": (0.34, 1.00, 0.50),
    "blue": (0.42, 0.66, 1.00),
    "gray": (1.00, 1.00, 1.00),
}


class Camera:
    """The camera and lamp of a film."""

    def __init__(self, spec: CellFilmSpec) -> None:
        self._spec = spec
        rng = np.random.default_rng([spec.seed, 53])
        self._phases = rng.uniform(-math.pi, math.pi, 6)
        self._offset = float(rng.uniform(110.0, 350.0))
        self._span = float(rng.uniform(1800.0, 3200.0))
        self._fluo = spec.look in ("fluo", "mixed")
        size = spec.width * spec.height
        count = max(1, round(size / 60_000))
        self._hot = rng.integers(0, size, count)
        self._hot_level = rng.uniform(0.25, 0.9, count).astype(np.float32)
        self._grain = rng.standard_normal(size + _SPARE, dtype=np.float32)
        self._offsets = np.random.default_rng([spec.seed, 59])
        names = ("cyan", "green", "blue", "gray", "cyan", "green")
        self._tables = _tint_tables(_TINTS[names[spec.seed % len(names)]])

    def lamp(self, time_s: float) -> float:
        """Brightness of the lamp (and dye) at a time, about 1."""
        a, b = self._phases[0] + 2.3 * time_s, self._phases[1] + 9.7 * time_s
        flicker = 1.0 + 0.006 * math.sin(a) + 0.004 * math.sin(b)
        bleach = 0.86 + 0.14 * math.exp(-time_s / 90.0) if self._fluo else 1.0
        return flicker * bleach

    def blur(self, time_s: float) -> float:
        """Focus error at a time, about -1..1, changing slowly."""
        a, b = self._phases[2] + 0.31 * time_s, self._phases[3] + 0.83 * time_s
        return 0.7 * math.sin(a) + 0.3 * math.sin(b)

    def shoot(self, canvas: F32) -> U8 | U16:
        """Exposes one frame.

        Args:
            canvas: (C, H, W) float32 light, about 0..1; used up by the call.

        Returns:
            (H, W, 3) uint8 RGB, or (H, W) uint16 counts.
        """
        if self._spec.bits == 16:
            return self._counts(canvas[0])
        if canvas.shape[0] == 3:
            for plane in canvas:
                self._expose(plane, shot=0.020, read=0.004)
            image: U8 = np.empty((*canvas.shape[1:], 3), dtype=np.uint8)
            for layer, plane in enumerate(canvas):
                image[:, :, layer] = _to_bytes(plane)
            return image
        if self._fluo:
            self._expose(canvas[0], shot=0.034, read=0.006)
            return self._tinted(_to_bytes(canvas[0]))
        self._expose(canvas[0], shot=0.020, read=0.006)
        gray = _to_bytes(canvas[0])
        image = np.empty((*gray.shape, 3), dtype=np.uint8)
        for layer in range(3):
            image[:, :, layer] = gray
        return image

    def _expose(self, plane: F32, shot: float, read: float) -> None:
        """Adds shot noise, which grows with the root of light, and read noise, in place."""
        flat = plane.reshape(-1)
        if self._spec.noise > 0.0:
            start = int(self._offsets.integers(0, _SPARE))
            grain = np.sqrt(np.maximum(plane, 0.0))
            grain *= np.float32(shot * self._spec.noise)
            grain += np.float32(read * self._spec.noise)
            grain *= self._grain[start : start + flat.size].reshape(plane.shape)
            plane += grain
            flat[self._hot] = np.maximum(flat[self._hot], self._hot_level)

    def _counts(self, plane: F32) -> U16:
        self._expose(plane, shot=0.030, read=0.004)
        plane *= np.float32(self._span)
        plane += np.float32(self._offset)
        np.clip(plane, 0.0, 65535.0, out=plane)
        return plane.astype(np.uint16)

    def _tinted(self, gray: U8) -> U8:
        image: U8 = np.empty((*gray.shape, 3), dtype=np.uint8)
        raw = gray.tobytes()
        for layer, table in enumerate(self._tables):
            # bytes.translate is several times faster here than array look-up.
            toned = np.frombuffer(raw.translate(table), dtype=np.uint8)
            image[:, :, layer] = toned.reshape(gray.shape)
        return image


def _to_bytes(plane: F32) -> U8:
    plane *= np.float32(255.0)
    np.clip(plane, 0.0, 255.0, out=plane)
    return plane.astype(np.uint8)


def _tint_tables(peak: tuple[float, float, float]) -> list[bytes]:
    """One byte table a channel: lifted shadows, tinted middle, near-white highlights."""
    light = np.arange(256) / 255.0
    toned = light**0.85
    tables = []
    for share in peak:
        white = np.clip((light - 0.55) / 0.45, 0.0, 1.0) ** 1.6
        channel = toned * (share + (1.0 - share) * 0.85 * white)
        tables.append(np.clip(255.0 * channel, 0.0, 255.0).astype(np.uint8).tobytes())
    return tables
