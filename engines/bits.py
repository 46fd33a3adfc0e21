"""Masks as bits, eight pixels a byte: packed where they are, unpacked on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.transfer import Gather

# Elements of enlarged logits that are computed at once, 256 MB.
AT_ONCE = 64_000_000


def pack(masks: torch.Tensor) -> torch.Tensor:
    """Pack masks on their device; equal to `np.packbits(masks, axis=-1)`.

    Args:
        masks: (..., w) bool.

    Returns:
        (..., ceil(w / 8)) uint8; the first pixel of eight is the highest bit, and what is missing
        to a whole byte at the end of a row is 0.
    """
    *lead, width = masks.shape
    eights = F.pad(masks.to(torch.uint8), (0, -width % 8)).view(*lead, -1, 8)
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=masks.device)
    return (eights << places).sum(-1, dtype=torch.uint8)


def unpack(packed: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.bool_]:
    """Return (..., width) bool of (..., ceil(width / 8)) uint8; `pack` is the way there."""
    return np.unpackbits(packed, axis=-1, count=width).view(np.bool_)


@dataclass(frozen=True, slots=True)
class FrameBits:
    """One mask at the size of its frame, as bits, and where in the frame it is."""

    size: tuple[int, int]
    """(H, W) of the frame in pixels."""
    packed: npt.NDArray[np.uint8]
    """(H, ceil(W / 8))."""
    rows: npt.NDArray[np.uint8]
    """(ceil(H / 8),) bits of the rows that the mask has pixels in."""
    columns: npt.NDArray[np.uint8]
    """(ceil(W / 8),) bits of the columns."""

    def cut(self) -> tuple[npt.NDArray[np.bool_], tuple[int, int, int, int]]:
        """Return the mask in its tight box, and the box; see `images.mask_in_frame`."""
        height, width = self.size
        rows = np.flatnonzero(unpack(self.rows, height))
        columns = np.flatnonzero(unpack(self.columns, width))
        if not len(rows):
            return np.zeros((0, 0), dtype=np.bool_), (0, 0, 0, 0)
        y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        first, last = x0 // 8, -(-x1 // 8)
        near = unpack(self.packed[y0:y1, first:last], 8 * (last - first))
        return np.ascontiguousarray(near[:, x0 - 8 * first : x1 - 8 * first]), (x0, y0, x1, y1)


def want_frame_bits(gather: Gather, low: torch.Tensor, size: tuple[int, int]) -> None:
    """Let masks be enlarged to the frame, thresholded and packed where they are.

    Args:
        gather: What brings them to the host.
        low: (B, h, w) float32 logits.
        size: (H, W) of the frame in pixels.
    """
    fine: list[torch.Tensor] = []
    each = max(AT_ONCE // (size[0] * size[1]), 1)
    for first in range(0, len(low), each):
        some = low[first : first + each, None]
        inside = F.interpolate(some, size=size, mode="bilinear")[:, 0] > 0
        sides = pack(inside.any(2)), pack(inside.any(1))
        fine.append(torch.cat([pack(inside).flatten(1), *sides], 1))
    gather.add("frame_bits", torch.cat(fine))


def frame_bits(flat: npt.NDArray[np.uint8], size: tuple[int, int]) -> FrameBits:
    """Return one row of what `want_frame_bits` wanted."""
    height, width = size
    across, down = -(-width // 8), -(-height // 8)
    masks, rows, columns = np.split(flat, [height * across, height * across + down])
    return FrameBits(size, masks.reshape(height, across), rows, columns)
