"""SEG, DET, TRA and LNK of the Cell Tracking Challenge.

SEG (Maska et al. 2014): the mean IoU of the true objects with the result that covers more than half
of them, 0 where none does. DET, TRA and LNK (Matula et al. 2015): how cheaply the found graph of
detections and links is corrected into the true one, against building that one from nothing. The
corrections are counted by py-ctcmetrics, which the extra `eval` installs; without it the three are
None.

Conventions:
- A track with a hole is not valid in the challenge. It is cut there, and what follows is a new
  track whose parent is the old one. Truth and result are treated alike.
- There are no other parents: masks name none, so what the tracker says of divisions is left out.
- Where nothing is true, SEG, DET and TRA are undefined (None), as is LNK without a true link.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stream.evaluate.layers import Labels
from stream.evaluate.regions import Ids, check_alike

Numbers = npt.NDArray[np.int64]
EXTRA: Final = "eval"
MODULE: Final = "ctc_metrics"

SPLIT_COST: Final = 5.0
MISSED_COST: Final = 10.0
INVENTED_COST: Final = 1.0
NEEDLESS_LINK_COST: Final = 1.0
MISSING_LINK_COST: Final = 1.5
WRONG_LINK_COST: Final = 1.0


def is_installed() -> bool:
    """Return whether corrections can be counted."""
    return find_spec(MODULE) is not None


@dataclass(frozen=True, slots=True)
class CellTracking:
    """The four figures, in [0, 1]; None where undefined, or not installed."""

    seg: float | None
    det: float | None
    tra: float | None
    lnk: float | None
    corrections: dict[str, int] = field(default_factory=dict)
    """By the challenge's names: NS, FN, FP (detections), ED, EA, EC (links)."""


class CellTrackingTally:
    """Takes in the frames of one film, or images that stand alone.

    Args:
        linked: Whether an id means the same object in the next frame; without it only SEG and DET
            are defined.
    """

    def __init__(self, linked: bool = True) -> None:
        self._linked = linked
        self._covered: list[float] = []
        self._true: list[Numbers] = []
        self._found: list[Numbers] = []
        self._pairs: list[tuple[Numbers, Numbers]] = []

    def add(self, truth: Ids, found: Labels) -> None:
        """Take in the next frame.

        Args:
            truth: (H, W) ids, 0 background.
            found: (H, W) ids, 0 background.

        Raises:
            ValueError: The two differ in shape.
        """
        check_alike(truth, found)
        true_ids, true_areas = _areas(truth)
        found_ids, found_areas = _areas(found)
        shared = _shared(truth, found, true_ids, found_ids)
        # More than half of a true object can be covered by one found object only.
        rows, columns = np.nonzero(shared > 0.5 * true_areas[:, None])
        both = shared[rows, columns]
        iou = both / (true_areas[rows] + found_areas[columns] - both)
        self._covered += [*iou.tolist(), *[0.0] * (len(true_ids) - len(rows))]
        self._true.append(true_ids)
        self._found.append(found_ids)
        self._pairs.append((true_ids[rows], found_ids[columns]))

    def result(self) -> CellTracking:
        """Return the figures over all frames so far."""
        if not self._covered:
            return CellTracking(None, None, None, None)
        seg = float(np.mean(self._covered))
        if not is_installed():
            return CellTracking(seg, None, None, None)
        count = self._corrections()
        return CellTracking(
            seg,
            _share_left(_detecting(count), MISSED_COST * count["num_vertices"]),
            _tracking(count) if self._linked else None,
            _share_left(_linking(count), MISSING_LINK_COST * count["num_edges"])
            if self._linked and count["num_edges"]
            else None,
            {name: count[name] for name in ("NS", "FN", "FP", "ED", "EA", "EC")},
        )

    def _corrections(self) -> dict[str, int]:
        from ctc_metrics.utils.representations import count_acyclic_graph_correction_operations

        true, true_names = _tracks(self._true, self._linked)
        found, found_names = _tracks(self._found, self._linked)
        pairs = [
            (
                np.array([true_names[frame, i] for i in mine.tolist()], dtype=np.int64),
                np.array([found_names[frame, i] for i in theirs.tolist()], dtype=np.int64),
            )
            for frame, (mine, theirs) in enumerate(self._pairs)
        ]
        # A last frame in which nothing is changes nothing; without it, one frame is refused.
        nothing = np.zeros(0, dtype=np.int64)
        counts: dict[str, Any] = count_acyclic_graph_correction_operations(
            true.table,
            found.table,
            [*true.labels, nothing],
            [*found.labels, nothing],
            [*(mine for mine, _ in pairs), nothing],
            [*(theirs for _, theirs in pairs), nothing],
        )
        return {name: int(value) for name, value in counts.items()}


def _detecting(count: dict[str, int]) -> float:
    return SPLIT_COST * count["NS"] + MISSED_COST * count["FN"] + INVENTED_COST * count["FP"]


def _linking(count: dict[str, int]) -> float:
    return (
        NEEDLESS_LINK_COST * count["ED"]
        + MISSING_LINK_COST * count["EA"]
        + WRONG_LINK_COST * count["EC"]
    )


def _tracking(count: dict[str, int]) -> float:
    anew = MISSED_COST * count["num_vertices"] + MISSING_LINK_COST * count["num_edges"]
    return _share_left(_detecting(count) + _linking(count), anew)


def _share_left(cost: float, anew: float) -> float:
    return 1.0 - min(cost, anew) / anew


def _areas(labels: npt.NDArray[Any]) -> tuple[Numbers, Numbers]:
    ids, areas = np.unique(labels, return_counts=True)
    inside = ids != 0
    return ids[inside].astype(np.int64), areas[inside].astype(np.int64)


def _shared(truth: Ids, found: Labels, true_ids: Numbers, found_ids: Numbers) -> Numbers:
    """Return (T, P) pixels that each true and each found object share."""
    both = (truth != 0) & (found != 0)
    rows = np.searchsorted(true_ids, truth[both])
    columns = np.searchsorted(found_ids, found[both])
    shape = (len(true_ids), len(found_ids))
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Tracks:
    table: Numbers
    """(N, 4): label, first frame, last frame, parent or 0."""
    labels: list[Numbers]
    """The labels of each frame, rising."""


def _tracks(frames: list[Numbers], linked: bool) -> tuple[_Tracks, dict[tuple[int, int], int]]:
    """Cut tracks at their holes, and number them anew.

    Returns:
        The tracks without holes, and the new label of each (frame, id).
    """
    seen: dict[int, list[int]] = defaultdict(list)
    for frame, ids in enumerate(frames):
        for track in ids.tolist():
            seen[track].append(frame)
    rows: list[tuple[int, int, int, int]] = []
    names: dict[tuple[int, int], int] = {}
    for track in sorted(seen):
        parent = 0
        for first, last in _runs(seen[track], linked):
            label = len(rows) + 1
            rows.append((label, first, last, parent if linked else 0))
            names |= {(frame, track): label for frame in range(first, last + 1)}
            parent = label
    labels = [
        np.array(sorted(names[frame, track] for track in ids.tolist()), dtype=np.int64)
        for frame, ids in enumerate(frames)
    ]
    return _Tracks(np.array(rows, dtype=np.int64).reshape(-1, 4), labels), names


def _runs(frames: list[int], linked: bool) -> list[tuple[int, int]]:
    """Return the first and last frame of each part without a hole."""
    if not linked:
        return [(frame, frame) for frame in frames]
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs
