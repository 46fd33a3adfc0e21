"""A stable colour for every object id.

Hues step by the golden angle in OKLCH, so neighbouring ids are far apart, and lightness cycles
over three levels, so ids stay apart for eyes that see fewer hues.
"""

from __future__ import annotations

import math
from functools import lru_cache

Colour = tuple[int, int, int]

GOLDEN_ANGLE_DEG = 137.50776405
LIGHTNESS = (0.80, 0.70, 0.88)
CHROMA = 0.15
FIRST_HUE_DEG = 62.0


@lru_cache(maxsize=4096)
def colour_of(object_id: int) -> Colour:
    """Return the 8-bit sRGB colour of an id."""
    hue = math.radians((FIRST_HUE_DEG + object_id * GOLDEN_ANGLE_DEG) % 360.0)
    lightness = LIGHTNESS[object_id % len(LIGHTNESS)]
    return _oklab_to_srgb(lightness, CHROMA * math.cos(hue), CHROMA * math.sin(hue))


def hex_of(object_id: int) -> str:
    """Return the colour of an id as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(object_id))


def _oklab_to_srgb(lightness: float, a: float, b: float) -> Colour:
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _gamma(linear: float) -> int:
    linear = min(max(linear, 0.0), 1.0)
    curved = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * curved)
