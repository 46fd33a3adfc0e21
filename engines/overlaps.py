"""How far masks that are kept in their tight boxes overlap, and which of them are one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what edges need is heavy
    from engines.edges import Placed


def shared_px(one: Placed, other: Placed) -> int:
    """Return how many pixels two masks share."""
    (a, (ax0, ay0, ax1, ay1)), (b, (bx0, by0, bx1, by1)) = one, other
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    if x0 >= x1 or y0 >= y1:
        return 0
    mine = a[y0 - ay0 : y1 - ay0, x0 - ax0 : x1 - ax0]
    theirs = b[y0 - by0 : y1 - by0, x0 - bx0 : x1 - bx0]
    return int((mine & theirs).sum())


def iou(one: Placed, other: Placed) -> float:
    """Return the IoU of two masks, neither of them empty."""
    both = shared_px(one, other)
    return both / (int(one[0].sum()) + int(other[0].sum()) - both)


def same(one: Placed, other: Placed, nms_iou: float, contained: float) -> bool:
    """Return whether two masks, neither of them empty, are one object.

    Args:
        one: A mask.
        other: Another one.
        nms_iou: IoU from which two masks are one object.
        contained: Part of the smaller inside the larger from which they are one object.
    """
    both = shared_px(one, other)
    areas = int(one[0].sum()), int(other[0].sum())
    return both > 0 and (both >= nms_iou * (sum(areas) - both) or both >= contained * min(areas))


def different(
    placed: Sequence[Placed], quality: Sequence[float], nms_iou: float, contained: float
) -> list[int]:
    """Return the rows of different objects, the best first.

    Args:
        placed: Masks, none of them empty.
        quality: Which of two of one object stays.
        nms_iou: As for `same`.
        contained: As for `same`.
    """
    kept: list[int] = []
    for row in sorted(range(len(placed)), key=lambda row: -quality[row]):
        if not any(same(placed[row], placed[other], nms_iou, contained) for other in kept):
            kept.append(row)
    return kept
