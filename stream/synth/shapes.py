"""Coloured geometric shapes with words, from which a small text-image model learns attributes."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from stream.synth.fields import smooth_noise
from stream.synth.spec import F32, F64, U8, U16

KINDS: Final = ("circle", "square", "triangle", "star")
COLOURS: Final = {
    "red": (215, 40, 38),
    "green": (40, 165, 62),
    "blue": (40, 78, 215),
    "yellow": (242, 205, 42),
    "white": (246, 246, 246),
    "black": (16, 16, 18),
}
SIZES: Final = {"small": (0.055, 0.085), "large": (0.13, 0.18)}
_THETA: Final = (np.arange(360) + 0.5) * (2.0 * math.pi / 360) - math.pi


def draw_shapes(
    rng: np.random.Generator, width: int, height: int, n: int
) -> tuple[U8, U16, dict[int, tuple[str, ...]]]:
    """Draws up to `n` shapes that hardly overlap on a plain, graded or textured background.

    Args:
        rng: Source of randomness.
        width: Picture width in px, 32 or more.
        height: Picture height in px, 32 or more.
        n: Shapes wanted; fewer are drawn when there is no room left.

    Returns:
        (H, W, 3) uint8 RGB picture, (H, W) uint16 ids from 1 with 0 for background, and the
        words for each id, most telling first: ("a red circle", "a small red circle", "circle").
    """
    if width < 32 or height < 32:
        raise ValueError(f"width={width}, height={height} is not at least 32 by 32")
    if n < 0:
        raise ValueError(f"n={n} is not a number from 0 up")
    canvas, base = _background(rng, width, height)
    ids: U16 = np.zeros((height, width), dtype=np.uint16)
    labels: dict[int, tuple[str, ...]] = {}
    taken: list[tuple[float, float, float]] = []
    # A shape in the background's own colour could not be seen, so such colours are left out.
    seen = [c for c, rgb in COLOURS.items() if math.dist(rgb, base) > 110.0]
    for _ in range(n):
        size = str(rng.choice(tuple(SIZES)))
        radius_px = max(4.0, float(rng.uniform(*SIZES[size])) * min(width, height))
        spot = _free_place(rng, width, height, radius_px, taken)
        if spot is None:
            continue
        taken.append((*spot, radius_px))
        kind, colour = str(rng.choice(KINDS)), str(rng.choice(seen))
        number = len(labels) + 1
        _draw(rng, canvas, ids, number, kind, COLOURS[colour], (*spot, radius_px))
        labels[number] = (
            f"a {colour} {kind}",
            f"a {size} {colour} {kind}",
            kind,
            f"{colour} {kind}",
            f"a {size} {kind}",
            f"a {kind}",
        )
    canvas += rng.normal(0.0, rng.uniform(0.0, 5.0), canvas.shape).astype(np.float32)
    return np.clip(canvas, 0.0, 255.0).astype(np.uint8), ids, labels


def _background(
    rng: np.random.Generator, width: int, height: int
) -> tuple[F32, tuple[float, float, float]]:
    base = rng.uniform(25.0, 230.0) + rng.uniform(-25.0, 25.0, 3)
    canvas = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    kind = rng.choice(("plain", "graded", "textured"))
    if kind == "graded":
        turn = rng.uniform(-math.pi, math.pi)
        x = np.linspace(-1.0, 1.0, width)[None, :] * math.cos(turn)
        y = np.linspace(-1.0, 1.0, height)[:, None] * math.sin(turn)
        canvas += ((x + y)[..., None] * rng.uniform(-28.0, 28.0, 3)).astype(np.float32)
    elif kind == "textured":
        field = smooth_noise(rng, height, width, float(rng.uniform(1.0, 6.0)))
        canvas += field[..., None] * np.float32(rng.uniform(4.0, 13.0))
    return canvas, (float(base[0]), float(base[1]), float(base[2]))


def _free_place(
    rng: np.random.Generator,
    width: int,
    height: int,
    radius_px: float,
    taken: list[tuple[float, float, float]],
) -> tuple[float, float] | None:
    for _ in range(40):
        x = float(rng.uniform(radius_px, width - radius_px))
        y = float(rng.uniform(radius_px, height - radius_px))
        if all(math.hypot(x - a, y - b) > 0.95 * (radius_px + r) for a, b, r in taken):
            return x, y
    return None


def _draw(
    rng: np.random.Generator,
    canvas: F32,
    ids: U16,
    number: int,
    kind: str,
    colour: tuple[int, int, int],
    place: tuple[float, float, float],
) -> None:
    x_px, y_px, radius_px = place
    reach = _radius_table(kind) * radius_px
    height, width = ids.shape
    x0, x1 = max(int(x_px - radius_px) - 2, 0), min(int(x_px + radius_px) + 3, width)
    y0, y1 = max(int(y_px - radius_px) - 2, 0), min(int(y_px + radius_px) + 3, height)
    dx = np.arange(x0, x1)[None, :] + 0.5 - x_px
    dy = np.arange(y0, y1)[:, None] + 0.5 - y_px
    tilt = rng.uniform(-0.3, 0.3)
    turn = (np.arctan2(dy, dx) - tilt + math.pi) % (2.0 * math.pi)
    outside = np.hypot(dx, dy) - np.interp(turn, _THETA + math.pi, reach, period=2.0 * math.pi)
    cover = np.clip(0.5 - outside, 0.0, 1.0)[..., None].astype(np.float32)
    paint = np.array(colour) + rng.uniform(-14.0, 14.0, 3)
    shade = 1.0 - rng.uniform(0.0, 0.12) * (dx + dy)[..., None] / (2.0 * radius_px)
    view = canvas[y0:y1, x0:x1]
    view += cover * ((paint * shade).astype(np.float32) - view)
    ids[y0:y1, x0:x1][outside < 0.0] = number


def _radius_table(kind: str) -> F64:
    """Radius of the shape at each angle, at most 1, point up in a picture whose y goes down."""
    if kind == "circle":
        return np.full(_THETA.shape, 0.92)
    if kind == "square":
        turn = (_THETA + math.pi / 4.0) % (math.pi / 2.0) - math.pi / 4.0
        square: F64 = math.cos(math.pi / 4.0) / np.cos(turn)
        return square
    if kind == "triangle":
        third = 2.0 * math.pi / 3.0
        turn = (_THETA - math.pi / 2.0 + third / 2.0) % third - third / 2.0
        triangle: F64 = 0.5 / np.cos(turn)
        return triangle
    fifth = 2.0 * math.pi / 5.0
    turn = np.abs((_THETA + math.pi / 2.0 + fifth / 2.0) % fifth - fifth / 2.0)
    inner = 0.42
    # Straight line from the tip at radius 1 to the notch at `inner`, half a fifth further.
    slope = (1.0 - inner * math.cos(fifth / 2.0)) / (inner * math.sin(fifth / 2.0))
    star: F64 = 1.0 / (np.cos(turn) + slope * np.sin(turn))
    return star
