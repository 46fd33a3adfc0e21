"""One picture, looked at as a whole or through views of its parts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Final

from stream.errors import UsageError
from stream.frame import TrackedObject
from stream.offline.prompts import Hint
from stream.offline.sight import Pixels, Seen, Sight
from stream.offline.views import (
    CLICKED_PART,
    Piece,
    Rect,
    around,
    auto_tiles,
    is_cut,
    merge,
    nearest,
    pyramid,
    tiles_of,
)

MOST_ZOOM: Final = 16
SEEN_TWICE: Final = 0.6
"""Part of an object inside another one of another view from which they are one: seen at another
scale, the same thing has other edges."""
SMALL_PART: Final = 0.08
"""Side of an object, as a part of a view's, under which the view is enlarged."""


def parse_zoom(text: str) -> int | None:
    """Read the option of the command line: None for `auto`.

    Raises:
        UsageError: It is neither `auto` nor a number of tiles.
    """
    if text == "auto":
        return None
    if text.isdecimal() and 1 <= int(text) <= MOST_ZOOM:
        return int(text)
    raise UsageError(
        f"--zoom {text!r} is not accepted; accepted are auto, 1 (the whole picture) and so many "
        f"tiles along each edge, {MOST_ZOOM} at most"
    )


def find_texts(
    sight: Sight, image: Pixels, zoom: int | None, *, nms_iou: float, contained: float
) -> list[TrackedObject]:
    """Find what texts describe.

    Args:
        sight: Looks.
        image: (H, W, 3) uint8 RGB.
        zoom: Tiles along each edge; None: the whole, and tiles each level of which shows things
            twice as large, until a tile is no larger than the model's input; once more, enlarged,
            where most of what was found is small even so.
        nms_iou: See `stream.offline.views.merge`.
        contained: See there; above `SEEN_TWICE` that is taken.

    Returns:
        Objects with ids from 1 on, the surest first; drawn anew in the whole image, see
        `Sight.settle`.
    """
    size = image.shape[:2]
    views = pyramid(size, sight.input_px) if zoom is None else tiles_of(size, zoom, zoom)
    pieces = [piece for view in views for piece in _found(sight, image, view)]
    if zoom is None and _are_small(pieces, sight.input_px):
        closer = auto_tiles(size, sight.input_px // 2)
        views += closer
        pieces += [piece for view in closer for piece in _found(sight, image, view)]
    contained = min(contained, SEEN_TWICE)
    found = merge(pieces, views, size, nms_iou=nms_iou, contained=contained)
    seen = [Seen(piece.label, piece.score, piece.mask, piece.box) for piece in found]
    settled = sight.settle(image, seen, nms_iou, contained)
    return [_object(number, one) for number, one in enumerate(settled, 1)]


def segment_hints(
    sight: Sight, image: Pixels, hints: Mapping[int, Hint], zoom: int | None
) -> list[TrackedObject]:
    """Segment what is pointed at.

    Args:
        sight: Looks.
        image: (H, W, 3) uint8 RGB.
        hints: A box or a point by id.
        zoom: Tiles along each edge, of which each hint takes the one in whose middle it lies the
            most. None: a box is looked at in a view of its own (`around`); a point in a tile no
            larger than the model's input first, then in a view around what was found.

    Returns:
        The objects of which something was found, by the ids of the hints.
    """
    size = image.shape[:2]
    tiles = _tiles(sight, size, zoom)
    boxed = {i: hint for i, hint in hints.items() if hint.box is not None and zoom is None}
    views = {i: around(hint.box or (), size, sight.input_px) for i, hint in boxed.items()}
    views |= {i: nearest(tiles, *_middle(hint)) for i, hint in hints.items() if i not in boxed}
    found = _look(sight, image, hints, views)
    if zoom is None:
        closer = {
            i: around(piece.box, size, sight.input_px, CLICKED_PART)
            for i, piece in found.items()
            if hints[i].point is not None
        }
        closer = {i: view for i, view in closer.items() if view != views[i]}
        found |= _look(sight, image, hints, closer)
    return _drawn(sight, image, hints, found)


def _drawn(
    sight: Sight, image: Pixels, hints: Mapping[int, Hint], found: Mapping[int, Piece]
) -> list[TrackedObject]:
    """Draw the edges of what was found in views, in the whole image."""
    seen = {i: Seen(p.label, p.score, p.mask, p.box) for i, p in found.items()}
    drawn = sight.draw(image, seen, hints)
    return [_object(i, drawn[i]) for i in sorted(drawn)]


def _found(sight: Sight, image: Pixels, view: Rect) -> list[Piece]:
    return _pieces(sight.find(_cut(image, view)), view, image.shape[:2])


def _are_small(pieces: list[Piece], input_px: int) -> bool:
    """Return whether most objects are small at the scale that shows them the largest."""
    if not pieces:
        return False
    scales = [input_px / max(piece.view.size) for piece in pieces]
    sides = [
        scale * math.sqrt(piece.area)
        for scale, piece in zip(scales, pieces, strict=True)
        if scale == max(scales) and not piece.cut
    ]
    return bool(sides) and median(sides) < SMALL_PART * input_px


def _tiles(sight: Sight, size: tuple[int, int], zoom: int | None) -> list[Rect]:
    return auto_tiles(size, sight.input_px) if zoom is None else tiles_of(size, zoom, zoom)


def _look(
    sight: Sight, image: Pixels, hints: Mapping[int, Hint], views: Mapping[int, Rect]
) -> dict[int, Piece]:
    """Look at each hint through its view; those of one view together."""
    by_view: dict[Rect, list[int]] = defaultdict(list)
    for i, view in views.items():
        by_view[view].append(i)
    found = {}
    size = image.shape[:2]
    for view, names in by_view.items():
        moved = {i: _moved(hints[i], view) for i in names}
        for i, seen in sight.segment(_cut(image, view), moved).items():
            for piece in _pieces([seen], view, size):
                found[i] = piece
    return found


def _cut(image: Pixels, view: Rect) -> Pixels:
    return image[view.slices].copy()


def _moved(hint: Hint, view: Rect) -> Hint:
    """Return a hint in the pixels of a view."""
    height, width = view.size
    if hint.box is not None:
        x0, y0, x1, y1 = hint.box
        return Hint(
            box=(
                max(x0 - view.x0, 0.0),
                max(y0 - view.y0, 0.0),
                min(x1 - view.x0, float(width)),
                min(y1 - view.y0, float(height)),
            )
        )
    assert hint.point is not None
    return Hint(point=(hint.point[0] - view.x0, hint.point[1] - view.y0))


def _middle(hint: Hint) -> tuple[float, float]:
    if hint.box is not None:
        x0, y0, x1, y1 = hint.box
        return (x0 + x1) / 2, (y0 + y1) / 2
    assert hint.point is not None
    return hint.point


def _pieces(found: list[Seen], view: Rect, size: tuple[int, int]) -> list[Piece]:
    """Bring what was found in a view to pixels of the whole image; empty masks are left out."""
    out = []
    for seen in found:
        if not seen.mask.any():
            continue
        x0, y0, x1, y1 = seen.box
        box = (x0 + view.x0, y0 + view.y0, x1 + view.x0, y1 + view.y0)
        out.append(Piece(seen.label, seen.score, seen.mask, box, view, is_cut(box, view, size)))
    return out


def _object(number: int, one: Piece | Seen) -> TrackedObject:
    area = int(one.mask.sum())
    return TrackedObject(number, one.label, one.score, "confirmed", one.mask, one.box, area)
