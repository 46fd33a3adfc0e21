"""Prompts drawn from truth, and corrections drawn from what was got wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from engines.prompts import render_prompt
from train.micro.sampling import box_of

Region = NDArray[np.bool_]
Click = tuple[float, float, int]
"""x and y in pixels, 1 on the object and 0 off it."""


@dataclass(frozen=True)
class Points:
    """Points of N objects, as SAM 2 takes them.

    Attributes:
        coords: (N, P, 2) float32, x y in pixels of the input; a box is its two corners.
        labels: (N, P) int32; 1 on the object, 0 off it, 2 and 3 box corners, -1 nothing.
        boxes: (N, 4) float32 the same boxes, or None.
    """

    coords: Tensor
    labels: Tensor
    boxes: Tensor | None = None

    def to(self, device: torch.device) -> Points:
        """The same on another device."""
        boxes = None if self.boxes is None else self.boxes.to(device)
        return Points(self.coords.to(device), self.labels.to(device), boxes)

    def plus(self, clicks: list[Click]) -> Points:
        """Add one click to each object."""
        coords, labels = _tensors(clicks, self.coords.device)
        return replace(
            self,
            coords=torch.cat([self.coords, coords], dim=1),
            labels=torch.cat([self.labels, labels], dim=1),
        )

    def drawn(self, image_size: int) -> Tensor:
        """The prompt as a picture, (N, 1, s, s), for models that are prompted so too."""
        clicks = self.labels <= 1
        columns = clicks.any(dim=0)
        points = self.coords[:, columns] if bool(columns.any()) else None
        labels = self.labels[:, columns] if points is not None else None
        return render_prompt(image_size, points, labels, self.boxes)


def first_clicks(clicks: list[Click]) -> Points:
    """One click for each object."""
    return Points(*_tensors(clicks, torch.device("cpu")))


def first_boxes(boxes: list[tuple[float, float, float, float]]) -> Points:
    """One box for each object."""
    corners = torch.tensor(boxes, dtype=torch.float32)
    labels = torch.tensor([2, 3], dtype=torch.int32).expand(len(boxes), 2)
    return Points(corners.view(-1, 2, 2), labels, corners)


def any_in(region: Region, rng: np.random.Generator) -> tuple[float, float]:
    """The middle of any pixel of a region, x y."""
    ys, xs = np.nonzero(region)
    pick = int(rng.integers(len(xs)))
    return float(xs[pick]) + 0.5, float(ys[pick]) + 0.5


def deepest_in(region: Region) -> tuple[float, float]:
    """The middle of the pixel that is farthest from a region's edge, x y.

    It is where a person clicks, near enough (Sofiiuk et al. 2021), and never random.
    """
    # Only the part around the region is looked at; the frame's border counts as an edge.
    ys, xs = np.nonzero(region)
    y0, x0 = int(ys.min()), int(xs.min())
    part = np.pad(region[y0 : ys.max() + 1, x0 : xs.max() + 1], 1)
    y, x = np.unravel_index(int(np.argmax(distance_transform_edt(part))), part.shape)
    return x0 + float(x) - 0.5, y0 + float(y) - 0.5


def correction(
    truth: Region, found: Region, valid: Region, rng: np.random.Generator | None
) -> Click:
    """A click on what was got wrong: on the object where missed, off it where too much.

    Args:
        truth: (S, S) the object.
        found: (S, S) what was found of it.
        valid: (S, S) pixels that are known; no click falls on others.
        rng: Draws any pixel of the error; None takes the deepest of the larger kind of error.

    Returns:
        The click. Where nothing is wrong, one that is right: on the object, or off where there is
        none.
    """
    missed, extra = truth & ~found & valid, found & ~truth & valid
    if rng is None:
        return _deepest_error(truth, missed, extra, valid)
    wrong = missed | extra
    if not wrong.any():
        return _right(truth, valid, rng)
    x, y = any_in(wrong, rng)
    return x, y, int(truth[int(y), int(x)])


def _deepest_error(truth: Region, missed: Region, extra: Region, valid: Region) -> Click:
    # The deeper of two errors is the larger for whoever sees them; area decides between equals.
    depths = [_depth(missed), _depth(extra)]
    if max(depths) == (0.0, 0):
        return _right(truth, valid, None)
    if depths[0] >= depths[1]:
        return (*deepest_in(missed), 1)
    return (*deepest_in(extra), 0)


def _depth(region: Region) -> tuple[float, int]:
    area = int(region.sum())
    if not area:
        return 0.0, 0
    return float(distance_transform_edt(np.pad(region, 1)).max()), area


def _right(truth: Region, valid: Region, rng: np.random.Generator | None) -> Click:
    for region, label in ((truth & valid, 1), (~truth & valid, 0)):
        if region.any():
            return (*(any_in(region, rng) if rng else deepest_in(region)), label)
    # Nothing is known of this frame: a point that says nothing.
    return 0.0, 0.0, -1


def jittered_box(
    truth: Region, rng: np.random.Generator | None
) -> tuple[float, float, float, float]:
    """The object's box, xyxy with exclusive right and bottom; drawn carelessly with an rng."""
    x0, y0, x1, y1 = box_of(truth, rng)
    height, width = truth.shape
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def _tensors(clicks: list[Click], device: torch.device) -> tuple[Tensor, Tensor]:
    table = torch.tensor(clicks, dtype=torch.float32, device=device)
    return table[:, None, :2], table[:, None, 2].int()
