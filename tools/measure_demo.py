"""How well a text finds and follows the cells of the drawn film, against its truth.

    python tools/measure_demo.py [--config FILE] [--seconds 15] [--stride 3] [--seeds 0 1 2]
        [--look fluo] [--pictures DIR] [--json]

The tracker and the detector run in this process, frame by frame, with a fixed lateness of the
detections, so that the figures depend on the models and not on the machine's speed. `--stride 3`
tracks every third frame of the 30 a second, which is about what a live run on two cores takes.

For each film: recall and precision of the published masks at IoU 0.5 (all frames, after the first
second), mean IoU of what was found, how often a cell's id changed, and the ids ever given beside
the cells that there ever were.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress

from stream.config import Config, load
from stream.core import make_detector_core
from stream.core.track import TrackCore
from stream.frame import Frame, Masks
from stream.offline.clients import InlineDetector
from stream.question import question_of
from stream.synth import CellFilm, CellFilmSpec

WARM_UP_S = 1.0


@dataclass
class Figures:
    """One film's result."""

    seed: int
    recall: float
    precision: float
    iou: float
    id_changes: int
    ever: int
    true_ever: int
    frames: int


@dataclass
class Tally:
    """Counts over the frames of a film."""

    found: int = 0
    true: int = 0
    given: int = 0
    iou: float = 0.0
    id_changes: int = 0

    def __post_init__(self) -> None:
        self._last: dict[int, int] = {}

    def add(self, masks: Masks, ids: np.ndarray) -> None:
        """Match a frame's masks with its true ids; a cell of under 60 px is not asked for."""
        true, areas = np.unique(ids, return_counts=True)
        visible = {int(i): int(a) for i, a in zip(true, areas, strict=True) if i and a >= 60}
        self.true += len(visible)
        best: dict[int, tuple[float, int]] = {}
        for item in masks.objects:
            if item.area == 0:
                continue
            self.given += 1
            x0, y0, x1, y1 = item.box
            inside = ids[y0:y1, x0:x1][item.mask]
            hit, shared = np.unique(inside[inside > 0], return_counts=True)
            for cell, count in zip(hit.tolist(), shared.tolist(), strict=True):
                iou = count / (item.area + visible.get(cell, 0) - count)
                if cell in visible and iou >= 0.5:
                    best[cell] = max(best.get(cell, (0.0, 0)), (iou, item.id))
        for cell, (iou, track) in best.items():
            self.found += 1
            self.iou += iou
            self.id_changes += self._last.get(cell, track) != track
            self._last[cell] = track


def measure(config: Config, seed: int, args: argparse.Namespace, tick: Any) -> Figures:
    """Run one film."""
    tracker = TrackCore(config.tracker, config.detector, config.lifecycle, question_of(config))
    tracker.prepare()
    tracker.live = False
    detector = make_detector_core(config)
    detector.prepare()
    torch.set_num_threads(args.threads)
    client = InlineDetector(detector)
    film = CellFilm(CellFilmSpec(seed=seed, look=args.look, objects=args.objects))
    tally, frames = Tally(), int(args.seconds * 30)
    for index in range(frames):
        drawn = film.frame()
        tick()
        if index % args.stride:
            continue
        masks = tracker.step(Frame(index, drawn.image, drawn.time_s, 0), client)
        if drawn.time_s >= WARM_UP_S:
            tally.add(masks, drawn.ids)
        if args.pictures and index % (args.stride * 50) == 0:
            _picture(args.pictures, seed, index, drawn.image, masks)
    return Figures(
        seed=seed,
        recall=round(tally.found / max(tally.true, 1), 3),
        precision=round(tally.found / max(tally.given, 1), 3),
        iou=round(tally.iou / max(tally.found, 1), 3),
        id_changes=tally.id_changes,
        ever=tracker.report()["objects"]["ever"],
        true_ever=film.ever,
        frames=frames // args.stride,
    )


def _picture(folder: Path, seed: int, index: int, image: np.ndarray, masks: Masks) -> None:
    from stream.sinks.overlay import draw_overlay

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_overlay(image, masks)).save(folder / f"seed{seed}-{index:05d}.png")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--stride", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--look", default="fluo")
    parser.add_argument("--text", default="cell")
    parser.add_argument("--config", type=Path, help="a run's YAML; its source is not used")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=Path, help="write overlays into this folder")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    overrides: dict[str, Any] = {"texts": [args.text]}
    for item in args.set:
        key, value = item.split("=", 1)
        overrides[key] = value
    config = load(args.config, overrides)
    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("frames", total=len(args.seeds) * int(args.seconds * 30))
        rows = [measure(config, seed, args, lambda: bar.advance(task)) for seed in args.seeds]
    if args.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print("seed  recall  precision  IoU    id changes  ids ever / cells ever  frames")
    for row in rows:
        print(
            f"{row.seed:4d}  {row.recall:6.3f}  {row.precision:9.3f}  {row.iou:5.3f}  "
            f"{row.id_changes:10d}  {row.ever:8d} / {row.true_ever:<10d}  {row.frames:6d}"
        )


if __name__ == "__main__":
    main()
