"""How far masks that are kept in their tight boxes overlap, and which of them are one object."""

from __future__ import annotations

from collections.abc import Sequence

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


def different(
    placed: Sequence[Placed], quality: Sequence[float], nms_iou: float, contained: float
) -> list[int]:
    """Return the rows of different objects, the best first.

    Args:
        placed: Masks, none of them empty.
        quality: Which of two of one object stays.
        nms_iou: IoU above which two masks are one object.
        contained: Part of the smaller inside the larger above which they are one object.
    """
    kept: list[int] = []
    for row in sorted(range(len(placed)), key=lambda row: -quality[row]):
        mine = int(placed[row][0].sum())
        for other in kept:
            both, theirs = shared_px(placed[row], placed[other]), int(placed[other][0].sum())
            if both > nms_iou * (mine + theirs - both) or both > contained * min(mine, theirs):
                break
        else:
            kept.append(row)
    return kept
