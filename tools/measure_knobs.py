"""What each knob of the tracker costs in quality and saves in time, against the exact tracker.

    python tools/measure_knobs.py --data DIR [--data DIR ...] [--frames 30] [--objects 12]
        [--settings NAME ...] [--backend NAME] [--precision NAME] [--image-size PX]
        [--skip-speed] [--skip-quality] [--json FILE] [--markdown FILE]

Quality: the true masks of the first frame are the prompts. Objects that appear later are not asked
for. J and F (DAVIS) of each object over all frames but the first, also those in which it is gone;
then the mean over the objects of a folder and over the folders. IDF1 is pooled over the films of a
folder, then averaged over the folders; the ids of the truth that were not asked for are left out.

Speed: a drawn film of cells, prompted with true masks; the time of `Tracker.step` alone, the image
encoder not counted. All settings step through the film together, frame by frame and in turns, so
that whatever else the machine does hits all alike; a ratio below 1 is faster than exact. A second
table has whole frames, the encoder counted, and how many times longer they take with more objects.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

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

from engines.registry import default_limits, load_tracker
from engines.settings import Calm, Savings, Window
from engines.tracker import Tracker
from stream.errors import UsageError
from stream.evaluate import AnnotatedSequence, Identity, IdentityTally, MaskTally, ObjectScore
from stream.synth import CellFilm, CellFilmSpec
from stream.synth.spec import MAX_OBJECTS

EXACT = "exact"
WARM_UP_FRAMES = 8
ROUNDS = 3
MOST_OBJECTS = MAX_OBJECTS * 4 // 5


@dataclass(frozen=True)
class Setting:
    """One way to run the tracker."""

    precision: str = ""
    """Empty: as the command line says."""
    image_size: int | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    """What differs from the model's own limits."""
    savings: Savings | None = None

    def load(self, args: argparse.Namespace) -> Tracker:
        """Load the model so set."""
        return load_tracker(
            args.model,
            weights=args.weights,
            image_size=self.image_size or args.image_size,
            precision=self.precision or args.precision,
            backend=args.backend,
            threads=args.threads,
            device=args.device,
            limits=replace(default_limits(args.model), **self.limits),
            savings=self.savings,
        )


SETTINGS = {
    EXACT: Setting(),
    "auto-precision": Setting(precision="auto"),
    "recent-2": Setting(limits={"recent_frames": 2}),
    "recent-4": Setting(limits={"recent_frames": 4}),
    "recent-6": Setting(limits={"recent_frames": 6}),
    "stride-2": Setting(limits={"stride": 2}),
    "pool-2": Setting(savings=Savings(pool=2)),
    "window-6": Setting(savings=Savings(window=Window(least_tokens=6))),
    "window-8": Setting(savings=Savings(window=Window())),
    "window-10": Setting(savings=Savings(window=Window(least_tokens=10))),
    "window-8-margin-1": Setting(savings=Savings(window=Window(margin=1.0))),
    "calm": Setting(savings=Savings(calm=Calm())),
    "size-192": Setting(image_size=192),
    "size-320": Setting(image_size=320),
    "window-calm": Setting(savings=Savings(window=Window(), calm=Calm())),
    "pool-calm": Setting(savings=Savings(pool=2, calm=Calm())),
}


# -- quality -----------------------------------------------------------------------------------


@dataclass
class Quality:
    """What one setting reached in one folder."""

    objects: list[ObjectScore] = field(default_factory=list)
    identity: Identity = field(default_factory=lambda: Identity(0, 0, 0, 0))

    def figures(self) -> dict[str, float]:
        """Return the means over objects and the pooled IDF1."""
        return {
            "J": float(np.mean([score.j for score in self.objects])),
            "F": float(np.mean([score.f for score in self.objects])),
            "JF": float(np.mean([score.jf for score in self.objects])),
            "idf1": self.identity.idf1,
            "switches": self.identity.switches,
            "objects": len(self.objects),
        }


def measure_quality(
    tracker: Tracker, film: Film, limit: int | None, tick: Callable[[], None]
) -> tuple[list[ObjectScore], Identity]:
    """Follow the first frame's objects through a film.

    Args:
        tracker: Is reset first.
        film: Its first frame holds objects.
        limit: How many objects are followed.
        tick: Called after each frame.

    Returns:
        The scores of each object, and how ids were kept.
    """
    wanted = objects_in(film.ids[0], limit)
    masks, identity = MaskTally(wanted), IdentityTally()
    tracker.reset()
    for index, (image, ids) in enumerate(zip(film.images, film.ids, strict=True)):
        features = tracker.encode(image)
        if index == 0:
            tracker.add_objects(0, features, prompts_for(ids, wanted))
        results = masks_in(tracker.step(index, features), film.size)
        tick()
        if index:
            truth = np.where(np.isin(ids, wanted), ids, 0)
            masks.add(truth, results)
            identity.add(truth, results)
    return list(masks.per_object().values()), identity.result()


def quality(
    args: argparse.Namespace,
    trackers: dict[str, Tracker],
    sequences: list[tuple[str, AnnotatedSequence]],
) -> list[dict[str, Any]]:
    """Measure every setting on every film; one row of figures each."""
    reached: dict[str, dict[str, Quality]] = {name: defaultdict(Quality) for name in trackers}
    with progress() as bar:
        task = bar.add_task("quality", total=sum(len(s) for _, s in sequences) * len(trackers))
        for data, sequence in sequences:
            film = read_film(data, sequence)
            if len(film.ids) < 2 or not film.ids[0].any():
                print(
                    f"{film.name}: not measured: fewer than two frames, or no object in the first",
                    file=sys.stderr,
                )
                continue
            for name, tracker in trackers.items():
                scores, identity = measure_quality(
                    tracker, film, args.objects, lambda: bar.advance(task)
                )
                reached[name][data].objects += scores
                reached[name][data].identity += identity
    if not reached[EXACT]:
        raise UsageError("none of the sequences has two frames and an object in the first")
    return [_quality_row(name, by_data) for name, by_data in reached.items()]


def _quality_row(name: str, by_data: dict[str, Quality]) -> dict[str, Any]:
    folders = {data: result.figures() for data, result in by_data.items()}
    means = {
        key: float(np.mean([figures[key] for figures in folders.values()]))
        for key in ("J", "F", "JF", "idf1")
    }
    switches = sum(int(figures["switches"]) for figures in folders.values())
    return {"setting": name, **means, "switches": switches, "by_data": folders}


def quality_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table; J&F by folder where there are several."""
    exact = rows[0]
    folders = list(exact["by_data"]) if len(exact["by_data"]) > 1 else []
    columns = ["setting", "J&F", "change", "J", "F", "IDF1", "id switches"]
    cells = []
    for row in rows:
        change = "" if row is exact else f"{row['JF'] - exact['JF']:+.3f}"
        values = [f"{row[key]:.3f}" for key in ("JF", "J", "F", "idf1")]
        values.insert(1, change)
        own = [f"{row['by_data'][data]['JF']:.3f}" for data in folders]
        cells.append([row["setting"], *values, str(row["switches"]), *own])
    return Table("Quality", columns + [f"J&F {data}" for data in folders], cells)


# -- speed -------------------------------------------------------------------------------------


def drawn_film(objects: int, frames: int) -> Film:
    """Draw cells that neither come, go nor divide; the ids of the largest are 1, 2, ..."""
    if objects > MOST_OBJECTS:
        raise UsageError(f"--speed-objects {objects} is too many; accepted are 1 to {MOST_OBJECTS}")
    spec = CellFilmSpec(objects=objects + objects // 4, enter_leave=False, divide_per_min=0.0)
    film = CellFilm(spec)
    drawn = [film.frame() for _ in range(frames)]
    areas = np.bincount(drawn[0].ids.ravel(), minlength=objects + 1)
    areas[0] = 0
    renamed = np.zeros(65536, np.uint16)
    renamed[np.argsort(-areas, kind="stable")[:objects]] = np.arange(1, objects + 1)
    if np.count_nonzero(areas) < objects:
        raise UsageError(f"{objects} objects do not all show in the drawn film; ask for fewer")
    return Film("drawn", "cells", [f.image for f in drawn], [renamed[f.ids] for f in drawn])


def measure_speed(
    trackers: dict[str, Tracker], film: Film, objects: int, tick: Callable[[], None]
) -> dict[str, list[tuple[float, float]]]:
    """Step all trackers through a film in turns.

    Returns:
        Seconds of each setting's encoder and of its steps, one pair a frame after the warm-up.
    """
    prompts = prompts_for(film.ids[0], objects_in(film.ids[0], objects))
    took_s: dict[str, list[tuple[float, float]]] = {name: [] for name in trackers}
    names = list(trackers)
    for tracker in trackers.values():
        tracker.reset()
    for index, image in enumerate(film.images):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            tracker = trackers[name]
            begun_s = time.perf_counter()
            features = tracker.encode(image)
            _settle(tracker)
            encoded_s = time.perf_counter() - begun_s
            if index == 0:
                tracker.add_objects(0, features, prompts)
            _settle(tracker)
            start_s = time.perf_counter()
            tracker.step(index, features)
            _settle(tracker)
            if index > WARM_UP_FRAMES:
                took_s[name].append((encoded_s, time.perf_counter() - start_s))
        tick()
    return took_s


def _settle(tracker: Tracker) -> None:
    if tracker.device.type == "cuda":
        torch.cuda.synchronize(tracker.device)


def speed(args: argparse.Namespace, trackers: dict[str, Tracker]) -> list[dict[str, Any]]:
    """Measure every setting with every number of objects; one row of figures each."""
    frames = 1 + WARM_UP_FRAMES + ROUNDS * args.speed_frames
    film = drawn_film(max(args.speed_objects), frames)
    rows: list[dict[str, Any]] = [
        {"setting": name, "ms": {}, "ratio": {}, "frame_ms": {}, "growth": {}} for name in trackers
    ]
    with progress() as bar:
        task = bar.add_task("speed", total=frames * len(args.speed_objects))
        for count in args.speed_objects:
            took_s = measure_speed(trackers, film, count, lambda: bar.advance(task))
            pairs = {name: np.reshape(found, (ROUNDS, -1, 2)) for name, found in took_s.items()}
            sums = {name: found[..., 1].sum(1) for name, found in pairs.items()}
            for row in rows:
                own = sums[row["setting"]]
                # Sums, as calm objects are stepped in turns; medians, as noise comes in bursts.
                row["ms"][count] = statistics.median(own.tolist()) / args.speed_frames * 1e3
                row["ratio"][count] = statistics.median((own / sums[EXACT]).tolist())
                whole = pairs[row["setting"]].sum((1, 2)).tolist()
                row["frame_ms"][count] = statistics.median(whole) / args.speed_frames * 1e3
                first = row["frame_ms"][args.speed_objects[0]]
                row["growth"][count] = row["frame_ms"][count] / first
    return rows


def speed_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table of step times and ratios."""
    counts = list(rows[0]["ms"])
    columns = ["setting", *(f"ms at {n}" for n in counts), *(f"ratio at {n}" for n in counts)]
    cells = [
        [
            row["setting"],
            *(f"{row['ms'][n]:.1f}" for n in counts),
            *(f"{row['ratio'][n]:.2f}" for n in counts),
        ]
        for row in rows
    ]
    return Table("Time of a step, by number of objects", columns, cells)


def growth_table(rows: list[dict[str, Any]]) -> Table:
    """Return the table of whole frames: their times, and those over that of the first number."""
    counts = list(rows[0]["frame_ms"])
    columns = [
        "setting",
        *(f"ms at {n}" for n in counts),
        *(f"{n} over {counts[0]}" for n in counts[1:]),
    ]
    cells = [
        [
            row["setting"],
            *(f"{row['frame_ms'][n]:.1f}" for n in counts),
            *(f"{row['growth'][n]:.2f}" for n in counts[1:]),
        ]
        for row in rows
    ]
    return Table("Time of a frame with its encoder, by number of objects", columns, cells)


# -- command line ------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Measure and write."""
    unknown = [name for name in args.settings if name not in SETTINGS]
    if unknown:
        raise UsageError(
            f"setting {', '.join(unknown)} is unknown; accepted are {', '.join(SETTINGS)}"
        )
    if args.skip_speed and args.skip_quality:
        raise UsageError("--skip-speed and --skip-quality leave nothing to measure; drop one")
    sequences = [] if args.skip_quality else find_data(args.data, args.frames)
    names = [EXACT, *(name for name in args.settings if name != EXACT)]
    trackers = {name: SETTINGS[name].load(args) for name in names}
    figures: dict[str, Any] = {
        "precision": {name: tracker.precision for name, tracker in trackers.items()}
    }
    tables = []
    if not args.skip_quality:
        figures["quality"] = quality(args, trackers, sequences)
        tables.append(quality_table(figures["quality"]))
    if not args.skip_speed:
        figures["speed"] = speed(args, trackers)
        tables += [speed_table(figures["speed"]), growth_table(figures["speed"])]
    write(args, tables, figures)


def main(argv: list[str] | None = None) -> int:
    """Read the options and run; returns the exit status."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    common_options(parser)
    parser.add_argument(
        "--settings", nargs="+", default=list(SETTINGS), metavar="NAME", help=", ".join(SETTINGS)
    )
    parser.add_argument("--backend", default="torch", help="as of `maskcast run`")
    parser.add_argument("--image-size", type=positive, help="the model's own")
    parser.add_argument("--precision", default="fp32", help="of settings that name none")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-quality", action="store_true")
    parser.add_argument("--speed-objects", type=positive, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--speed-frames", type=positive, default=12, help=f"in each of {ROUNDS} rounds"
    )
    return guarded(run, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
