"""Clips from labelled stills.

Smooth random motion, random looks, and pasted objects that move, occlude and vanish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.micro.data import Still

#: Ids of mirrored copies beyond a still's border start here; the copies are objects of their own.
_MIRRORED = 20000
#: Ids of pasted objects start here.
_PASTED = 40000


@dataclass(frozen=True)
class Clip:
    """Frames with instance ids.

    Attributes:
        images: (T, 3, S, S) float32 in [0, 1].
        ids: (T, S, S) int32, 0 is background.
    """

    images: Tensor
    ids: Tensor


def clip_from_still(
    still: Still,
    frames: int,
    size: int,
    rng: np.random.Generator,
    donor: Still | None = None,
    object_px: tuple[float, float] = (9.0, 96.0),
) -> Clip:
    """Animate a still.

    Args:
        still: the image that moves.
        frames: how many frames to make.
        size: side of the square output in pixels.
        rng: the only source of randomness.
        donor: if given, some of its objects are pasted on top and move on their own.
        object_px: range of the typical object diameter after zooming, in output pixels.
    """
    side = _crop_side(still, size, rng, object_px)
    motion = _Motion(rng, still.ids.shape, side)
    clip = motion.render(still, frames, size)
    if donor is not None:
        clip = _paste(clip, donor, rng, object_px)
    return Clip(random_look(clip.images, rng), clip.ids)


def typical_diameter(ids: np.ndarray) -> float:
    """Median diameter in pixels of an id mask's objects, each taken for a disc of its area."""
    counts = np.bincount(ids.ravel())[1:]
    counts = counts[counts > 0]
    if counts.size == 0:
        return 20.0
    return float(2.0 * np.sqrt(np.median(counts) / np.pi))


def _crop_side(
    still: Still, size: int, rng: np.random.Generator, object_px: tuple[float, float]
) -> float:
    wanted = float(np.exp(rng.uniform(*np.log(object_px))))
    side = size * typical_diameter(still.ids) / wanted
    shortest = min(still.ids.shape)
    return float(np.clip(side, min(48.0, shortest), shortest))


class _Motion:
    """A smooth path of one affine map and one elastic field through a still."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], side: float) -> None:
        height, width = shape
        self.shape = (height, width)
        half = side / 2.0
        self.centre = np.array(
            [rng.uniform(half, width - half + 1e-3), rng.uniform(half, height - half + 1e-3)]
        )
        self.half = half
        speed = float(rng.choice([0.0, 0.01, 0.03, 0.06]))
        self.drift = rng.normal(0.0, speed, 2) * half
        self.angle = rng.uniform(0.0, 2 * np.pi)
        self.spin = rng.normal(0.0, 0.04)
        self.zoom = rng.normal(0.0, 0.015)
        self.flip = -1.0 if rng.random() < 0.5 else 1.0
        self.stretch = np.exp(rng.normal(0.0, 0.1))
        cells = int(rng.integers(3, 7))
        amplitude = float(rng.choice([0.0, 0.02, 0.05]))
        self.field = rng.normal(0.0, amplitude, (2, 2, cells, cells)).astype(np.float32)
        self.pace = rng.uniform(0.1, 0.5)

    def grid(self, time: float, size: int) -> Tensor:
        """Sampling grid of one frame in source pixels, (size, size, 2) as x y."""
        line = torch.linspace(-1.0 + 1.0 / size, 1.0 - 1.0 / size, size)
        down, across = torch.meshgrid(line, line, indexing="ij")
        plane = torch.stack([across * self.flip, down])
        mix = float(np.sin(self.pace * time)), float(np.cos(self.pace * time))
        field = torch.from_numpy(self.field[0] * mix[0] + self.field[1] * mix[1])[None]
        plane = (
            plane + F.interpolate(field, size=(size, size), mode="bicubic", align_corners=True)[0]
        )
        angle, zoom = self.angle + self.spin * time, float(np.exp(self.zoom * time)) * self.half
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        x = (cosine * plane[0] - sine * plane[1] * self.stretch) * zoom + self.centre[0]
        y = (sine * plane[0] + cosine * plane[1] * self.stretch) * zoom + self.centre[1]
        return torch.stack([x + self.drift[0] * time, y + self.drift[1] * time], dim=-1)

    def render(self, still: Still, frames: int, size: int) -> Clip:
        height, width = self.shape
        grid = torch.stack([self.grid(float(t), size) for t in range(frames)])
        low = grid.amin(dim=(0, 1, 2)).floor().clamp_min(0)
        high = grid.amax(dim=(0, 1, 2)).ceil() + 1
        x0, y0 = int(low[0].clamp_max(width - 2)), int(low[1].clamp_max(height - 2))
        x1, y1 = int(high[0].clamp(x0 + 2, width)), int(high[1].clamp(y0 + 2, height))
        # Only the part of a large still that is looked at is converted.
        image = torch.from_numpy(still.image[y0:y1, x0:x1].copy())
        image = image.permute(2, 0, 1)[None].float() / 255.0
        ids = torch.from_numpy(still.ids[y0:y1, x0:x1].astype(np.float32))[None, None]
        extent = torch.tensor([x1 - x0, y1 - y0], dtype=torch.float32)
        unit = (grid - torch.tensor([x0, y0]) + 0.0) / extent * 2.0 - 1.0
        pictures, labels = [], []
        for one in unit:
            sampled = F.grid_sample(
                image, one[None], mode="bilinear", padding_mode="reflection", align_corners=False
            )
            marks = F.grid_sample(
                ids, one[None], mode="nearest", padding_mode="reflection", align_corners=False
            )[0, 0].int()
            outside = (one.abs() > 1.0).any(dim=-1)
            pictures.append(sampled[0])
            labels.append(torch.where(outside & (marks > 0), marks + _MIRRORED, marks))
        return Clip(torch.stack(pictures), torch.stack(labels))


def _paste(
    clip: Clip, donor: Still, rng: np.random.Generator, object_px: tuple[float, float]
) -> Clip:
    """Paste 1-4 objects of the donor that move on their own; some vanish or appear midway."""
    images, ids = clip.images.clone(), clip.ids.clone()
    frames, size = ids.shape[0], ids.shape[-1]
    present = np.unique(donor.ids)[1:]
    if present.size == 0:
        return clip
    for number in range(int(rng.integers(1, 5))):
        chosen = int(rng.choice(present))
        rows, columns = np.nonzero(donor.ids == chosen)
        y0, y1, x0, x1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        diameter = max(y1 - y0, x1 - x0)
        if diameter < 6:
            continue
        patch = (
            torch.from_numpy(donor.image[y0:y1, x0:x1].copy()).permute(2, 0, 1)[None].float() / 255
        )
        alpha = torch.from_numpy((donor.ids[y0:y1, x0:x1] == chosen).astype(np.float32))[None, None]
        scale = float(np.exp(rng.uniform(*np.log(object_px)))) / diameter
        position, velocity = rng.uniform(-0.9, 0.9, 2), rng.normal(0.0, 0.04, 2)
        angle, spin = rng.uniform(0, 2 * np.pi), rng.normal(0.0, 0.06)
        first, last = 0, frames
        if frames > 1 and rng.random() < 0.4:
            last = int(rng.integers(1, frames))
        elif frames > 1 and rng.random() < 0.2:
            first = int(rng.integers(1, frames))
        half = torch.tensor([(x1 - x0) * scale / size, (y1 - y0) * scale / size])
        for t in range(first, last):
            centre = position + velocity * t
            turn = angle + spin * t
            cosine, sine = float(np.cos(turn)), float(np.sin(turn))
            rotation = torch.tensor([[cosine, sine], [-sine, cosine]])
            matrix = (rotation / half[:, None]).float()
            offset = -(matrix * torch.tensor(centre, dtype=torch.float32)).sum(dim=1)
            theta = torch.cat([matrix, offset[:, None]], dim=1)[None]
            grid = F.affine_grid(theta, [1, 1, size, size], align_corners=False)
            cover = F.grid_sample(alpha, grid, mode="bilinear", align_corners=False)[0, 0]
            colour = F.grid_sample(
                patch, grid, mode="bilinear", padding_mode="border", align_corners=False
            )[0]
            images[t] = images[t] * (1 - cover) + colour * cover
            ids[t] = torch.where(
                cover > 0.5, torch.tensor(_PASTED + number, dtype=ids.dtype), ids[t]
            )
    return Clip(images, ids)


def random_look(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Change light, contrast, colour and noise of a clip, alike in all frames but for a flicker.

    Args:
        images: (T, 3, S, S) float32 in [0, 1].
        rng: the only source of randomness.
    """
    out = images
    if rng.random() < 0.25:
        out = 1.0 - out
    if rng.random() < 0.7:
        out = out.clamp_min(1e-4) ** float(np.exp(rng.normal(0.0, 0.35)))
    if rng.random() < 0.4:
        # Recolour by brightness, from one random colour to another, as stains and dyes do.
        dark = torch.tensor(rng.uniform(0.0, 0.35, 3), dtype=torch.float32)[None, :, None, None]
        light = torch.tensor(rng.uniform(0.4, 1.0, 3), dtype=torch.float32)[None, :, None, None]
        if rng.random() < 0.3:
            dark, light = light, dark
        out = dark + (light - dark) * out.mean(dim=1, keepdim=True)
    gain, offset = float(np.exp(rng.normal(0.0, 0.25))), float(rng.normal(0.0, 0.08))
    flicker = torch.tensor(rng.normal(1.0, 0.02, (len(out), 1, 1, 1)), dtype=torch.float32)
    out = (out - 0.5) * gain * flicker + 0.5 + offset
    if rng.random() < 0.25:
        small = int(rng.integers(out.shape[-1] // 3, out.shape[-1]))
        shape = out.shape[-2:]
        out = F.interpolate(out, size=(small, small), mode="bilinear", antialias=True)
        out = F.interpolate(out, size=shape, mode="bilinear")
    if rng.random() < 0.6:
        strength = float(rng.uniform(0.0, 0.05))
        noise = torch.from_numpy(rng.standard_normal(out.shape, dtype=np.float32))
        out = out + strength * (noise if rng.random() < 0.5 else noise[:, :1])
    return out.clamp(0.0, 1.0)
