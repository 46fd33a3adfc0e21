"""What a cell looks like inside: a small picture on the unit disc, baked once per cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.synth.fields import smooth_noise
from stream.synth.spec import F32, F64, CellFilmSpec

SPAN: Final = 1.25
_LUMA: Final = np.array([0.30, 0.59, 0.11], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Coat:
    """The look of one cell.

    Attributes:
        picture: (C, S, S) float32 over [-SPAN, SPAN] squared, outline at radius 1.
        mean: (C,) float32 mean of the picture inside the outline.
        gain: Brightness of the cell.
        glow: Light (or shade, < 0) added just outside the outline.
        glow_px: How far the glow reaches, px.
        pale: (C,) float32 colour of a dividing cell's body.
        dense: (C,) float32 colour of condensed chromatin.
    """

    picture: F32
    mean: F32
    gain: float
    glow: float
    glow_px: float
    pale: F32
    dense: F32


class Wardrobe:
    """Makes a coat for every cell; the same film and cell id always give the same coat."""

    def __init__(self, spec: CellFilmSpec) -> None:
        self._spec = spec
        rng = np.random.default_rng([spec.seed, 23])
        self._px = spec.mean_diameter_px()
        # About one texel a pixel: finer would shimmer, coarser would show as blocks.
        self._side = 48 if self._px <= 30.0 else 96 if self._px <= 90.0 else 192
        axis = ((np.arange(self._side) + 0.5) / self._side * 2.0 - 1.0) * SPAN
        self._axis: F32 = axis.astype(np.float32)
        self._u = self._axis[None, :]
        self._v = self._axis[:, None]
        self._rho: F32 = np.hypot(self._u, self._v)
        self._dome: F32 = np.sqrt(np.clip(1.0 - 0.92 * self._rho**2, 0.0, 1.0))
        bank, grain = 4 * self._side, self._side / 96.0
        self._fine = smooth_noise(rng, bank, bank, 2.2 * grain)
        self._mid = smooth_noise(rng, bank, bank, 5.0 * grain)
        self._wide = smooth_noise(rng, bank, bank, 12.0 * grain)
        self._hue = rng.uniform(-1.0, 1.0, 3)

    def coat(self, cell_id: int, family_id: int) -> Coat:
        """Bakes the coat of a cell.

        Args:
            cell_id: The cell.
            family_id: The oldest ancestor, whose kind and brightness descendants keep.
        """
        rng = np.random.default_rng([self._spec.seed, 37, cell_id])
        kin = np.random.default_rng([self._spec.seed, 41, family_id])
        if self._spec.look == "phase":
            return self._phase(rng, kin)
        if self._spec.look == "bright":
            return self._bright(rng, kin)
        kinds = ("nucleus", "ringed", "body", "grains") if self._spec.look == "mixed" else ()
        kind = str(kin.choice(kinds)) if kinds else "nucleus"
        return self._fluo(kind, rng, kin)

    def _fluo(self, kind: str, rng: np.random.Generator, kin: np.random.Generator) -> Coat:
        fine, mid, wide = self._noise(rng)
        if kind == "nucleus":
            picture = 0.42 + 0.42 * self._dome + 0.085 * fine + 0.085 * mid + 0.06 * wide
            picture += 0.07 * self._ring(0.9, 0.07)
            picture -= self._spots(rng, int(rng.integers(1, 5)), 0.55, (0.09, 0.17), 0.42)
            picture += self._spots(rng, int(rng.integers(2, 7)), 0.75, (0.035, 0.06), 0.28)
        elif kind == "ringed":
            picture = 0.26 + 0.05 * fine + 0.05 * wide + 0.72 * self._ring(0.93, 0.075)
            picture += self._spots(rng, int(rng.integers(3, 9)), 0.75, (0.04, 0.07), 0.5)
        elif kind == "body":
            picture = 0.22 + 0.16 * self._dome + 0.04 * fine + 0.03 * mid
            at = rng.uniform(-0.22, 0.22, 2)
            core = np.clip(
                (0.50 - np.hypot(self._u - at[0], (self._v - at[1]) * 1.15)) / 0.09, 0.0, 1.0
            )
            picture += core * (0.55 + 0.10 * fine + 0.05 * mid)
            picture -= core * self._spots(rng, int(rng.integers(1, 3)), 0.3, (0.07, 0.10), 0.4)
        else:
            ridges = np.clip(1.1 - 1.5 * np.abs(mid), 0.0, 1.0)
            picture = 0.22 + 0.16 * self._dome + 0.50 * ridges * self._dome + 0.06 * fine
            picture -= self._spots(rng, 1, 0.25, (0.26, 0.34), 0.30)
        gain = float(kin.uniform(0.72, 1.12)) * (1.0 if kind == "nucleus" else 1.15)
        return self._coat(
            np.clip(picture, 0.04, None)[None],
            gain=gain,
            glow=0.15,
            glow_px=float(np.clip(0.30 * self._px, 4.0, 16.0)),
            pale=[0.46],
            dense=[1.45],
        )

    def _phase(self, rng: np.random.Generator, kin: np.random.Generator) -> Coat:
        fine, mid, wide = self._noise(rng)
        picture = 0.31 + 0.055 * (1.0 - self._dome) + 0.026 * fine + 0.022 * mid + 0.018 * wide
        at = rng.uniform(-0.25, 0.25, 2)
        far = np.hypot(self._u - at[0], self._v - at[1])
        picture += 0.050 * np.clip((0.46 - far) / 0.06, 0.0, 1.0)
        picture -= 0.06 * np.exp(-(((far - 0.46) / 0.035) ** 2))
        picture -= self._spots(rng, int(rng.integers(1, 4)), 0.2, (0.05, 0.08), 0.14, at)
        picture += self._spots(rng, int(rng.integers(5, 14)), 0.85, (0.025, 0.045), 0.24)
        picture -= self._spots(rng, int(rng.integers(5, 14)), 0.85, (0.025, 0.05), 0.14)
        picture -= 0.05 * self._ring(0.95, 0.06)
        reach_px = float(np.clip(0.22 * self._px, 3.0, 12.0))
        return self._coat(
            picture[None],
            gain=float(kin.uniform(0.9, 1.08)),
            glow=float(kin.uniform(0.34, 0.44)),
            glow_px=reach_px,
            pale=[0.70],
            dense=[0.46],
        )

    def _bright(self, rng: np.random.Generator, kin: np.random.Generator) -> Coat:
        fine, mid, wide = self._noise(rng)
        at = kin.uniform(-0.22, 0.22, 2)
        size = float(kin.uniform(0.42, 0.60))
        far = np.hypot(self._u - at[0], (self._v - at[1]) * float(kin.uniform(0.9, 1.25)))
        core = np.clip((size - far + 0.02 * mid) / 0.07, 0.0, 1.0)
        eosin = 0.36 + 0.05 * mid + 0.05 * wide + 0.035 * fine + 0.16 * self._ring(0.96, 0.07)
        eosin = eosin * kin.uniform(0.8, 1.25) * (1.0 - 0.55 * core)
        violet = core * (0.80 + 0.13 * fine + 0.10 * mid)
        violet += 0.30 * np.exp(-(((far - size + 0.03) / 0.045) ** 2))
        violet += core * self._spots(
            rng, int(rng.integers(1, 4)), 0.6 * size, (0.05, 0.09), 0.55, at
        )
        violet = np.clip(violet * kin.uniform(0.85, 1.15), 0.0, None)
        shift = 0.08 * self._hue
        pink = np.array([0.16, 0.95, 0.42]) * (1.0 + shift)
        purple = np.array([1.05, 1.50, 0.48]) * (1.0 + shift[::-1])
        through = np.exp(
            -(eosin[None] * pink[:, None, None] + violet[None] * purple[:, None, None])
        )
        picture = (through * np.array([0.95, 0.915, 0.935])[:, None, None]).astype(np.float32)
        pale, dense = np.array([0.91, 0.72, 0.82]), np.array([0.24, 0.10, 0.40])
        if self._spec.bits == 16:
            picture = np.einsum("c,chw->hw", _LUMA, picture)[None]
            pale, dense = _LUMA @ pale[:, None], _LUMA @ dense[:, None]
        return self._coat(picture, gain=1.0, glow=-0.05, glow_px=5.0, pale=pale, dense=dense)

    def _noise(self, rng: np.random.Generator) -> tuple[F32, F32, F32]:
        fine, mid, wide = (self._crop(rng, field) for field in (self._fine, self._mid, self._wide))
        return fine, mid, wide

    def _coat(
        self,
        picture: F32 | F64,
        gain: float,
        glow: float,
        glow_px: float,
        pale: object,
        dense: object,
    ) -> Coat:
        body = picture.astype(np.float32)
        return Coat(
            picture=np.ascontiguousarray(body),
            mean=body[:, self._rho < 0.95].mean(axis=1),
            gain=gain,
            glow=glow,
            glow_px=glow_px,
            pale=np.asarray(pale, dtype=np.float32),
            dense=np.asarray(dense, dtype=np.float32),
        )

    def _crop(self, rng: np.random.Generator, field: F32) -> F32:
        side = self._side
        y, x = rng.integers(0, 3 * side, 2)
        part = field[y : y + side, x : x + side]
        turned: F32 = np.rot90(part, int(rng.integers(0, 4)))
        return turned

    def _ring(self, radius: float, width: float) -> F32:
        ring: F32 = np.exp(-(((self._rho - radius) / width) ** 2))
        return ring

    def _spots(
        self,
        rng: np.random.Generator,
        count: int,
        within: float,
        sigma: tuple[float, float],
        height: float,
        centre: F64 | tuple[float, float] = (0.0, 0.0),
    ) -> F32:
        """Round spots scattered in a disc, (S, S) float32."""
        total = np.zeros((self._side, self._side), dtype=np.float32)
        for _ in range(count):
            turn = rng.uniform(-np.pi, np.pi)
            far = within * np.sqrt(rng.uniform())
            x, y = centre[0] + far * np.cos(turn), centre[1] + far * np.sin(turn)
            width = rng.uniform(*sigma)
            # Spots are separable, so two short exponentials make one.
            row = np.exp(-((self._axis - x) ** 2) / (2.0 * width**2))
            column = np.exp(-((self._axis - y) ** 2) / (2.0 * width**2))
            total += (height * rng.uniform(0.6, 1.0)) * column[:, None] * row[None, :]
        return total.astype(np.float32)
