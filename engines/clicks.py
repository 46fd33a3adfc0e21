"""What boxes and clicks mean: each is drawn more than once, and of a click the likeliest stays.

A click says where, and not how large. A mask that took in a neighbour looks as right as any to a
network that draws edges again, while one that begins small grows to the next edge; so drawing
begins with discs, and with the mask that there is. Which of the drawings was meant is told by the
network's own judgement of them; by where in them the click lies, as people click into the middle of
what they mean; by how little a drawing changes when it is drawn again; and by how much the others
resemble it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.edges import Edges, Outline, Placed
from engines.overlaps import iou
from engines.sides import SIDES
from engines.sketches import disc_at

#: Radii of the discs, as parts of that of a disc as large as the mask.
SIZES = (0.14, 0.21, 0.3, 0.5, 0.7, 1.0, 1.4)
#: Those for things that nobody clicked, which do not begin with their masks either: masks that
#: joined neighbours look right to the network, and the smallest discs become parts of things.
UNCLICKED_SIZES = SIZES[2:]
#: From how many sides these drawings are seen.
CLICK_SIDES = 4
#: The smallest radius, in pixels of the frame.
LEAST_PX = 2.0
#: What speaks for a drawing, and how much a unit of each does: fitted to 160 training images by
#: tools/fit_clicks.py.
TERMS = ("sure", "sure_before", "central", "calm", "alike")
WEIGHTS = (2.2, 0.25, 22.0, 7.8, 15.5)


@dataclass(frozen=True, slots=True)
class Guess:
    """What was drawn from one beginning."""

    place: Placed
    sure: float
    """The IoU, in [0, 1], that the network thinks it to have."""
    sure_before: float
    """The same of the drawing before it, around which it was drawn."""
    calm: float
    """The IoU with the drawing before it."""


def draw_prompted(
    edges: Edges, image: NDArray[np.uint8], outlines: Sequence[Outline]
) -> list[Placed]:
    """Return what boxes and clicks mean, each as if it were alone.

    What has a box is drawn twice, at last from all sides and leniently (`engines.edges.LENIENCE`).
    What a click means stays as it was chosen: drawn once more it drifts, and leniently it grows
    where cells touch.

    Args:
        edges: Draws.
        image: (H, W, 3) uint8 RGB.
        outlines: Each with a box or a point. A mask under a click says about how large the object
            is.

    Returns:
        As `Edges.draw`.
    """
    clicks = [row for row, one in enumerate(outlines) if one.given is None]
    boxes = [row for row, one in enumerate(outlines) if one.given is not None]
    chosen, _ = meant(edges, image, [outlines[row] for row in clicks])
    boxed = _draw_boxed(edges, image, [outlines[row] for row in boxes])
    placed = dict(zip([*clicks, *boxes], [*chosen, *boxed], strict=True))
    return [placed[row] for row in range(len(outlines))]


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
        outlines: Each with a point, which counts, and a mask, of which the size counts.
        clicked: Whether somebody chose the points, so that `likeliest` says which drawing stays;
            else the one does that the network takes for the best.

    Returns:
        As `Edges.draw_alone`.
    """
    placed, quality = [], []
    drawn = guesses(edges, image, outlines, clicked=clicked)
    for outline, ones in zip(outlines, drawn, strict=True):
        assert outline.point is not None
        sure = [one.sure for one in ones]
        best = likeliest(ones, outline.point) if clicked else int(np.argmax(sure))
        placed.append(ones[best].place)
        quality.append(sure[best])
    return placed, quality


def guesses(
    edges: Edges,
    image: NDArray[np.uint8],
    outlines: Sequence[Outline],
    *,
    clicked: bool = True,
) -> list[list[Guess]]:
    """Return what is drawn of each outline, twice from each beginning, seen from `CLICK_SIDES`.

    Args:
        edges: Draws.
        image: (H, W, 3) uint8 RGB.
        outlines: Each with a point.
        clicked: Whether to begin with the mask and the discs of `SIZES`; else with those of
            `UNCLICKED_SIZES`.
    """
    size = (int(image.shape[0]), int(image.shape[1]))
    count = len(outlines)
    parts = SIZES if clicked else UNCLICKED_SIZES
    tries = [disc(one, part, size) for part in parts for one in outlines]
    if clicked:
        tries = [*outlines, *tries]
    first, sure_before = edges.draw_alone(image, tries, sides=CLICK_SIDES)
    pairs = zip(tries, first, strict=True)
    again = [replace(outline, mask=mask, box=box) for outline, (mask, box) in pairs]
    drawn, sure = edges.draw_alone(image, again, sides=CLICK_SIDES)
    made = [
        Guess(place, now, then, iou(place, before))
        for place, now, then, before in zip(drawn, sure, sure_before, first, strict=True)
    ]
    return [made[row::count] for row in range(count)]


def _draw_boxed(
    edges: Edges, image: NDArray[np.uint8], outlines: Sequence[Outline]
) -> list[Placed]:
    sketched, _ = edges.draw_alone(image, outlines)
    pairs = zip(outlines, sketched, strict=True)
    now = [replace(outline, mask=mask, box=box) for outline, (mask, box) in pairs]
    return edges.draw(image, now, sides=len(SIDES), apart=False)


def likeliest(drawn: Sequence[Guess], point: tuple[float, float]) -> int:
    """Return which of several drawings a click meant.

    Args:
        drawn: One or more.
        point: x, y of the click, in pixels of the frame.
    """
    return int(np.argmax(terms(drawn, point) @ WEIGHTS))


def terms(drawn: Sequence[Guess], point: tuple[float, float]) -> NDArray[np.float64]:
    """Return (G, 5) what speaks for each drawing, as `TERMS` names it.

    These are the logits of the IoU that the network thinks the last drawing and the one before to
    have, how central the click lies, how little was changed last, and the mean IoU with the others.

    Args:
        drawn: G of them.
        point: See `likeliest`.
    """
    others = max(len(drawn) - 1, 1)
    alike = [sum(iou(one.place, other.place) for other in drawn) - 1.0 for one in drawn]
    return np.stack(
        [
            _logits([one.sure for one in drawn]),
            _logits([one.sure_before for one in drawn]),
            np.array([centrality(one.place, point) for one in drawn]),
            np.array([one.calm for one in drawn]),
            np.array(alike) / others,
        ],
        axis=1,
    )


def _logits(chances: Sequence[float]) -> NDArray[np.float64]:
    """What is taken for perfect or for nothing stays comparable."""
    sure = np.clip(np.asarray(chances, np.float64), 0.01, 0.99)
    logits: NDArray[np.float64] = np.log(sure / (1 - sure))
    return logits


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
