"""One frame as CLIP sees it, whole or in tiles: a vector for each patch and one for all.

Small objects need a finer grid. Tiles that overlap are seen one by one at the full size, and their
patch vectors are blended into one grid; all tiles lie on the same raster of patches, so that no
vector has to be moved between its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.backends.face import Runner
from engines.clip_models import image_statistics
from engines.dense import DensePass, dense_pass
from engines.images import to_input

OVERLAP_PART = 0.25
"""Part of a tile that it shares with the next one."""


@dataclass(frozen=True, slots=True)
class View:
    """What CLIP sees in one frame."""

    vectors: torch.Tensor
    """(rows, columns, D) unit vectors of the patches."""
    whole: torch.Tensor
    """(D,) unit vector: the class embedding, of tiles the mean of theirs."""
    joint: DensePass | None
    """The pass behind it; None for tiles, which no class token sees together, and for exported
    towers, which keep their keys and values to themselves."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return int(self.vectors.shape[0]), int(self.vectors.shape[1])

    def pooled(self, inside: torch.Tensor) -> torch.Tensor:
        """Return (N, D) unit means of the patch vectors by (N, rows, columns) weights."""
        return F.normalize(torch.einsum("nhw,hwd->nd", inside, self.vectors), dim=-1)


def view_frame(
    visual: Any,
    image: npt.NDArray[np.uint8],
    side_px: int,
    mode: str,
    tiles: int,
    device: torch.device,
    run: Runner | None = None,
) -> View:
    """Look at one frame.

    Args:
        visual: The `visual` tower of an open_clip model.
        image: (H, W, 3) uint8 RGB.
        side_px: Side of the square that CLIP sees at once.
        mode: How the last block is read (`engines.dense.MODES`).
        tiles: Tiles along each edge; 1 for the whole frame at once.
        device: Where the tower lies.
        run: The exported tower for `side_px` and `mode`; None for the tower itself.

    Raises:
        ValueError: `side_px` is no multiple of the patch size.
    """
    statistics = image_statistics(visual)
    if tiles == 1:
        planes = to_input(image, (side_px, side_px), *statistics, device)
        return _seen(visual, planes, mode, run)
    patch = visual.conv1.kernel_size[0]
    if side_px % patch:
        raise ValueError(f"CLIP size {side_px} px is no multiple of its patches of {patch} px")
    length = side_px // patch
    first = starts(length, tiles)
    total_px = (first[-1] + length) * patch
    planes = to_input(image, (total_px, total_px), *statistics, device)
    parts, wholes = [], []
    for row in first:
        for column in first:
            y, x = row * patch, column * patch
            seen = _seen(visual, planes[..., y : y + side_px, x : x + side_px], mode, run)
            parts.append(seen.vectors)
            wholes.append(seen.whole)
    vectors = F.normalize(stitch(parts, tiles), dim=-1)
    return View(vectors, F.normalize(torch.stack(wholes).mean(0), dim=0), None)


def _seen(visual: Any, planes: torch.Tensor, mode: str, run: Runner | None) -> View:
    if run is None:
        joint = dense_pass(visual, planes, mode)
        patches, whole = joint.patches[0], joint.whole[0]
    else:
        joint, found = None, run({"images": planes})
        patches, whole = found["patches"][0], found["whole"][0]
    vectors = F.normalize(patches.float(), dim=-1)
    return View(vectors, F.normalize(whole.float(), dim=-1), joint)


def starts(length: int, tiles: int) -> list[int]:
    """Return where tiles of so many patches begin, along one edge."""
    step = length - shared(length)
    return [step * number for number in range(tiles)]


def shared(length: int) -> int:
    """Return how many patches a tile of so many shares with the next one."""
    return min(max(round(length * OVERLAP_PART), 1), length // 2)


def stitch(parts: list[torch.Tensor], tiles: int) -> torch.Tensor:
    """Blend tiles into one grid; where two overlap, one fades into the other.

    Args:
        parts: tiles x tiles of (length, length, D), row by row.
        tiles: Along each edge.

    Returns:
        (total, total, D).
    """
    length, width = parts[0].shape[0], parts[0].shape[-1]
    first = starts(length, tiles)
    total = first[-1] + length
    out = parts[0].new_zeros(total, total, width)
    for number, part in enumerate(parts):
        row, column = divmod(number, tiles)
        down, across = _fade(length, row, tiles), _fade(length, column, tiles)
        weight = (down[:, None] * across[None]).to(part)[..., None]
        y, x = first[row], first[column]
        out[y : y + length, x : x + length] += weight * part
    return out


def _fade(length: int, number: int, tiles: int) -> torch.Tensor:
    """Return (length,) weights of one tile; those of all tiles add up to 1 everywhere."""
    width = shared(length)
    ramp = torch.arange(1, width + 1) / (width + 1)
    weight = torch.ones(length)
    if number > 0:
        weight[:width] *= ramp
    if number < tiles - 1:
        weight[length - width :] *= ramp.flip(0)
    return weight
