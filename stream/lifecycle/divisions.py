"""Whether two objects were one a moment ago. Pure.

A cell that divides leaves two, each about half as large, about where it was. Its track follows one
of them; by the Cell Tracking Challenge's convention its id ends, and both daughters have ids of
their own and name it as their parent (Ulman et al. 2017, "An objective comparison of cell-tracking
algorithms").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stream.config import LifecycleConfig
from stream.frame import BoolMask

#: Area of a daughter, and of both, as parts of the mother's.
ONE, BOTH = (0.15, 0.8), (0.5, 1.5)


def division_iou(mother: BoolMask, one: BoolMask, other: BoolMask) -> float:
    """Return how well two objects fill the place of a third.

    Args:
        mother: (h, w) bool, before.
        one: (h, w) bool, after.
        other: (h, w) bool, after.

    Returns:
        IoU of the two together with the third; 0 where their sizes are not those of daughters, or
        one of them is beside it.
    """
    area = int(mother.sum())
    first, second = int(one.sum()), int(other.sum())
    if not all(ONE[0] * area <= part <= ONE[1] * area for part in (first, second)) or not area:
        return 0.0
    both = one | other
    if not BOTH[0] * area <= both.sum() <= BOTH[1] * area:
        return 0.0
    if not (one & mother).any() or not (other & mother).any():
        return 0.0
    return float((both & mother).sum() / (both | mother).sum())


def find_mother(
    one: BoolMask,
    others: Mapping[int, BoolMask],
    before: Mapping[int, Iterable[BoolMask]],
    rules: LifecycleConfig,
) -> int | None:
    """Return the track whose object an object that is new has split from.

    Args:
        one: (h, w) bool, the new object.
        others: Objects beside it by the id of the track that each supports.
        before: What detections of the events before showed of each track. A track's own masks
            would not do: one that has swallowed a neighbour looks like a mother, too.
        rules: `division_iou`.

    Returns:
        The id of the one whose division explains both best, None where none does.
    """
    best: tuple[float, int] | None = None
    for track_id, other in others.items():
        for mother in before.get(track_id, ()):
            iou = division_iou(mother, other, one)
            if iou >= rules.division_iou and iou > 0 and (best is None or iou > best[0]):
                best = iou, track_id
    return best[1] if best else None
