"""Smooth random fields and the still background that a film is drawn on."""

from __future__ import annotations

import numpy as np

from stream.synth.spec import F32, CellFilmSpec


def smooth_noise(rng: np.random.Generator, height: int, width: int, grain_px: float) -> F32:
    """Tileable Gaussian-filtered noise, (height, width) float32, mean 0 and deviation 1.

    Args:
        rng: Source of randomness.
        height: Rows in px.
        width: Columns in px.
        grain_px: Standard deviation of the filter in px.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None, :]
    spectrum *= np.exp(-2.0 * (np.pi * grain_px) ** 2 * (fy * fy + fx * fx))
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    deviation = float(field.std())
    return field / max(deviation, 1e-6) if deviation > 0 else field


def illumination(rng: np.random.Generator, height: int, width: int, fall: float) -> F32:
    """Uneven light of a real lamp, (height, width) float32, 1 at the brightest place.

    Args:
        rng: Source of randomness.
        height: Rows in px.
        width: Columns in px.
        fall: How much darker the corners are, as a fraction.
    """
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    cx, cy = rng.uniform(-0.3, 0.3, 2)
    lit = 1.0 - 0.5 * fall * ((x - cx) ** 2 + (y - cy) ** 2)
    tilt_x, tilt_y = rng.uniform(-0.25, 0.25, 2) * fall
    lit = lit * (1.0 + tilt_x * x + tilt_y * y)
    field: F32 = (lit / lit.max()).astype(np.float32)
    return field


def add_specks(
    rng: np.random.Generator, field: F32, count: int, size_px: tuple[float, float], depth: float
) -> None:
    """Adds out-of-focus debris to `field` in place; `depth` < 0 darkens."""
    height, width = field.shape
    for _ in range(count):
        sigma_px = float(rng.uniform(*size_px))
        half = int(3.0 * sigma_px) + 1
        cx, cy = int(rng.integers(0, width)), int(rng.integers(0, height))
        x0, x1 = max(cx - half, 0), min(cx + half + 1, width)
        y0, y1 = max(cy - half, 0), min(cy + half + 1, height)
        dx = np.arange(x0, x1)[None, :] - cx
        dy = np.arange(y0, y1)[:, None] - cy
        spot = np.exp(-(dx * dx + dy * dy) / (2.0 * sigma_px**2))
        field[y0:y1, x0:x1] += (depth * rng.uniform(0.3, 1.0) * spot).astype(np.float32)


def draw_background(spec: CellFilmSpec, rng: np.random.Generator, lit: F32) -> F32:
    """Draws the empty scene under its lamp.

    Args:
        spec: The film.
        rng: Source of randomness.
        lit: (H, W) float32 illumination.

    Returns:
        (C, H, W) float32 with C = 3 for an 8-bit "bright" film and 1 otherwise.
    """
    height, width = spec.height, spec.width
    side_px = (height * width) ** 0.5
    wide = smooth_noise(rng, height, width, side_px / 14.0)
    mid = smooth_noise(rng, height, width, 5.0)
    specks = 4 + int(side_px / 45.0)
    if spec.look in ("fluo", "mixed"):
        field = 0.045 + 0.011 * wide + 0.004 * mid
        add_specks(rng, field, specks, (0.9, 1.8), 0.10)
        add_specks(rng, field, specks // 3, (8.0, 20.0), 0.022)
        glow: F32 = (np.maximum(field, 0.01) * lit)[None]
        return glow
    fine = smooth_noise(rng, height, width, 1.3)
    if spec.look == "phase":
        field = 0.47 + 0.012 * wide + 0.008 * mid + 0.007 * fine
        add_specks(rng, field, specks, (0.9, 2.0), -0.16)
        add_specks(rng, field, specks // 2, (0.9, 1.6), 0.16)
        add_specks(rng, field, specks // 3, (6.0, 12.0), 0.03)
        gray: F32 = (field * lit)[None]
        return gray
    field = 1.0 + 0.010 * wide + 0.006 * mid + 0.003 * fine
    add_specks(rng, field, specks, (0.8, 2.0), -0.20)
    add_specks(rng, field, specks // 3, (6.0, 14.0), -0.03)
    if spec.bits == 16:
        mono: F32 = (0.9 * field * lit)[None]
        return mono
    paper = np.array([0.945, 0.915, 0.930], dtype=np.float32) + rng.uniform(-0.012, 0.012, 3)
    rgb: F32 = (paper[:, None, None] * (field * lit)[None]).astype(np.float32)
    return rgb
