"""Edges of masks drawn again by a refiner: windows of the frame in, masks of the frame out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engines.closeups import (
    WIDER_PX,
    around,
    dots,
    inputs_of,
    look,
    rectangles,
    windows_of,
)
from engines.pieces import one_piece
from engines.precision import PRECISIONS, choose_precision, with_weights_in
from engines.refiner import Drawing, Refiner
from engines.sides import SIDES

Mask = NDArray[np.bool_]
FrameBox = tuple[int, int, int, int]
#: A mask inside its tight box, and the box in pixels of the frame.
Placed = tuple[Mask, FrameBox]
#: Windows that the network sees at once; bounds memory.
AT_ONCE = 128
#: What is added to the logits of masks that are kept: of pixels as likely in as out more are taken,
#: since what is best for the overlap lies below even chances (Lipton et al. 2014, arXiv 1402.1892).
#: Chosen on training images, where boxes gained 0.001 to 0.002.
LENIENCE = 0.3


@dataclass(frozen=True, slots=True)
class Outline:
    """A mask in a frame, and what is known of the object for sure."""

    mask: Mask
    """(h, w) inside `box`, not empty."""
    box: FrameBox
    """x0, y0, x1, y1 in pixels of the frame; x1 and y1 exclusive."""
    given: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in pixels of the frame: a box around the object."""
    point: tuple[float, float] | None = None
    """x, y in pixels of the frame: a place that is the object's for sure."""


def whole(place: Placed, size: tuple[int, int]) -> Tensor:
    """Return a mask as (H, W) bool of the frame."""
    mask, (x0, y0, x1, y1) = place
    out = torch.zeros(size, dtype=torch.bool)
    out[y0:y1, x0:x1] = torch.from_numpy(mask)
    return out


class Edges:
    """Draws the edges of masks again.

    Args:
        refiner: The network.
        one_piece: Whether an object is one connected piece.
        apart: Whether a pixel belongs to one object only.
        device: Where the network runs.
        precision: As for `engines.precision.choose_precision`.
    """

    def __init__(
        self,
        refiner: Refiner,
        *,
        one_piece: bool = True,
        apart: bool = True,
        device: str = "cpu",
        precision: str = "auto",
    ) -> None:
        self._dtype = PRECISIONS[choose_precision(precision, device)]
        model = with_weights_in(refiner, self._dtype)
        self._refiner = model.to(device, memory_format=torch.channels_last)
        self._device = device
        self._one_piece = one_piece
        self._apart = apart

    def draw(
        self,
        image: NDArray[np.uint8],
        outlines: Sequence[Outline],
        *,
        sides: int = 1,
        apart: bool = True,
    ) -> list[Placed]:
        """Return the masks with new edges.

        Args:
            image: (H, W, 3) uint8 RGB.
            outlines: Of its objects.
            sides: From how many sides, 1 to 8, the network sees each window. The mean of what it
                draws is taken: so many times the work, for edges that are a little better.
            apart: Whether objects that were made to be apart are; else each is drawn as if alone.

        Returns:
            For each (h, w) bool in its tight box, and the box in pixels of the frame. A mask of
            which nothing would be left stays as it was.
        """
        apart = apart and self._apart
        return self._draw(image, outlines, apart, sides, LENIENCE)[0] if outlines else []

    def draw_alone(
        self, image: NDArray[np.uint8], outlines: Sequence[Outline], *, sides: int = 1
    ) -> tuple[list[Placed], list[float]]:
        """Return each mask as if it were alone, and how good the network takes it to be.

        These are for drawing on: nothing is taken leniently.

        Args:
            image: (H, W, 3) uint8 RGB.
            outlines: Of its objects, or several of one.
            sides: As for `draw`.

        Returns:
            Masks as `draw`; and the IoU, in [0, 1], that the network thinks each to have.
        """
        return self._draw(image, outlines, False, sides) if outlines else ([], [])

    @torch.inference_mode()
    def _draw(
        self,
        image: NDArray[np.uint8],
        outlines: Sequence[Outline],
        apart: bool,
        sides: int,
        lenience: float = 0.0,
    ) -> tuple[list[Placed], list[float]]:
        if not 1 <= sides <= len(SIDES):
            raise ValueError(
                f"a square has no {sides} sides to be seen from; give 1 to {len(SIDES)}"
            )
        boxes = torch.tensor([o.given or o.box for o in outlines], dtype=torch.float32)
        windows = windows_of(boxes)
        parts = [
            self._answer(*self._inputs(image, outlines[some], windows[some]), sides)
            for some in (slice(n, n + AT_ONCE) for n in range(0, len(outlines), AT_ONCE))
        ]
        logits = torch.cat([part.logits for part in parts]) + lenience
        quality = torch.cat([part.quality for part in parts])
        if self._one_piece:
            logits = one_piece(logits)
        height, width = image.shape[:2]
        drawn = [
            _in_frame(one, window, (height, width))
            for one, window in zip(logits, windows.tolist(), strict=True)
        ]
        if apart:
            _part(drawn)
        found = zip(drawn, outlines, strict=True)
        placed = [new.tight() or (old.mask, old.box) for new, old in found]
        empty = ~(logits > 0).flatten(1).any(dim=1)
        sure: list[float] = quality.sigmoid().masked_fill(empty, 0.0).tolist()
        return placed, sure

    def _answer(self, inputs: Tensor, wider: Tensor, sides: int) -> Drawing:
        """Ask the network, from so many sides."""
        inputs, wider = (
            one.to(self._device, memory_format=torch.channels_last) for one in (inputs, wider)
        )
        lower = self._dtype != torch.float32
        with torch.autocast(inputs.device.type, self._dtype, enabled=lower):
            seen = [self._refiner(turn(inputs), turn(wider)) for turn, _ in SIDES[:sides]]
        backs = [
            back(one.logits.float().cpu()) for (_, back), one in zip(SIDES, seen, strict=False)
        ]
        quality = torch.stack([one.quality.float().cpu() for one in seen])
        return Drawing(torch.stack(backs).mean(dim=0), quality.mean(dim=0))

    @staticmethod
    def _inputs(
        image: NDArray[np.uint8], outlines: Sequence[Outline], windows: Tensor
    ) -> tuple[Tensor, Tensor]:
        wide = around(windows)
        x0, y0, x1, y1 = _seen(wide, image.shape)
        pixels = torch.from_numpy(image[y0:y1, x0:x1].copy())
        part = pixels.permute(2, 0, 1).float() / 255
        corner = windows.new_tensor([x0, y0, x0, y0])
        colours = look(part, windows - corner)
        wider = look(part, wide - corner, side_px=WIDER_PX)
        masks = torch.cat(
            [
                look(
                    torch.from_numpy(o.mask).float()[None],
                    window[None] - window.new_tensor([*o.box[:2], *o.box[:2]]),
                    "zeros",
                )[:, 0]
                for o, window in zip(outlines, windows, strict=True)
            ]
        )
        given = windows.new_tensor([o.given or (math.nan,) * 4 for o in outlines])
        points = windows.new_tensor([o.point or (math.nan,) * 2 for o in outlines])
        return inputs_of(colours, masks, rectangles(given, windows), dots(points, windows), wider)


@dataclass(slots=True)
class _Drawn:
    """Logits of one object in a part of the frame."""

    logits: NDArray[np.float32]
    box: FrameBox

    def tight(self) -> Placed | None:
        inside = self.logits > 0
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not rows.size:
            return None
        x, y = self.box[:2]
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        box = (int(x + left), int(y + top), int(x + right), int(y + bottom))
        return np.ascontiguousarray(inside[top:bottom, left:right]), box


def _seen(windows: Tensor, shape: tuple[int, ...]) -> FrameBox:
    """Return the part of a frame that windows show; at least a pixel."""
    height, width = shape[:2]
    low, high = windows[:, :2].amin(0).floor().tolist(), windows[:, 2:].amax(0).ceil().tolist()
    x0, y0 = min(max(int(low[0]) - 1, 0), width - 1), min(max(int(low[1]) - 1, 0), height - 1)
    x1, y1 = max(min(int(high[0]) + 1, width), x0 + 1), max(min(int(high[1]) + 1, height), y0 + 1)
    return x0, y0, x1, y1


def _in_frame(logits: Tensor, window: Sequence[float], size: tuple[int, int]) -> _Drawn:
    """Bring the logits of a window to the pixels of the frame; none, where it is beside it."""
    side = window[2] - window[0]
    x0, y0 = max(math.floor(window[0]), 0), max(math.floor(window[1]), 0)
    x1, y1 = min(math.ceil(window[2]), size[1]), min(math.ceil(window[3]), size[0])
    if x0 >= x1 or y0 >= y1:
        return _Drawn(np.zeros((0, 0), np.float32), (0, 0, 0, 0))
    x = (torch.arange(x0, x1) + 0.5 - window[0]) * (2 / side) - 1
    y = (torch.arange(y0, y1) + 0.5 - window[1]) * (2 / side) - 1
    shape = len(y), len(x)
    grid = torch.stack([x[None, :].expand(shape), y[:, None].expand(shape)], dim=-1)[None]
    fine = F.grid_sample(logits[None, None], grid, padding_mode="border", align_corners=False)
    return _Drawn(fine[0, 0].numpy(), (x0, y0, x1, y1))


def _part(drawn: Sequence[_Drawn]) -> None:
    """Give a pixel that several objects claim to the surest of them."""
    for number, one in enumerate(drawn):
        for other in drawn[number + 1 :]:
            x0, y0 = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
            x1, y1 = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
            if x0 >= x1 or y0 >= y1:
                continue
            mine, theirs = (
                d.logits[y0 - d.box[1] : y1 - d.box[1], x0 - d.box[0] : x1 - d.box[0]]
                for d in (one, other)
            )
            lost = (mine > 0) & (theirs > 0)
            behind = lost & (mine < theirs)
            mine[behind] = -1.0
            theirs[lost & ~behind] = -1.0
