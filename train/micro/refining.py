"""What the refiner is trained on: windows around objects, and masks that are not quite theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.closeups import SIDE_PX, dots, inputs_of, look, rectangles, windows_of
from train.micro.motion import Clip
from train.micro.sampling import click_in, visible_objects

#: Of the examples: with a box that is believed; with a click alone and hardly a mask; with neither.
BOXED, CLICKED = 0.4, 0.35
#: Of those with a box or a fair mask the ones that have a click as well.
POINTED = 0.3
#: Of the boxes the exact ones, and how far off the others' sides are, as a part of them.
EXACT, BOX_ERROR = 0.5, 0.04
#: Of the examples with a box those whose mask is an ellipse inside of it.
ELLIPSES = 0.3
#: How far off the window is where no box was given: shift and scale; scale after a click.
WINDOW_SHIFT, WINDOW_SCALE, CLICKED_SCALE = 0.06, 0.12, 0.4
#: Radius of what is taken for the object around a click, as a part of the window's side.
AROUND_CLICK = (0.1, 0.6)
#: Cells of the segmenter's mask over an object's longer side.
COARSE = (2.5, 20.0)
#: Masks that swallow a neighbour's part, and masks that lack a part.
SWALLOWS, LACKS = 0.15, 0.15


@dataclass(frozen=True)
class Examples:
    """N windows.

    Attributes:
        inputs: (N, 6, S, S) as the refiner sees them.
        target: (N, S, S) in [0, 1], the part of each cell that is the object's.
        windows: (N, 4) pixels of their pictures.
        clicks: (N, 2) pixels; NaN where none was given.
        given: (N, 4) boxes in pixels; NaN where none was given.
        pictures: (P, 3, H, W).
        ids: (P, H, W).
        places: (N, 2) picture and id of each object.
    """

    inputs: Tensor
    target: Tensor
    windows: Tensor
    clicks: Tensor
    given: Tensor
    pictures: Tensor
    ids: Tensor
    places: Tensor

    def clicked(self) -> Tensor:
        """Return the rows of those with a click and no box."""
        return (~self.clicks[:, 0].isnan() & self.given[:, 0].isnan()).nonzero()[:, 0]


@dataclass(frozen=True)
class _Seen:
    """N objects in their windows; what was not given is NaN."""

    colours: Tensor
    target: Tensor
    others: Tensor
    """(N, S, S) cover of all other objects."""
    windows: Tensor
    boxes: Tensor
    given: Tensor
    clicks: Tensor
    bare: Tensor
    """(N,) bool: hardly more is known than the click."""
    own: Tensor
    """(N,) ids."""


def examples_of(clips: list[Clip], objects: int, rng: np.random.Generator) -> Examples | None:
    """Draw windows around objects of single pictures.

    Args:
        clips: of one frame each.
        objects: windows of each of them at most.
        rng: the only source of randomness.

    Returns:
        Them, or None where nothing is to be seen.
    """
    pairs = [(clip, one) for clip in clips if (one := _of_clip(clip, objects, rng)) is not None]
    if not pairs:
        return None
    found = [one for _, one in pairs]
    names = _Seen.__dataclass_fields__
    seen = _Seen(**{name: torch.cat([getattr(one, name) for one in found]) for name in names})
    masks = _spoilt(seen.target, seen.others, rng)
    boxed = ~seen.given[:, 0].isnan()
    sketched = torch.from_numpy(rng.random(len(masks)) < ELLIPSES) & boxed
    masks = torch.where(sketched[:, None, None], _ellipses(seen.boxes, seen.windows), masks)
    masks = torch.where(seen.bare[:, None, None], _around_clicks(seen, rng), masks)
    inputs = inputs_of(
        seen.colours, masks, rectangles(seen.given, seen.windows), dots(seen.clicks, seen.windows)
    )
    picture = torch.cat([torch.full_like(one.own, at) for at, one in enumerate(found)])
    return Examples(
        inputs,
        seen.target,
        seen.windows,
        seen.clicks,
        seen.given,
        torch.stack([clip.images[0] for clip, _ in pairs]),
        torch.stack([clip.ids[0] for clip, _ in pairs]),
        torch.stack([picture, seen.own], dim=1),
    )


def _of_clip(clip: Clip, objects: int, rng: np.random.Generator) -> _Seen | None:
    """Windows around some objects of one picture."""
    ids = clip.ids[0]
    visible = visible_objects(ids.numpy())
    if visible.size == 0:
        return None
    chosen = rng.choice(visible, min(objects, visible.size), replace=False)
    count = len(chosen)
    own = torch.stack([ids == int(i) for i in chosen])
    boxes = torch.from_numpy(np.stack([_box(mask, rng) for mask in own.numpy()])).float()
    clicks = torch.tensor([click_in(mask, rng, bool(rng.random() < 0.5)) for mask in own.numpy()])
    way = torch.from_numpy(rng.random(count))[:, None]
    boxed, bare = way < BOXED, (way >= BOXED) & (way < BOXED + CLICKED)
    pointed = bare | (torch.from_numpy(rng.random(count)) < POINTED)[:, None]
    windows = windows_of(torch.where(boxed, boxes, _guessed(boxes, clicks, bare, rng)))
    masks = zip(own.float(), windows, strict=True)
    target = torch.cat([look(mask[None], window[None], "zeros") for mask, window in masks])[:, 0]
    anything = look((ids != 0).float()[None], windows, "zeros")[:, 0]
    return _Seen(
        look(clip.images[0], windows),
        target,
        (anything - target).clamp(0, 1),
        windows,
        boxes,
        torch.where(boxed, boxes, torch.full_like(boxes, torch.nan)),
        torch.where(pointed, clicks, torch.full_like(clicks, torch.nan)),
        bare[:, 0],
        torch.from_numpy(chosen.astype(np.int64)),
    )


def _box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask's box, in half of the cases with sides a little off."""
    rows, columns = np.nonzero(mask)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
    if rng.random() >= EXACT:
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        box += rng.normal(0, BOX_ERROR, 4).clip(-0.1, 0.1) * sides
        box[2:] = np.maximum(box[2:], box[:2] + 2)
    return box


def _guessed(boxes: Tensor, clicks: Tensor, bare: Tensor, rng: np.random.Generator) -> Tensor:
    """(N, 4) boxes as a poor mask would have them; where there is a click alone, much off."""
    count, sides = len(boxes), boxes[:, 2:] - boxes[:, :2]
    shift = torch.from_numpy(rng.normal(0, WINDOW_SHIFT, (count, 2))).float().clamp(-0.15, 0.15)
    scale = torch.from_numpy(np.exp(rng.normal(0, WINDOW_SCALE, (count, 2)))).float()
    far = torch.from_numpy(np.exp(rng.normal(0, CLICKED_SCALE, (count, 1)))).float().clamp(0.4, 3)
    half = sides * torch.where(bare, far, scale) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    between = torch.from_numpy(rng.random((count, 1))).float()
    middle = torch.where(bare, centre + between * (clicks - centre), centre + shift * sides)
    return torch.cat([middle - half, middle + half], dim=1)


def _around_clicks(seen: _Seen, rng: np.random.Generator) -> Tensor:
    """(N, S, S) what a segmenter may take for the object that was clicked."""
    count = len(seen.target)
    cells = (torch.arange(SIDE_PX) + 0.5) / SIDE_PX
    side = (seen.windows[:, 2] - seen.windows[:, 0])[:, None]
    at = (seen.clicks.nan_to_num(0.0) - seen.windows[:, :2]) / side
    off = (cells[None, :] - at[:, :1])[:, None, :] ** 2 + (cells[None, :] - at[:, 1:])[
        :, :, None
    ] ** 2
    radius = torch.from_numpy(rng.uniform(*AROUND_CLICK, count)).float()[:, None, None]
    greedy = torch.from_numpy(rng.random(count) < 0.5)[:, None, None]
    blind = torch.from_numpy(rng.random(count) < 0.2)[:, None, None]
    there = torch.where(greedy, seen.target + seen.others, seen.target)
    there = torch.where(blind, torch.ones_like(there), there)
    return ((there > 0.5) & (off < radius**2)).float()


def _ellipses(boxes: Tensor, windows: Tensor) -> Tensor:
    """(N, S, S) bool as float, the ellipse that fills each box."""
    side = (windows[:, 2] - windows[:, 0])[:, None]
    low = (boxes[:, :2] - windows[:, :2]) / side * SIDE_PX
    high = (boxes[:, 2:] - windows[:, :2]) / side * SIDE_PX
    cell = torch.arange(SIDE_PX)[:, None] + 0.5
    off = (2 * cell - (low + high)[:, None]) / (high - low)[:, None]
    return (off[:, :, 1, None] ** 2 + off[:, None, :, 0] ** 2 <= 1).float()


def _spoilt(target: Tensor, others: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks as a segmenter that sees little would have drawn them."""
    count = len(target)

    def random(*shape: int) -> Tensor:
        return torch.from_numpy(rng.random((count, *shape), np.float32))

    masks = target + _halves(rng, count, SWALLOWS) * others
    masks = masks * (1 - _halves(rng, count, LACKS))
    # Moved, turned a little and scaled.
    theta = torch.zeros(count, 2, 3)
    scale, turn = torch.exp((random(2) - 0.5) * 0.4), (random() - 0.5) * 0.3
    theta[:, 0, 0], theta[:, 0, 1] = scale[:, 0] * turn.cos(), -turn.sin()
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin(), scale[:, 1] * turn.cos()
    theta[:, :, 2] = (random(2) - 0.5) * 0.16 * random(1)
    grid = F.affine_grid(theta, [count, 1, SIDE_PX, SIDE_PX], align_corners=False)
    masks = F.grid_sample(masks[:, None], grid, align_corners=False)
    # Bumpy, by noise of two scales under a threshold.
    bumps = torch.zeros_like(masks)
    for cells, strength in ((5, 0.5), (11, 0.4)):
        field = torch.from_numpy(rng.standard_normal((count, 1, cells, cells), np.float32))
        field = F.interpolate(field, size=(SIDE_PX, SIDE_PX), mode="bicubic", align_corners=True)
        bumps += strength * random(1, 1, 1) * field
    soft = F.avg_pool2d(masks, 9, stride=1, padding=4, count_include_pad=False)
    masks = (soft + 0.35 * bumps > 0.5).float()
    return torch.cat([_coarse(mask[None], rng) for mask in masks])[:, 0]


def _coarse(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw (1, 1, S, S) on a coarse grid, and out again."""
    cells = float(np.exp(rng.uniform(*np.log(COARSE))))
    grid = round(cells * 2)
    if grid >= SIDE_PX:
        return mask
    small = F.interpolate(mask, size=(grid, grid), mode="area")
    large = F.interpolate(small, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
    return (large > float(rng.uniform(0.3, 0.6))).float()


def _halves(rng: np.random.Generator, count: int, share: float) -> Tensor:
    """(N, S, S) part of the window beyond a random line, in a share of them; else nothing."""
    angle = torch.from_numpy(rng.uniform(0, 2 * np.pi, count)).float()[:, None, None]
    off = torch.from_numpy(rng.uniform(0.05, 0.5, count)).float()[:, None, None]
    line = (torch.arange(SIDE_PX) + 0.5) / SIDE_PX * 2 - 1
    away = angle.cos() * line[None, None, :] + angle.sin() * line[None, :, None]
    use = torch.from_numpy(rng.random(count) < share)[:, None, None]
    return ((away > off) & use).float()
