"""What a prompt that comes late costs in quality, and what a replay of the frames since costs.

    python tools/measure_late.py --data DIR [--data DIR ...] [--late 4 8 16 32] [--starts 3]
        [--frames N] [--objects 12] [--json FILE] [--markdown FILE]

The objects of frame t are prompted with their true masks when the tracker has stepped through frame
u = t + k. IoU with the truth is taken in the first frame after, u+1, and over the up to eight
frames u+1 .. u+8, where the object is there to be found. The ways:

    never late  prompted at t, followed from there
    replay      prompted about t at u, the frames between are run again (`catch_up="replay"`)
    jump        prompted about t at u, frame u+1 attends to frame t (`catch_up="jump"`)
    as if now   the mask of t is taken for one of frame u, which is what there is to do without
                memory of frames gone by

Start frames t are spread evenly over each film; films too short for a lateness are left out of it.
Means are over the objects and starts of a folder, then over the folders. The cost of a replay is
the time of the prompt with replay less that of the same prompt with a jump, for each frame run
again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from measuring import (
    Film,
    Parser,
    Table,
    common_options,
    find_data,
    guarded,
    masks_in,
    objects_in,
    positive,
    progress,
    prompts_for,
    read_film,
    write,
)

from engines.features import Features
from engines.objects import Prompt
from engines.registry import default_limits, load_tracker
from engines.tracker import Tracker
from stream.errors import UsageError
from stream.evaluate import AnnotatedSequence, region_similarity

NEVER: Final = "never late"
REPLAY: Final = "replay"
JUMP: Final = "jump"
AS_NOW: Final = "as if now"
WAYS: Final = (NEVER, REPLAY, JUMP, AS_NOW)
AFTER_FRAMES: Final = 8


@dataclass(frozen=True)
class Case:
    """Objects of one frame of a film, and how late they are prompted."""

    film: Film
    features: list[Features]
    start: int
    """The frame that the prompts are about, t."""
    late: int
    """Frames that the prompts come late by, k."""
    object_ids: list[int]

    @property
    def prompts(self) -> dict[int, Prompt]:
        """The true masks of frame t."""
        return prompts_for(self.film.ids[self.start], self.object_ids)

    @property
    def after(self) -> range:
        """The frames in which the result is looked at."""
        first = self.start + self.late + 1
        return range(first, min(first + AFTER_FRAMES, len(self.film.ids)))


@dataclass
class Late:
    """What was seen in one folder at one lateness, by way."""

    first: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """IoU in the first frame after, of each object that is there."""
    mean: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Mean IoU over the frames after, of each object that is there in one of them."""
    replay_ms: list[float] = field(default_factory=list)
    """Time of each replay for one frame run again."""
    prompted: list[int] = field(default_factory=list)
    """Objects of each replay."""


def starts_of(frames: int, lates: list[int], wanted: int) -> tuple[list[int], list[int]]:
    """Choose the start frames of a film.

    Args:
        frames: Length of the film.
        lates: How late prompts come, in frames.
        wanted: Most starts.

    Returns:
        Start frames, the same for every lateness, and the latenesses that the film is long enough
        for: one frame after them must be there.
    """
    possible = [late for late in lates if late + 1 < frames]
    if not possible:
        return [], []
    last = max(0, frames - 1 - max(possible) - AFTER_FRAMES)
    return sorted(set(np.linspace(0, last, wanted).astype(int).tolist())), possible


def follow(
    tracker: Tracker, case: Case, way: str
) -> tuple[dict[int, dict[int, np.ndarray]], float]:
    """Run one case in one way.

    Returns:
        Frame -> id -> (H, W) bool for the frames after, and the seconds that the prompt took.
    """
    start, now = case.start, case.start + case.late
    tracker.reset()
    took_s = 0.0
    if way == NEVER:
        tracker.add_objects(0, case.features[start], case.prompts)
    for frame in range(start, now + 1):
        tracker.step(frame - start, case.features[frame])
    if way != NEVER:
        began_s = _now_s(tracker)
        _prompt(tracker, case, way)
        took_s = _now_s(tracker) - began_s
    seen = {}
    for frame in case.after:
        results = tracker.step(frame - start, case.features[frame])
        seen[frame] = masks_in(results, case.film.size)
    return seen, took_s


def _prompt(tracker: Tracker, case: Case, way: str) -> None:
    if way == AS_NOW:
        tracker.add_objects(case.late, case.features[case.start + case.late], case.prompts)
    else:
        tracker.add_objects(0, None, case.prompts, catch_up="replay" if way == REPLAY else "jump")


def _now_s(tracker: Tracker) -> float:
    if tracker.device.type == "cuda":
        torch.cuda.synchronize(tracker.device)
    return time.perf_counter()


def ious(case: Case, seen: dict[int, dict[int, np.ndarray]]) -> tuple[list[float], list[float]]:
    """Hold results against the truth.

    Returns:
        IoU in the first frame after and mean IoU over the frames after, of each object for which
        there is something to be found.
    """
    first, means = [], []
    for object_id in case.object_ids:
        own = {}
        for frame, masks in seen.items():
            truth = case.film.ids[frame] == object_id
            if truth.any():
                own[frame] = region_similarity(truth, masks[object_id])
        if case.after[0] in own:
            first.append(own[case.after[0]])
        if own:
            means.append(float(np.mean(list(own.values()))))
    return first, means


def measure_case(tracker: Tracker, case: Case, late: Late) -> None:
    """Run one case in all ways and note what came out."""
    took_s = {}
    for way in WAYS:
        seen, took_s[way] = follow(tracker, case, way)
        first, means = ious(case, seen)
        late.first[way] += first
        late.mean[way] += means
    late.replay_ms.append((took_s[REPLAY] - took_s[JUMP]) / case.late * 1e3)
    late.prompted.append(len(case.object_ids))


def measure_film(
    tracker: Tracker,
    film: Film,
    args: argparse.Namespace,
    lates: dict[tuple[str, int], Late],
    tick: Callable[[], None],
) -> None:
    """Run all cases of a film; `lates` is by folder and lateness."""
    starts, possible = starts_of(len(film.ids), args.late, args.starts)
    features = [tracker.encode(image) for image in film.images] if starts else []
    for start in starts:
        wanted = objects_in(film.ids[start], args.objects)
        for late in possible if wanted else []:
            case = Case(film, features, start, late, wanted)
            measure_case(tracker, case, lates[film.data, late])
            tick()


# -- results -----------------------------------------------------------------------------------


def rows_of(lates: dict[tuple[str, int], Late]) -> list[dict[str, Any]]:
    """Return one row of figures for each folder and lateness, then the means over folders."""
    rows = []
    for (data, late), seen in sorted(lates.items(), key=lambda item: (item[0][1], item[0][0])):
        if seen.mean[NEVER]:
            rows.append(
                {
                    "data": data,
                    "late": late,
                    "objects": len(seen.mean[NEVER]),
                    "first_iou": {way: _mean(seen.first[way]) for way in WAYS},
                    "mean_iou": {way: _mean(seen.mean[way]) for way in WAYS},
                    "replay_ms_per_frame": statistics.median(seen.replay_ms),
                    "replay_objects": float(np.mean(seen.prompted)),
                }
            )
    by_late = [[row for row in rows if row["late"] == k] for k in sorted({k for _, k in lates})]
    return rows + [_over_folders(alike) for alike in by_late if len(alike) > 1]


def _over_folders(rows: list[dict[str, Any]]) -> dict[str, Any]:
    mean: dict[str, Any] = {}
    for key in ("first_iou", "mean_iou"):
        mean[key] = {
            way: _mean([row[key][way] for row in rows if row[key][way] is not None]) for way in WAYS
        }
    for key in ("replay_ms_per_frame", "replay_objects"):
        mean[key] = _mean([row[key] for row in rows])
    objects = sum(row["objects"] for row in rows)
    return {"data": "mean", "late": rows[0]["late"], "objects": objects, **mean}


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def tables_of(rows: list[dict[str, Any]]) -> list[Table]:
    """Return the tables of IoU and of the cost of a replay."""
    label = ["frames late", "data"]
    last = f"u+1 to u+{AFTER_FRAMES}"
    tables = []
    for key, when in (("first_iou", "at u+1"), ("mean_iou", f"mean of {last}")):
        cells = []
        for row in rows:
            shown = ["" if row[key][way] is None else f"{row[key][way]:.3f}" for way in WAYS]
            cells.append([str(row["late"]), row["data"], str(row["objects"]), *shown])
        title = f"IoU with the truth after a late prompt, {when}"
        tables.append(Table(title, [*label, "objects", *WAYS], cells))
    cost = []
    for row in rows:
        ms, prompted = row["replay_ms_per_frame"], row["replay_objects"]
        numbers = [f"{prompted:.1f}", f"{ms:.1f}", f"{ms * row['late']:.0f}"]
        cost.append([str(row["late"]), row["data"], *numbers])
    columns = [*label, "objects at once", "ms a late frame", "ms in all"]
    return [*tables, Table("Time of a replay", columns, cost)]


# -- command line ------------------------------------------------------------------------------


def measure(
    args: argparse.Namespace, sequences: list[tuple[str, AnnotatedSequence]]
) -> dict[tuple[str, int], Late]:
    """Measure all films."""
    limits = replace(default_limits(args.model), late_frames=max(args.late))
    tracker = load_tracker(
        args.model,
        weights=args.weights,
        precision=args.precision,
        device=args.device,
        limits=limits,
    )
    lates: dict[tuple[str, int], Late] = defaultdict(Late)
    plans = [starts_of(len(sequence), args.late, args.starts) for _, sequence in sequences]
    with progress() as bar:
        task = bar.add_task("late prompts", total=sum(len(s) * len(k) for s, k in plans))
        for data, sequence in sequences:
            measure_film(tracker, read_film(data, sequence), args, lates, lambda: bar.advance(task))
    return lates


def run(args: argparse.Namespace) -> None:
    """Measure and write."""
    args.late = sorted(set(args.late))
    rows = rows_of(measure(args, find_data(args.data, args.frames)))
    if not rows:
        raise UsageError(
            f"no sequence is long enough: {min(args.late) + 2} frames with an object in the first "
            "are needed; give longer ones or a smaller --late"
        )
    write(args, tables_of(rows), {"precision": args.precision, "rows": rows})


def main(argv: list[str] | None = None) -> int:
    """Read the options and run; returns the exit status."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    common_options(parser)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16", "auto"])
    parser.add_argument(
        "--late", type=positive, nargs="+", default=[4, 8, 16, 32], metavar="K", help="frames"
    )
    parser.add_argument("--starts", type=positive, default=3, help="start frames of each film")
    return guarded(run, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
