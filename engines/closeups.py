"""What a refiner sees of an object: a window of the frame at the object's own scale."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: Side of what the network sees, and what part of it the object fills.
SIDE_PX = 64
OBJECT_PART = 0.5
#: How much wider the second view is, which shows what lies around, and its side.
WIDER = 2.5
WIDER_PX = 32
#: The smallest window, in pixels of the frame.
LEAST_WINDOW_PX = 12.0
#: Contrast under which a window is taken for flat.
FLAT = 0.02
#: How wide a click is drawn, in cells of the window.
CLICK_CELLS = 2.0


def windows_of(boxes: Tensor) -> Tensor:
    """Return the square windows around boxes in which these fill `OBJECT_PART` of the side.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels.

    Returns:
        (N, 4) the same; they may reach beyond the frame.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / OBJECT_PART
    half = sides.clamp(min=LEAST_WINDOW_PX) / 2
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def around(windows: Tensor) -> Tensor:
    """Return (N, 4) windows `WIDER` times as wide, with the same middles."""
    middle = (windows[:, :2] + windows[:, 2:]).repeat(1, 2) / 2
    return middle + (windows - middle) * WIDER


def look(image: Tensor, windows: Tensor, pad: str = "border", side_px: int = SIDE_PX) -> Tensor:
    """Sample windows of an image; one that is much larger than its sample sees it averaged first.

    Args:
        image: (C, H, W) float.
        windows: (N, 4) x0, y0, x1, y1 in its pixels, squares.
        pad: What is outside of the image, see `torch.nn.functional.grid_sample`.
        side_px: Side of the samples.

    Returns:
        (N, C, `side_px`, `side_px`).
    """
    out = image.new_empty(len(windows), image.shape[0], side_px, side_px)
    sides = (windows[:, 2] - windows[:, 0]).tolist()
    levels = [max(0, math.floor(math.log2(side / side_px))) for side in sides]
    for level in set(levels):
        rows = [row for row, own in enumerate(levels) if own == level]
        small = F.avg_pool2d(image, 2**level, ceil_mode=True) if level else image
        out[rows] = _sampled(small, windows[rows] / 2**level, pad, side_px)
    return out


def _sampled(image: Tensor, windows: Tensor, pad: str, side_px: int) -> Tensor:
    part = (torch.arange(side_px, device=image.device) + 0.5) / side_px
    x = windows[:, :1] + part * (windows[:, 2:3] - windows[:, :1])
    y = windows[:, 1:2] + part * (windows[:, 3:] - windows[:, 1:2])
    shape = len(windows), side_px, side_px
    grid = torch.stack(
        [
            (x * (2 / image.shape[2]) - 1)[:, None, :].expand(shape),
            (y * (2 / image.shape[1]) - 1)[:, :, None].expand(shape),
        ],
        dim=-1,
    ).reshape(1, -1, side_px, 2)
    seen = F.grid_sample(image[None], grid, padding_mode=pad, align_corners=False)
    return seen.view(-1, *shape).transpose(0, 1)


def rectangles(boxes: Tensor, windows: Tensor) -> Tensor:
    """Draw boxes into their windows.

    Args:
        boxes: (N, 4) pixels; NaN where none was given.
        windows: (N, 4).

    Returns:
        (N, S, S) the part of each cell that the box covers; 0 where none was given.
    """
    side = (windows[:, 2] - windows[:, 0])[:, None]
    low = (boxes[:, :2] - windows[:, :2]) / side * SIDE_PX
    high = (boxes[:, 2:] - windows[:, :2]) / side * SIDE_PX
    cell = torch.arange(SIDE_PX, device=boxes.device, dtype=boxes.dtype)[:, None]
    covered = torch.minimum(high[:, None], cell + 1) - torch.maximum(low[:, None], cell)
    covered = covered.clamp(0, 1).nan_to_num(0.0)
    return covered[:, :, 1, None] * covered[:, None, :, 0]


def dots(points: Tensor, windows: Tensor) -> Tensor:
    """Draw points into their windows.

    Args:
        points: (N, 2) pixels; NaN where none was given.
        windows: (N, 4).

    Returns:
        (N, S, S) a hill of height 1 at each point; 0 where none was given.
    """
    side = (windows[:, 2] - windows[:, 0])[:, None]
    at = (points - windows[:, :2]) / side * SIDE_PX
    cell = torch.arange(SIDE_PX, device=points.device) + 0.5
    hill = torch.exp(-((cell - at[:, :, None]) ** 2) / (2 * CLICK_CELLS**2)).nan_to_num(0.0)
    return hill[:, 1, :, None] * hill[:, 0, None, :]


def inputs_of(
    colours: Tensor, masks: Tensor, boxes: Tensor, points: Tensor, wider: Tensor
) -> tuple[Tensor, Tensor]:
    """Put together what the network sees.

    Every window is brought to the same brightness and contrast, and with it the wider view. That is
    shown as it is as well, on the scale of exposures: people draw dim objects wider than bright
    ones.

    Args:
        colours: (N, 3, S, S) in [0, 1].
        masks: (N, S, S) in [0, 1].
        boxes: (N, S, S) in [0, 1].
        points: (N, S, S) in [0, 1].
        wider: (N, 3, V, V) in [0, 1].

    Returns:
        (N, 6, S, S), and (N, 6, V, V) of the wider view.
    """
    middle = colours.mean(dim=(1, 2, 3), keepdim=True)
    spread = colours.std(dim=(1, 2, 3), keepdim=True).clamp(min=FLAT)
    drawn = torch.stack([masks * 2 - 1, boxes, points], dim=1)
    wide = torch.cat([(wider - middle) / spread, exposure(wider)], dim=1)
    return torch.cat([(colours - middle) / spread, drawn], dim=1), wide


def exposure(colours: Tensor) -> Tensor:
    """Return colours in [0, 1] on a logarithmic scale, from -1 at 0 to 1 at 1."""
    return (colours * 255 + 1).log2() / 4 - 1
