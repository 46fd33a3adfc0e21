"""The surroundings of one object, cut from a picture at the picture's own scale or near it.

Half of them are the picture's own pixels, turned by right angles and mirrored at most, so that
edges are as sharp as they will be in use; the others are turned, scaled and stretched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.micro.data import Still
from train.micro.motion import random_look
from train.micro.sampling import SMALLEST_AREA

#: Share of patches that show the picture's own pixels.
PLAIN = 0.6
#: Sides of a patch to either side of the object, in longer sides of the object.
REACH = 2.5
#: The least that is shown to either side, in pixels.
LEAST_REACH_PX = 24.0
#: The longer side of an object in a patch; larger ones are shown smaller.
LONGEST_PX = 44.0
#: Share of patches whose light, contrast, colour or noise is changed.
LOOK = 0.5
#: How much patches are scaled, stretched and bent, as deviations.
SCALE, STRETCH, BEND = 0.35, 0.1, 0.02


@dataclass(frozen=True)
class Patch:
    """An object and what is around it.

    Attributes:
        colours: (3, H, W) float32 in [0, 1].
        own: (H, W) bool, the object.
        other: (H, W) bool, all other objects.
    """

    colours: Tensor
    own: Tensor
    other: Tensor

    def box(self) -> np.ndarray:
        """(4,) float64, the object's tight box, x0, y0, x1, y1."""
        mask = self.own.numpy()
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def patches_of(still: Still, objects: int, rng: np.random.Generator) -> list[Patch]:
    """Cut patches around some objects of a picture.

    Args:
        still: The picture.
        objects: How many patches at most, each of another object.
        rng: The only source of randomness.
    """
    ids = [number for number, place in enumerate(still.places, 1) if place is not None]
    out: list[Patch] = []
    for number in rng.permutation(ids):
        if len(out) == objects:
            break
        place = still.places[number - 1]
        assert place is not None
        rows, columns = place
        inside = still.ids[rows, columns] == number
        if inside.sum() < SMALLEST_AREA:
            continue
        box = np.array([columns.start, rows.start, columns.stop, rows.stop], np.float64)
        patch = _cut(still, int(number), box, rng)
        if int(patch.own.sum()) >= SMALLEST_AREA:
            out.append(patch)
    return out


def _cut(still: Still, number: int, box: np.ndarray, rng: np.random.Generator) -> Patch:
    longest = float(max(box[2] - box[0], box[3] - box[1]))
    plain = longest <= LONGEST_PX and bool(rng.random() < PLAIN)
    reach = max(REACH * longest, LEAST_REACH_PX) * (1.0 if plain else 1.3)
    middle = (box[:2] + box[2:]) / 2
    height, width = still.ids.shape
    x0, y0 = np.maximum(np.floor(middle - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(middle + reach), (width, height)).astype(int)
    image = torch.from_numpy(still.image[y0:y1, x0:x1].copy()).permute(2, 0, 1).float() / 255
    ids = torch.from_numpy(still.ids[y0:y1, x0:x1].astype(np.int32))
    own, other = ids == number, (ids != 0) & (ids != number)
    if not plain:
        image, own, other = _warped(image, own, other, middle - (x0, y0), longest, rng)
    turn = int(rng.integers(4))
    image, own, other = (torch.rot90(one, turn, (-2, -1)) for one in (image, own, other))
    if rng.random() < 0.5:
        image, own, other = image.flip(-1), own.flip(-1), other.flip(-1)
    if rng.random() < LOOK:
        image = random_look(stretched(image)[None], rng)[0]
    return Patch(image.contiguous(), own.contiguous(), other.contiguous())


def stretched(image: Tensor) -> Tensor:
    """Bring an image to all of [0, 1].

    Many microscope images use the lowest tenth of it: noise and darkening that a photograph bears
    hide everything there.
    """
    low, high = image.amin(), image.amax()
    return (image - low) / (high - low).clamp(min=1 / 255)


def _warped(
    image: Tensor,
    own: Tensor,
    other: Tensor,
    middle: np.ndarray,
    longest: float,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn, scale, stretch and bend; `middle` is the object's in pixels of the image."""
    least, most = math.log(max(6.0 / longest, 0.3)), math.log(LONGEST_PX / longest)
    scale = math.exp(float(np.clip(rng.normal(0.0, SCALE), min(least, most), most)))
    level = max(0, math.floor(math.log2(1 / scale)))
    planes = torch.cat([image, own[None].float(), other[None].float()])
    if level:
        planes = F.avg_pool2d(planes, 2**level, ceil_mode=True)
        middle, scale = middle / 2**level, scale * 2**level
    reach = max(REACH * longest * scale / (2**level), LEAST_REACH_PX)
    side = 2 * math.ceil(reach)
    angle = rng.uniform(0, 2 * math.pi)
    stretch = math.exp(rng.normal(0.0, STRETCH))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = turn @ np.diag([stretch, 1 / stretch]) / scale
    line = torch.arange(side) + 0.5 - side / 2
    down, across = torch.meshgrid(line, line, indexing="ij")
    plane = torch.stack([across, down])
    cells = int(rng.integers(3, 6))
    field = torch.from_numpy(rng.normal(0.0, BEND * side, (1, 2, cells, cells)).astype(np.float32))
    if rng.random() < 0.5:
        plane = (
            plane + F.interpolate(field, size=(side, side), mode="bicubic", align_corners=True)[0]
        )
    a = torch.from_numpy(matrix).float()
    x = a[0, 0] * plane[0] + a[0, 1] * plane[1] + float(middle[0])
    y = a[1, 0] * plane[0] + a[1, 1] * plane[1] + float(middle[1])
    height, width = planes.shape[1:]
    grid = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], dim=-1)[None]
    warped = F.grid_sample(planes[None], grid, padding_mode="reflection", align_corners=False)[0]
    outside = ((grid[0].abs() > 1).any(dim=-1)) & (warped[3] > 0.5)
    own_now = (warped[3] > 0.5) & ~outside
    other_now = ((warped[4] > 0.5) | outside) & ~own_now
    return warped[:3], own_now, other_now
