"""What a click means: discs of several sizes around it are drawn again, and the best stays.

A click says where, and not how large. A mask that took in a neighbour looks as right as any to a
network that draws edges again, while one that begins small grows to the next edge; so drawing
begins with discs, and with the mask that there is. Which drawing stays is said by the network's own
judgement of it, and by where in it the click lies: people click into the middle of what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.edges import Edges, Outline, Placed

#: Radii of the discs, as parts of that of a disc as large as the mask.
SIZES = (0.35, 0.5, 0.7, 1.0)
#: How often each is drawn again before they are compared.
ROUNDS = 2
#: What a click at the deepest place of a drawing is worth beside one at its edge, in logits of the
#: quality; chosen on training images.
CENTRAL = 3.0
#: The smallest radius, in pixels of the frame.
LEAST_PX = 2.0


def draw_pointed(
    edges: Edges,
    image: NDArray[np.uint8],
    outlines: Sequence[Outline],
    *,
    mirrored: bool = False,
) -> list[Placed]:
    """Return the masks with new edges; those of which a click alone is known begin with discs.

    Args:
        edges: Draws.
        image: (H, W, 3) uint8 RGB.
        outlines: Of its objects. A mask under a click says about how large the object is.
        mirrored: As for `Edges.draw`, of the last drawing.

    Returns:
        As `Edges.draw`.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    now = list(outlines)
    rows = [row for row, one in enumerate(now) if one.point is not None and one.given is None]
    tries = [now[row] for row in rows]
    tries += [disc(now[row], part, size) for part in SIZES for row in rows]
    drawn, sure = edges.draw_alone(image, tries, ROUNDS)
    for place, row in enumerate(rows):
        point = now[row].point
        assert point is not None
        best = max(
            range(place, len(tries), len(rows)),
            key=lambda one: likely(drawn[one], sure[one], point),
        )
        mask, box = drawn[best]
        now[row] = replace(now[row], mask=mask, box=box)
    return edges.draw(image, now, mirrored=mirrored)


def likely(place: Placed, quality: float, point: tuple[float, float]) -> float:
    """Return how likely a drawing is what a click meant, in logits and a constant.

    Args:
        place: The drawing.
        quality: The IoU, in [0, 1], that the network thinks it to have.
        point: x, y of the click, in pixels of the frame.
    """
    chance = min(max(quality, 0.01), 0.99)
    return math.log(chance / (1 - chance)) + CENTRAL * centrality(place, point)


def centrality(place: Placed, point: tuple[float, float]) -> float:
    """Return how deep in a mask a point lies: 1 at its deepest place, 0 outside."""
    mask, (x0, y0, _, _) = place
    column, line = math.floor(point[0]) - x0, math.floor(point[1]) - y0
    if not (0 <= line < mask.shape[0] and 0 <= column < mask.shape[1]):
        return 0.0
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return float(depth[line, column] / depth.max())


def disc(outline: Outline, part: float, size: tuple[int, int]) -> Outline:
    """Return a disc around the click instead of the mask.

    Args:
        outline: With a point.
        part: Of the radius that a disc of the mask's area has.
        size: (H, W) of the frame.

    Raises:
        ValueError: There is no point.
    """
    if outline.point is None:
        raise ValueError("this outline has no point; give where it was clicked")
    height, width = size
    x = min(max(outline.point[0], 0.5), width - 0.5)
    y = min(max(outline.point[1], 0.5), height - 0.5)
    radius = max(math.sqrt(int(outline.mask.sum()) / math.pi) * part, LEAST_PX)
    x0, y0 = max(math.floor(x - radius), 0), max(math.floor(y - radius), 0)
    x1, y1 = min(math.ceil(x + radius), width), min(math.ceil(y + radius), height)
    across, down = np.arange(x0, x1) + 0.5 - x, np.arange(y0, y1) + 0.5 - y
    inside = across[None, :] ** 2 + down[:, None] ** 2 <= radius**2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    box = (int(x0 + left), int(y0 + top), int(x0 + right), int(y0 + bottom))
    return replace(outline, mask=np.ascontiguousarray(inside[top:bottom, left:right]), box=box)
