"""What the refiner is trained on: windows around objects, and masks that are not quite theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from engines.closeups import (
    SIDE_PX,
    WIDER_PX,
    around,
    dots,
    inputs_of,
    look,
    rectangles,
    windows_of,
)
from train.micro.patches import Patch
from train.micro.spoiling import discs, ellipses, spoilt

#: Of the examples: with a box that is believed; with a click alone; with neither.
BOXED, CLICKED = 0.3, 0.55
#: Of those with a box or a fair mask the ones that have a click as well.
POINTED = 0.2
#: Of the boxes the exact ones, and how far off the others' sides are, as a part of them.
EXACT, BOX_ERROR = 0.8, 0.04
#: Of the examples with a box those whose mask is an ellipse inside of it.
ELLIPSES = 0.4
#: How far off the window is where no box was given: shift and scale.
WINDOW_SHIFT, WINDOW_SCALE = 0.06, 0.12
#: Of the clicked ones those that begin with a disc, and its radius, as a part of the object's.
DISCS = 0.9
RADII = (0.25, 2.8)
#: Of the clicks those as deep inside as can be; of the others every second lies anywhere.
DEEPEST = 0.75


@dataclass(frozen=True)
class Examples:
    """N windows.

    Attributes:
        inputs: (N, 6, S, S) as the refiner sees them.
        wider: (N, 6, V, V) what lies around.
        target: (N, S, S) in [0, 1], the part of each cell that is the object's.
        areas: (N,) of the whole object, in cells of the window.
        windows: (N, 4) pixels of their patches.
        clicks: (N, 2) pixels; NaN where none was given.
        given: (N, 4) boxes in pixels; NaN where none was given.
        patches: N of them.
    """

    inputs: Tensor
    wider: Tensor
    target: Tensor
    areas: Tensor
    windows: Tensor
    clicks: Tensor
    given: Tensor
    patches: list[Patch]

    def clicked(self) -> Tensor:
        """Return the rows of those with a click and no box."""
        return (~self.clicks[:, 0].isnan() & self.given[:, 0].isnan()).nonzero()[:, 0]


def examples_of(patches: list[Patch], rng: np.random.Generator, looks: int = 1) -> Examples:
    """Draw a window around the object of each patch, and what is known of it.

    Args:
        patches: P of them, one or more.
        rng: The only source of randomness.
        looks: How often each is seen: with the same click, or with another mask or box.

    Returns:
        `looks` times P examples; those of one patch are P rows apart.
    """
    way = np.tile(rng.random(len(patches)), looks)
    patches = patches * looks
    count = len(patches)
    boxed, bare = way < BOXED, (way >= BOXED) & (way < BOXED + CLICKED)
    pointed = bare | (rng.random(count) < POINTED)
    disc = bare & (rng.random(count) < DISCS)
    exact = torch.from_numpy(np.stack([patch.box() for patch in patches])).float()
    once = patches[: count // looks]
    clicks = torch.tensor([_click(patch.own.numpy(), rng) for patch in once]).repeat(looks, 1)
    boxes = torch.where(_column(rng.random(count) < EXACT), exact, _off(exact, rng))
    radii = _radii(patches, rng)
    about = torch.cat([clicks - radii[:, None], clicks + radii[:, None]], dim=1)
    around_what = torch.where(_column(disc), about, _guessed(exact, rng))
    windows = windows_of(torch.where(_column(boxed), boxes, around_what))
    given = torch.where(_column(boxed), boxes, torch.nan)
    known = torch.where(_column(pointed), clicks, torch.nan)
    target, others = covers(patches, windows)
    masks = spoilt(target, others, rng)
    sketched = boxed & (rng.random(count) < ELLIPSES)
    masks = torch.where(_column(sketched)[..., None], ellipses(boxes, windows), masks)
    masks = torch.where(_column(disc)[..., None], discs(clicks, radii, windows), masks)
    return seen(patches, windows, masks, target, given, known)


def seen(
    patches: list[Patch],
    windows: Tensor,
    masks: Tensor,
    target: Tensor,
    given: Tensor,
    clicks: Tensor,
) -> Examples:
    """Put together what is seen through windows: (N, 4), the masks so far (N, S, S), the rest."""
    pairs = list(zip(patches, windows, strict=True))
    colours = torch.cat([look(patch.colours, window[None]) for patch, window in pairs])
    wide = [look(p.colours, around(window[None]), side_px=WIDER_PX) for p, window in pairs]
    inputs, wider = inputs_of(
        colours, masks, rectangles(given, windows), dots(clicks, windows), torch.cat(wide)
    )
    cells = ((windows[:, 2] - windows[:, 0]) / SIDE_PX) ** 2
    areas = torch.tensor([float(patch.own.sum()) for patch in patches]) / cells
    return Examples(inputs, wider, target, areas, windows, clicks, given, patches)


def covers(patches: list[Patch], windows: Tensor) -> tuple[Tensor, Tensor]:
    """Return what part of each cell of N windows is the patch's object, and another one's.

    Both are (N, S, S) in [0, 1].
    """
    pairs = zip(patches, windows, strict=True)
    planes = [look(torch.stack([p.own, p.other]).float(), w[None], "zeros") for p, w in pairs]
    own, other = torch.cat(planes).unbind(dim=1)
    return own, other


def _column(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows)[:, None]


def _click(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """A pixel of a mask: one of the deepest, one near the middle, or any."""
    rows, columns = np.nonzero(mask)
    if rng.random() < DEEPEST:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][rows, columns]
        pick = int(rng.choice(np.flatnonzero(depth >= rng.uniform(0.8, 1.0) * depth.max())))
    elif rng.random() < 0.5:
        spread = 0.1 * np.sqrt(rows.size)
        y, x = rows.mean() + rng.normal(0, spread), columns.mean() + rng.normal(0, spread)
        pick = int(np.argmin((rows - y) ** 2 + (columns - x) ** 2))
    else:
        pick = int(rng.integers(rows.size))
    return float(columns[pick]) + 0.5, float(rows[pick]) + 0.5


def _off(boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 4) boxes whose sides are a little off, and no shorter than two pixels."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    error = torch.from_numpy(rng.normal(0, BOX_ERROR, boxes.shape).clip(-0.1, 0.1)).float()
    moved = boxes + error * sides
    return torch.cat([moved[:, :2], torch.maximum(moved[:, 2:], moved[:, :2] + 2)], dim=1)


def _radii(patches: list[Patch], rng: np.random.Generator) -> Tensor:
    """(N,) radii of discs in pixels."""
    own = torch.tensor([float(patch.own.sum()) for patch in patches]).div(np.pi).sqrt()
    part = np.exp(rng.uniform(math.log(RADII[0]), math.log(RADII[1]), len(patches)))
    return (own * torch.from_numpy(part).float()).clamp(min=2.0)


def _guessed(boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 4) boxes as a poor mask would have them."""
    count, sides = len(boxes), boxes[:, 2:] - boxes[:, :2]
    shift = torch.from_numpy(rng.normal(0, WINDOW_SHIFT, (count, 2))).float().clamp(-0.15, 0.15)
    scale = torch.from_numpy(np.exp(rng.normal(0, WINDOW_SCALE, (count, 2)))).float()
    half, middle = sides * scale / 2, (boxes[:, :2] + boxes[:, 2:]) / 2 + shift * sides
    return torch.cat([middle - half, middle + half], dim=1)
