"""Crops, small motions, covers and looks: the augmentation of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from train.readers.samples import IGNORE

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels."""


def choose_crop(
    ids: NDArray[np.uint16], least: float, rng: np.random.Generator, whole: float = 0.3
) -> Box:
    """Choose a part of an image that holds some of an object.

    Args:
        ids: (H, W) of the first frame.
        least: The smallest side as a share of the image's.
        rng: The only source of randomness.
        whole: How often the whole image is taken.
    """
    height, width = ids.shape
    inside = np.flatnonzero((ids.ravel() != 0) & (ids.ravel() != IGNORE))
    if least >= 1.0 or inside.size == 0 or rng.random() < whole:
        return 0, 0, width, height
    # Each object has the same chance to be in the middle of things, whatever its size.
    chosen = rng.choice(np.unique(ids.ravel()[inside]))
    pixels = np.flatnonzero(ids.ravel() == chosen)
    y, x = divmod(int(pixels[int(rng.integers(pixels.size))]), width)
    scale, shape = rng.uniform(least, 1.0), float(np.exp(rng.uniform(-0.15, 0.15)))
    w, h = (max(8, round(v)) for v in (width * scale * shape, height * scale / shape))
    w, h = min(w, width), min(h, height)
    x0 = int(rng.integers(max(0, x - w + 1), min(x, width - w) + 1))
    y0 = int(rng.integers(max(0, y - h + 1), min(y, height - h) + 1))
    return x0, y0, x0 + w, y0 + h


def squeeze(
    image: NDArray[np.uint8], ids: NDArray[np.uint16], box: Box, side: int
) -> tuple[Tensor, Tensor]:
    """Cut a box out and bring it to the model's square input, as SAM 2 does, proportions lost.

    Returns:
        (3, side, side) float32 in [0, 1] and (side, side) int32 ids.
    """
    x0, y0, x1, y1 = box
    planes = torch.from_numpy(np.ascontiguousarray(image[y0:y1, x0:x1])).permute(2, 0, 1)
    picture = F.interpolate(
        planes[None].float() / 255.0, size=(side, side), mode="bilinear", antialias=True
    )
    rows = ((np.arange(side) + 0.5) * (y1 - y0) / side).astype(np.int64) + y0
    columns = ((np.arange(side) + 0.5) * (x1 - x0) / side).astype(np.int64) + x0
    marks = torch.from_numpy(ids[np.ix_(rows, columns)].astype(np.int32))
    return picture[0].clamp(0.0, 1.0), marks


@dataclass(frozen=True)
class Motion:
    """A turned, sheared and bent view that moves on by as much from frame to frame.

    Attributes:
        turn: Angle at first and its change a frame, radians.
        shear: At first.
        zoom: Logarithm at first and its change a frame.
        drift: Change of place a frame, x y, in half sides of the frame.
        bend: (2, 2, c, c) amplitudes of an elastic field, in half sides.
        pace: Of the field, radians a frame.
        mirror: -1 mirrors left and right, or up and down.
    """

    turn: tuple[float, float] = (0.0, 0.0)
    shear: float = 0.0
    zoom: tuple[float, float] = (0.0, 0.0)
    drift: tuple[float, float] = (0.0, 0.0)
    bend: NDArray[np.float32] | None = None
    pace: float = 0.0
    mirror: tuple[float, float] = (1.0, 1.0)

    def grid(self, time: float, side: int) -> Tensor:
        """Sampling grid of one frame, (side, side, 2) as x y in -1 to 1."""
        line = torch.linspace(-1.0 + 1.0 / side, 1.0 - 1.0 / side, side)
        down, across = torch.meshgrid(line, line, indexing="ij")
        if self.bend is not None:
            phase = self.pace * time
            field = torch.from_numpy(self.bend[0] * np.cos(phase) + self.bend[1] * np.sin(phase))
            moved = F.interpolate(
                field[None].float(), size=(side, side), mode="bicubic", align_corners=True
            )[0]
            across, down = across + moved[0], down + moved[1]
        angle = self.turn[0] + self.turn[1] * time
        size = float(np.exp(self.zoom[0] + self.zoom[1] * time))
        cosine, sine = float(np.cos(angle)) * size, float(np.sin(angle)) * size
        across = across + self.shear * down
        x = cosine * across - sine * down + self.drift[0] * time
        y = sine * across + cosine * down + self.drift[1] * time
        return torch.stack([x * self.mirror[0], y * self.mirror[1]], dim=-1)


def choose_motion(rng: np.random.Generator, *, rotate_deg: float, flip: str, moves: bool) -> Motion:
    """Choose a view, and where it moves to if it does."""
    mirror = [1.0, 1.0]
    if flip != "none" and rng.random() < 0.5:
        mirror[0] = -1.0
    if flip == "both" and rng.random() < 0.5:
        mirror[1] = -1.0
    # Half of the pictures stay as sharp as they are: each warp blurs a little.
    turned = rotate_deg > 0 and rng.random() < 0.5
    limit = np.deg2rad(rotate_deg)
    motion = Motion(
        turn=(float(rng.uniform(-limit, limit)) if turned else 0.0, 0.0),
        shear=float(rng.uniform(-0.15, 0.15)) if turned else 0.0,
        zoom=(float(rng.normal(0.0, 0.1)) if turned else 0.0, 0.0),
        mirror=(mirror[0], mirror[1]),
    )
    if not moves:
        return motion
    cells = int(rng.integers(3, 6))
    speed = float(rng.choice([0.0, 0.02, 0.06, 0.12]))
    drift = rng.normal(0.0, speed, 2)
    return Motion(
        turn=(motion.turn[0], float(rng.normal(0.0, 0.05))),
        shear=motion.shear,
        zoom=(motion.zoom[0], float(rng.normal(0.0, 0.02))),
        drift=(float(drift[0]), float(drift[1])),
        bend=rng.normal(0.0, rng.choice([0.0, 0.02]), (2, 2, cells, cells)).astype(np.float32),
        pace=float(rng.uniform(0.1, 0.5)),
        mirror=motion.mirror,
    )


def warp(images: Tensor, ids: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    """Look at (T, 3, S, S) images and (T, S, S) ids through a motion.

    Beyond the border the image is mirrored and the ids are to be ignored.
    """
    side = images.shape[-1]
    grid = torch.stack([motion.grid(float(t), side) for t in range(len(images))])
    pictures = F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    marks = F.grid_sample(
        ids[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )[:, 0].int()
    outside = (grid.abs() > 1.0).any(dim=-1)
    return pictures.clamp(0.0, 1.0), marks.masked_fill(outside, IGNORE)


def cover(images: Tensor, ids: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Cover an object of a film for a while after its first frame, as something passing would."""
    frames, side = len(images), images.shape[-1]
    known = [int(i) for i in torch.unique(ids[0]).tolist() if i not in (0, IGNORE)]
    if frames < 2 or not known:
        return images, ids
    chosen = known[int(rng.integers(len(known)))]
    first = int(rng.integers(1, frames))
    last = int(rng.integers(first, frames)) + 1
    images, ids = images.clone(), ids.clone()
    # The frame's own colours without its detail, from elsewhere in it.
    cloth = F.avg_pool2d(images[0].flip(-1, -2)[None], side // 8)
    cloth = F.interpolate(cloth, size=(side, side), mode="bilinear", align_corners=False)[0]
    room = float(rng.uniform(0.9, 1.6))
    for t in range(first, last):
        ys, xs = torch.nonzero(ids[t] == chosen, as_tuple=True)
        if len(ys) == 0:
            continue
        y0, y1, x0, x1 = (int(v) for v in (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1))
        cy, cx = (y0 + y1) / 2, (x0 + x1) / 2
        h, w = max(2.0, (y1 - y0) * room / 2), max(2.0, (x1 - x0) * room / 2)
        rows = slice(max(0, int(cy - h)), int(cy + h) + 1)
        columns = slice(max(0, int(cx - w)), int(cx + w) + 1)
        images[t, :, rows, columns] = cloth[:, rows, columns]
        ids[t, rows, columns] = 0
    return images, ids


def recolour(images: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Change light and colour of a clip (T, 3, S, S), alike in all frames but for a flicker."""
    if strength <= 0.0:
        return images
    out = images
    if rng.random() < 0.7:
        out = out.clamp_min(1e-4) ** float(np.exp(rng.normal(0.0, strength)))
    if rng.random() < 0.05:
        out = out.mean(dim=1, keepdim=True).expand_as(out)
    elif rng.random() < 0.7:
        grey = out.mean(dim=1, keepdim=True)
        out = grey + (out - grey) * float(np.exp(rng.normal(0.0, 2 * strength)))
    gain, offset = float(np.exp(rng.normal(0.0, strength))), float(rng.normal(0.0, strength / 3))
    flicker = torch.tensor(rng.normal(1.0, strength / 8, (len(out), 1, 1, 1)), dtype=torch.float32)
    out = (out - 0.5) * gain * flicker + 0.5 + offset
    if rng.random() < 0.3:
        noise = torch.from_numpy(rng.standard_normal(out.shape, dtype=np.float32))
        out = out + float(rng.uniform(0.0, strength / 6)) * noise
    return out.clamp(0.0, 1.0)
