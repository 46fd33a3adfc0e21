"""Connected pieces of masks; neighbours by edge or corner belong together (8-connectivity)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import ndimage

OUTSIDE_LOGIT = -10.0
# Between two questions to a card whether pieces are numbered; masks of objects take 4 to 8.
PASSES = 8

# Neighbours within a mask, none between the masks of a stack.
_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[1] = True


def labels(masks: torch.Tensor) -> torch.Tensor:
    """Number the connected pieces of masks.

    Args:
        masks: (N, h, w) bool.

    Returns:
        (N, h, w) int64: 0 outside; the pieces of each mask are 1, 2, 3, ... in the order in which
        reading row by row meets them, on every device.
    """
    if not masks.numel():
        return torch.zeros(masks.shape, dtype=torch.int64, device=masks.device)
    return _by_scan(masks) if masks.device.type == "cpu" else _by_hooking(masks)


def areas(pieces: torch.Tensor) -> torch.Tensor:
    """Return for each pixel the area of its piece.

    Args:
        pieces: (N, h, w) int64 as `labels` gives them.

    Returns:
        (N, h, w) int64 in pixels, 0 outside.
    """
    if not pieces.numel():
        return pieces
    count, flat = len(pieces), pieces.flatten(1)
    # How many pieces there are is the device's secret; there are no more than pixels.
    bins = (int(pieces.amax()) if pieces.device.type == "cpu" else flat.shape[1]) + 1
    sizes = flat.new_zeros(count, bins).scatter_add_(1, flat, torch.ones_like(flat))
    sizes[:, 0] = 0
    return sizes.gather(1, flat).view_as(pieces)


def small(masks: torch.Tensor, max_area_px: int) -> torch.Tensor:
    """Return (N, h, w) bool: the pixels of pieces of at most this area.

    Args:
        masks: (N, h, w) bool.
        max_area_px: Area in pixels of the mask.
    """
    if masks.device.type == "cpu":
        if not bool(masks.any()):
            return masks
        found = _scan(masks)
        few = np.bincount(found.ravel()) <= max_area_px
        few[0] = False  # what is outside of all masks is no piece
        return torch.from_numpy(few[found])
    size = areas(labels(masks))
    return (size > 0) & (size <= max_area_px)


def one_piece(logits: torch.Tensor, points: torch.Tensor | None = None) -> torch.Tensor:
    """Keep one piece of each mask and push the others out, for objects such as cells.

    Args:
        logits: (N, h, w) mask logits.
        points: (N, 2) x, y as fractions of width and height: the piece under the point stays.
            Without points, or where the point misses the mask, the largest stays, of equally
            large ones the first.

    Returns:
        (N, h, w) logits; the other pieces are at `OUTSIDE_LOGIT`.
    """
    inside, asked = logits > 0, logits.device.type == "cpu"
    if asked and not bool(inside.any()):
        return logits
    pieces = labels(inside)
    if asked and int(pieces.amax()) < 2:
        return logits
    count, height, width = logits.shape
    rows = torch.arange(count, device=logits.device)
    keep = pieces.flatten(1)[rows, areas(pieces).flatten(1).argmax(1)]
    if points is not None:
        x = (points[:, 0] * width).long().clamp(0, width - 1)
        y = (points[:, 1] * height).long().clamp(0, height - 1)
        under = pieces[rows, y, x]
        keep = torch.where(under > 0, under, keep)
    stays = (pieces == keep[:, None, None]) | (logits <= 0)
    return torch.where(stays, logits, OUTSIDE_LOGIT)


def _scan(masks: torch.Tensor) -> npt.NDArray[np.int64]:
    """Number the pieces of all masks together, on the CPU."""
    found = np.empty(masks.shape, dtype=np.int64)
    ndimage.label(masks.numpy(), _IN_PLANE, output=found)
    return found


def _by_scan(masks: torch.Tensor) -> torch.Tensor:
    pieces = torch.from_numpy(_scan(masks))
    # Each mask shall begin at 1.
    last = pieces.flatten(1).amax(1).cummax(0).values
    before = torch.cat([last.new_zeros(1), last[:-1]])
    return (pieces - before[:, None, None]).clamp_(min=0)


def _by_hooking(masks: torch.Tensor) -> torch.Tensor:
    """Number pieces in about log(pixels) passes over all pixels at once.

    Each pixel points at a pixel of its piece, first at itself. In each pass it, and the pixel that
    it points at, turn to the earliest pixel that a neighbour points at; then chains are shortened.
    FastSV, Zhang, Azad and Hu 2020, arXiv 1910.05971. A pass too many changes nothing; whether
    there is more to do is asked once in several passes, as the answer is waited for.
    """
    count, height, width = masks.shape
    pixels = height * width
    # Earlier pixels have larger numbers, so that 0 can be outside; floats, as pooling takes them.
    exact = torch.float32 if pixels < 2**24 else torch.float64
    own = torch.arange(pixels, 0, -1, device=masks.device, dtype=exact).expand(count, -1)
    inside = masks.flatten(1)
    aim = own * inside
    settled = False
    while not settled:
        for _ in range(PASSES):
            before = aim
            spread = F.max_pool2d(aim.view(count, 1, height, width), 3, 1, 1).flatten(1) * inside
            aim = F.pad(spread, (0, 1)).scatter_reduce(1, pixels - aim.long(), spread, "amax")
            aim = aim.gather(1, pixels - aim.long())[:, :-1]
        settled = torch.equal(before, aim)
    first = (aim == own) & inside
    numbers = F.pad(first.long().cumsum(1), (0, 1))
    return (numbers.gather(1, pixels - aim.long()) * inside).view(masks.shape)
