"""Views of a part of an image, so that small objects are seen large.

Where they lie, and how what was found in them is put together again: geometry, no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engines.overlaps import same
from stream.frame import BoolMask, Box

OVERLAP_PART: Final = 0.25
"""Part of a tile that it shares with the next one."""
OBJECT_PART: Final = 0.25
"""Part of a view's side that an object fills which the view was made for."""
CLICKED_PART: Final = 0.125
"""The same after a click: seen too closely, a click alone takes a part for the whole."""
MOST_MAGNIFIED: Final = 8
"""How much larger than it is an image is shown at most."""
SAME_SIGHT: Final = 0.5
"""IoU, where two tiles overlap, from which two cut pieces are one object."""
NEAR_PART: Final = 0.01
"""How near to a tile's edge a piece is cut by it, as a part of the tile's side."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of an image in pixels; x1 and y1 exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def shared(self, other: Rect) -> Rect:
        """Return what is inside of both; its size is 0 or negative where nothing is."""
        return Rect(
            max(self.x0, other.x0),
            max(self.y0, other.y0),
            min(self.x1, other.x1),
            min(self.y1, other.y1),
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is inside."""
        return self.x1 <= self.x0 or self.y1 <= self.y0


@dataclass(frozen=True, slots=True)
class Piece:
    """Something found in one view, in pixels of the whole image."""

    label: str
    score: float
    mask: BoolMask
    """(h, w) inside `box`."""
    box: Box
    view: Rect
    """Where it was seen."""
    cut: bool
    """Whether it goes on beyond the view."""

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())


def tiles_of(size: tuple[int, int], rows: int, columns: int) -> list[Rect]:
    """Cover an image with tiles of equal size that overlap by about a quarter.

    Args:
        size: (H, W) of the image.
        rows: Tiles from top to bottom.
        columns: Tiles from left to right.
    """
    down, right = _spans(size[0], rows), _spans(size[1], columns)
    return [Rect(x0, y0, x1, y1) for y0, y1 in down for x0, x1 in right]


def auto_tiles(size: tuple[int, int], input_px: int) -> list[Rect]:
    """Cover an image with tiles that a model sees about as large as they are.

    Args:
        size: (H, W) of the image.
        input_px: Side of the model's input; a side that is not longer is not cut.
    """
    return tiles_of(size, math.ceil(size[0] / input_px), math.ceil(size[1] / input_px))


def pyramid(size: tuple[int, int], input_px: int) -> list[Rect]:
    """Return the whole image, and tiles each level of which shows things twice as large.

    Args:
        size: (H, W) of the image.
        input_px: Side of the model's input; the last level's tiles are those of `auto_tiles`.
    """
    most = [math.ceil(side / input_px) for side in size]
    levels = [tuple(most)]
    while max(most) > 1:
        most = [math.ceil(count / 2) for count in most]
        levels.append(tuple(most))
    return [tile for rows, columns in reversed(levels) for tile in tiles_of(size, rows, columns)]


def around(
    box: Sequence[float], size: tuple[int, int], input_px: int, part: float = OBJECT_PART
) -> Rect:
    """Return a square view in which an object fills so much of the side.

    Args:
        box: The object's, x0, y0, x1, y1 in pixels of the image.
        size: (H, W) of the image; a view is inside of it, and the whole where it would be larger.
        input_px: Side of the model's input; a view is at least an eighth of it.
        part: What the object fills.
    """
    x0, y0, x1, y1 = box
    side = max(max(x1 - x0, y1 - y0) / part, input_px / MOST_MAGNIFIED)
    left, right = _inside((x0 + x1) / 2, side, size[1])
    top, bottom = _inside((y0 + y1) / 2, side, size[0])
    return Rect(left, top, right, bottom)


def nearest(tiles: Sequence[Rect], x: float, y: float) -> Rect:
    """Return the tile in whose middle a point lies the most; of equal ones the first."""

    def off(tile: Rect) -> float:
        height, width = tile.size
        return max(
            abs(x - (tile.x0 + tile.x1) / 2) / width, abs(y - (tile.y0 + tile.y1) / 2) / height
        )

    return min(tiles, key=off)


def is_cut(box: Box, view: Rect, size: tuple[int, int]) -> bool:
    """Return whether a box reaches an edge of its view that is not the image's own."""
    near = max(1, round(NEAR_PART * max(view.size)))
    x0, y0, x1, y1 = box
    return (
        (view.x0 > 0 and x0 - view.x0 < near)
        or (view.y0 > 0 and y0 - view.y0 < near)
        or (view.x1 < size[1] and view.x1 - x1 < near)
        or (view.y1 < size[0] and view.y1 - y1 < near)
    )


def merge(
    pieces: Iterable[Piece],
    views: Sequence[Rect],
    size: tuple[int, int],
    *,
    nms_iou: float,
    contained: float,
) -> list[Piece]:
    """Put together what was found in several views.

    Pieces that an edge cut are joined where two views that overlap see the same; one that was not
    joined though another view shows it uncut goes, as there it was not found. Of an object that
    several views found, the piece that is not cut stays, then the surest. Pieces of one view are
    left to each other: whoever found them has judged them.

    Args:
        pieces: Of all views.
        views: Also those in which nothing was found.
        size: (H, W) of the image.
        nms_iou: IoU from which two are one object.
        contained: Part of the smaller one inside the larger from which they are.

    Returns:
        The surest first.
    """
    joined = [piece for piece in _join(list(pieces)) if not _is_denied(piece, views, size)]
    kept: list[Piece] = []
    for piece in sorted(joined, key=lambda piece: (piece.cut, -piece.score)):
        others = [other for other in kept if other.view != piece.view]
        place = piece.mask, piece.box
        if not any(same(place, (other.mask, other.box), nms_iou, contained) for other in others):
            kept.append(piece)
    return sorted(kept, key=lambda piece: -piece.score)


def _is_denied(piece: Piece, views: Sequence[Rect], size: tuple[int, int]) -> bool:
    """Return whether a cut piece could have been found whole elsewhere."""
    box = Rect(*piece.box)
    return piece.cut and any(
        box.shared(view) == box and not is_cut(piece.box, view, size)
        for view in views
        if view != piece.view
    )


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    part = length / (count - (count - 1) * OVERLAP_PART)
    step = (length - part) / max(count - 1, 1)
    return [
        (round(number * step), min(round(number * step + part), length)) for number in range(count)
    ]


def _inside(middle: float, side: float, length: int) -> tuple[int, int]:
    whole = min(math.ceil(side), length)
    first = min(max(round(middle - whole / 2), 0), length - whole)
    return first, first + whole


def _join(pieces: list[Piece]) -> list[Piece]:
    """Join cut pieces of different views, also over several views in a row."""
    leader = list(range(len(pieces)))

    def root(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    cut = [place for place, piece in enumerate(pieces) if piece.cut]
    for number, one in enumerate(cut):
        for other in cut[number + 1 :]:
            if _sees_same(pieces[one], pieces[other]):
                leader[max(root(one), root(other))] = min(root(one), root(other))
    groups: dict[int, list[Piece]] = {}
    for place, piece in enumerate(pieces):
        groups.setdefault(root(place), []).append(piece)
    return [_union(group) if len(group) > 1 else group[0] for group in groups.values()]


def _sees_same(one: Piece, other: Piece) -> bool:
    """Return whether two pieces agree where both of their views look."""
    if one.view == other.view or one.label != other.label:
        return False
    shared = one.view.shared(other.view)
    if shared.empty:
        return False
    mine, theirs = _part(one, shared), _part(other, shared)
    union = int((mine | theirs).sum())
    return union > 0 and int((mine & theirs).sum()) >= SAME_SIGHT * union


def _union(group: list[Piece]) -> Piece:
    rect = Rect(
        min(piece.box[0] for piece in group),
        min(piece.box[1] for piece in group),
        max(piece.box[2] for piece in group),
        max(piece.box[3] for piece in group),
    )
    mask = np.logical_or.reduce([_part(piece, rect) for piece in group])
    surest = max(group, key=lambda piece: piece.score)
    box = (rect.x0, rect.y0, rect.x1, rect.y1)
    return replace(surest, mask=mask, box=box, view=rect, cut=False)


def _part(piece: Piece, rect: Rect) -> BoolMask:
    """Return a piece's mask inside a rectangle, (h, w) bool."""
    out = np.zeros(rect.size, dtype=np.bool_)
    inside = rect.shared(Rect(*piece.box))
    if not inside.empty:
        x0, y0 = piece.box[0], piece.box[1]
        source = piece.mask[inside.y0 - y0 : inside.y1 - y0, inside.x0 - x0 : inside.x1 - x0]
        out[
            inside.y0 - rect.y0 : inside.y1 - rect.y0, inside.x0 - rect.x0 : inside.x1 - rect.x0
        ] = source
    return out
