"""What the finder is trained on: centres and boxes of all objects of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from engines.finder import STRIDE_PX, Finder
from train.micro.sampling import SMALLEST_AREA
from train.micro.segmenter import Features

#: Width of the hill around a centre, as a part of the root of the object's area, and at least.
HILL, LEAST_HILL_PX = 0.15, 2.5
#: Cells so near to a centre learn where the sides are.
BOX_FROM = 0.25
#: Cells of objects that are too small to be asked for: neither centre nor nothing.
UNKNOWN = -1.0


@dataclass(frozen=True)
class Goal:
    """What the finder should tell of B frames.

    Attributes:
        heat: (B, h, w) 1 at centres, falling off inside of the object; -1 where nothing is asked.
        sides: (B, 4, h, w) pixels to the left, upper, right and lower side of the object here.
    """

    heat: Tensor
    sides: Tensor


def goal_of(ids: NDArray[np.int32]) -> Goal:
    """Return the goal of (B, S, S) instance ids."""
    found = [_goal_of_one(marks) for marks in ids]
    return Goal(
        torch.from_numpy(np.stack([heat for heat, _ in found])),
        torch.from_numpy(np.stack([sides for _, sides in found])),
    )


def finding_loss(finder: Finder, features: Features, goal: Goal) -> tuple[Tensor, Tensor]:
    """Losses of centres and of boxes.

    Centres: the focal loss that forgives what is near one (Zhou et al. 2019). Boxes: one minus the
    generalised IoU (Rezatofighi et al. 2019, arXiv 1902.09630), near centres only.

    Args:
        finder: The head.
        features: Of B frames.
        goal: Of the same frames, on their device.

    Returns:
        Two scalars.
    """
    logits, sides = finder(features.top, features.high[1], features.high[0])
    heat = goal.heat
    centre = heat == 1.0
    chance = logits.sigmoid()
    hit = (1 - chance) ** 2 * F.softplus(-logits) * centre
    away = (1 - heat.clamp(min=0.0)) ** 4 * chance**2 * F.softplus(logits)
    away = away * (~centre & (heat >= 0))
    count = centre.sum().clamp(min=1)
    centres = (hit.sum() + away.sum()) / count
    near = heat >= BOX_FROM
    if not bool(near.any()):
        return centres, sides.sum() * 0.0
    told, true = (s.permute(0, 2, 3, 1)[near] for s in (sides, goal.sides))
    weight = heat[near]
    boxes = ((1 - _generalised_iou(told, true)) * weight).sum() / weight.sum()
    return centres, boxes


def _generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """Of boxes around the same place, as (N, 4) distances to their sides."""
    small, large = torch.minimum(one, other), torch.maximum(one, other)
    both = (small[:, 0] + small[:, 2]) * (small[:, 1] + small[:, 3])
    hull = (large[:, 0] + large[:, 2]) * (large[:, 1] + large[:, 3])
    areas = [(b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3]) for b in (one, other)]
    union = areas[0] + areas[1] - both
    return both / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def _goal_of_one(ids: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    values, marks = np.unique(ids, return_inverse=True)
    marks = marks.reshape(ids.shape)
    cells = ids.shape[0] // STRIDE_PX
    heat = np.zeros((cells, cells), np.float32)
    sides = np.ones((4, cells, cells), np.float32)
    middle_px = (np.arange(cells, dtype=np.float32) + 0.5) * STRIDE_PX
    own = marks[STRIDE_PX // 2 :: STRIDE_PX, STRIDE_PX // 2 :: STRIDE_PX]
    # One more than the number, as find_objects leaves out what is numbered 0.
    for number, part in enumerate(ndimage.find_objects(marks + 1)):
        if values[number] == 0 or part is None:
            continue
        mask = marks[part] == number
        area = int(mask.sum())
        y0, y1, x0, x1 = part[0].start, part[0].stop, part[1].start, part[1].stop
        if area < SMALLEST_AREA:
            heat[own == number] = UNKNOWN
            continue
        y, x = _middle(mask)
        row, column = (y0 + y) // STRIDE_PX, (x0 + x) // STRIDE_PX
        cy, cx = (row + 0.5) * STRIDE_PX, (column + 0.5) * STRIDE_PX
        spread = max(LEAST_HILL_PX, HILL * float(np.sqrt(area)))
        rows = slice(y0 // STRIDE_PX, -(-y1 // STRIDE_PX))
        columns = slice(x0 // STRIDE_PX, -(-x1 // STRIDE_PX))
        down, across = middle_px[rows, None], middle_px[None, columns]
        hill = np.exp(-((down - cy) ** 2 + (across - cx) ** 2) / (2 * spread**2))
        mine = own[rows, columns] == number
        mine[row - rows.start, column - columns.start] = True
        ways = np.broadcast_arrays(across - x0, down - y0, x1 - across, y1 - down)
        heat[rows, columns][mine] = np.minimum(hill, 0.99)[mine]
        for side, way in zip(sides, ways, strict=True):
            side[rows, columns][mine] = np.maximum(way, 0.5)[mine]
        heat[row, column] = 1.0
    return heat, sides


def _middle(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel of a mask that is nearest to its centroid."""
    rows, columns = np.nonzero(mask)
    nearest = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    return int(rows[nearest]), int(columns[nearest])
