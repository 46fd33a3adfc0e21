"""What boxes and clicks mean: each is drawn more than once, and of a click the likeliest stays.

A click says where, and not how large. A mask that took in a neighbour looks as right as any to a
network that draws edges again, while one that begins small grows to the next edge; so drawing
begins with discs, and with the mask that there is. How likely a drawing is what was meant is said
by the network's own judgement of it, and by where in it the click lies: people click into the
middle of what they mean. The drawing stays whose IoU with what was meant is the highest to be
expected, so that one that others resemble wins against one that is alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.edges import Edges, Outline, Placed
from engines.overlaps import iou
from engines.sketches import disc_at

#: Radii of the discs, as parts of that of a disc as large as the mask.
SIZES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)
#: How often each is drawn again before they are compared.
ROUNDS = 2
#: The smallest radius, in pixels of the frame.
LEAST_PX = 2.0
#: What a click at the deepest place of a drawing is worth beside one at its edge, in logits of the
#: quality; and how many of these make odds of e. Both were chosen on training images.
CENTRAL, TEMPERATURE = 4.0, 0.6


def draw_pointed(
    edges: Edges,
    image: NDArray[np.uint8],
    outlines: Sequence[Outline],
    *,
    mirrored: bool = False,
    apart: bool = True,
) -> list[Placed]:
    """Return the masks with new edges; those of which a click alone is known begin with discs.

    Args:
        edges: Draws.
        image: (H, W, 3) uint8 RGB.
        outlines: Of its objects. A mask under a click says about how large the object is.
        mirrored: As for `Edges.draw`, of the last drawing; what has a box is drawn once before it,
            from one side.
        apart: As for `Edges.draw`.

    Returns:
        As `Edges.draw`.
    """
    now = list(outlines)
    if mirrored:
        _sketch_boxed(edges, image, now)
    rows = [row for row, one in enumerate(now) if one.point is not None and one.given is None]
    placed, _ = meant(edges, image, [now[row] for row in rows])
    for row, (mask, box) in zip(rows, placed, strict=True):
        now[row] = replace(now[row], mask=mask, box=box)
    return edges.draw(image, now, mirrored=mirrored, apart=apart)


def meant(
    edges: Edges,
    image: NDArray[np.uint8],
    outlines: Sequence[Outline],
    *,
    clicked: bool = True,
) -> tuple[list[Placed], list[float]]:
    """Return what points mean, each as if it were alone, and how good it is thought to be.

    Args:
        edges: Draws.
        image: (H, W, 3) uint8 RGB.
        outlines: Each with a point, which counts, and a mask, which is one way to begin.
        clicked: Whether somebody chose the points, so that `likeliest` says which drawing stays;
            else the one does that the network takes for the best.

    Returns:
        As `Edges.draw_alone`.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    count = len(outlines)
    tries = [*outlines, *(disc(one, part, size) for part in SIZES for one in outlines)]
    drawn, sure = edges.draw_alone(image, tries, ROUNDS)
    placed, quality = [], []
    for row, outline in enumerate(outlines):
        assert outline.point is not None
        ones = range(row, len(tries), count)
        best = max(ones, key=sure.__getitem__)
        if clicked:
            same = [drawn[one] for one in ones], [sure[one] for one in ones]
            best = ones[likeliest(*same, outline.point)]
        placed.append(drawn[best])
        quality.append(sure[best])
    return placed, quality


def _sketch_boxed(edges: Edges, image: NDArray[np.uint8], outlines: list[Outline]) -> None:
    rows = [row for row, one in enumerate(outlines) if one.given is not None]
    drawn, _ = edges.draw_alone(image, [outlines[row] for row in rows])
    for row, (mask, box) in zip(rows, drawn, strict=True):
        outlines[row] = replace(outlines[row], mask=mask, box=box)


def likeliest(drawn: Sequence[Placed], sure: Sequence[float], point: tuple[float, float]) -> int:
    """Return which of several drawings has the highest IoU to be expected with what a click meant.

    Args:
        drawn: One or more.
        sure: The IoU, in [0, 1], that the network thinks each to have.
        point: x, y of the click, in pixels of the frame.
    """
    chance = np.clip(np.asarray(sure, np.float64), 0.01, 0.99)
    depth = np.array([centrality(place, point) for place in drawn])
    worth = (np.log(chance / (1 - chance)) + CENTRAL * depth) / TEMPERATURE
    odds = np.exp(worth - worth.max())
    shared = np.array([[iou(one, other) for other in drawn] for one in drawn])
    return int(np.argmax(shared @ odds))


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
    radius = max(math.sqrt(int(outline.mask.sum()) / math.pi) * part, LEAST_PX)
    mask, box = disc_at(outline.point, radius, size)
    return replace(outline, mask=mask, box=box)
