"""Where an object is looked for: a square of tokens around where it was last seen.

Exact memory attention costs the same for a nucleus as for a lorry. An object that covers a
twentieth of the frame need only be looked for near where it can be; the tracker searches the whole
frame again when it is not found there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

# Windows of few sizes, so that many objects share one and are computed together; of fewer still
# where each size is a graph of its own.
SIZES_A_FRAME = 8
GRAPH_SIZES_A_FRAME = 4
# From this part of the frame's side on, the whole frame costs hardly more.
WHOLE_FROM = 0.75


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of tokens."""

    row: int
    column: int
    side: int
    grid: int
    """Tokens on each side of the whole frame."""

    def take(self, level: torch.Tensor) -> torch.Tensor:
        """Return a view of this part of a (..., g, g) map whose sides are multiples of `grid`."""
        scale = level.shape[-1] // self.grid
        rows = slice(self.row * scale, (self.row + self.side) * scale)
        columns = slice(self.column * scale, (self.column + self.side) * scale)
        return level[..., rows, columns]

    def tokens(self) -> npt.NDArray[np.int64]:
        """Return the flat indices of its tokens."""
        rows = np.arange(self.row, self.row + self.side)
        columns = np.arange(self.column, self.column + self.side)
        return (rows[:, None] * self.grid + columns).ravel().astype(np.int64)

    def widened(self, tokens: int) -> Crop:
        """Return a larger one around it, moved where it would leave the frame."""
        side = min(self.side + 2 * tokens, self.grid)
        last = self.grid - side
        row = min(max(self.row - tokens, 0), last)
        return Crop(row, min(max(self.column - tokens, 0), last), side, self.grid)

    def inside(self, outer: Crop) -> Crop:
        """Return this crop as seen from a larger one."""
        return Crop(self.row - outer.row, self.column - outer.column, self.side, outer.side)


def window_sides(grid: int, least: int, sizes: int) -> list[int]:
    """Return the sides that windows can have, smallest first.

    Args:
        grid: Tokens on each side of the frame.
        least: Smallest side in tokens.
        sizes: Sizes up to the whole frame.
    """
    step = max(grid // sizes, 1)
    sides = {-(-wanted // step) * step for wanted in range(least, grid + 1)}
    return sorted(side for side in sides if side <= WHOLE_FROM * grid)


def choose_crop(
    box: tuple[float, float, float, float],
    grid: int,
    margin: float,
    least: int,
    sizes: int = SIZES_A_FRAME,
) -> Crop | None:
    """Return where to look for an object.

    Args:
        box: x0, y0, x1, y1 of its last mask, in tokens.
        grid: Tokens on each side of the frame.
        margin: Room left on each side, in sizes of the box; one token at least.
        least: Smallest side in tokens.
        sizes: Sizes of windows up to the whole frame.

    Returns:
        The crop, or None where the whole frame is as well.
    """
    x0, y0, x1, y1 = box
    size = max(x1 - x0, y1 - y0)
    wanted = max(size + 2 * max(margin * size, 1.0), least)
    step = max(grid // sizes, 1)
    side = int(-(-wanted // step)) * step
    if side > WHOLE_FROM * grid:
        return None
    last = grid - side
    row = min(max(round((y0 + y1 - side) / 2), 0), last)
    column = min(max(round((x0 + x1 - side) / 2), 0), last)
    return Crop(row, column, side, grid)


def mask_boxes(inside: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int] | None]:
    """Return x0, y0, x1, y1 (exclusive) of each of (B, h, w) masks; None for an empty one."""
    boxes: list[tuple[int, int, int, int] | None] = []
    for mask in inside:
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append(
            (int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1) if len(ys) else None
        )
    return boxes


def leaves(box: tuple[int, int, int, int], crop: Crop, scale: int) -> bool:
    """Return whether a mask reaches an edge of its window that is not an edge of the frame.

    Args:
        box: Of the mask, in pixels of the logits.
        crop: Where it was looked for.
        scale: Pixels of the logits a token.
    """
    x0, y0, x1, y1 = box
    far = crop.grid - crop.side
    return (
        (crop.row > 0 and y0 <= crop.row * scale)
        or (crop.column > 0 and x0 <= crop.column * scale)
        or (crop.row < far and y1 >= (crop.row + crop.side) * scale)
        or (crop.column < far and x1 >= (crop.column + crop.side) * scale)
    )
