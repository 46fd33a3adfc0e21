"""What drawing the edges of masks again gains, and what it costs.

    python tools/measure_edges.py [--films 12] [--threads 2] [--json FILE] [--markdown FILE]

Drawn films of cells that no training saw, all looks alike, 640x480. Each true mask is brought to
the grid of the micro decoder, 64 x 64 cells for the whole frame, and back, as the best segmenter
with that grid could give it. Then its edge is drawn again. IoU with the truth before and after, by
the area of the object; and the time for 1, 8 and 32 masks of one frame, in fp32 and in bf16 where
the processor has it, as the median of some calls.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measuring import Parser, Table, guarded, positive, progress, write

from engines.edges import Edges, Outline, Placed, whole
from engines.images import mask_in_frame
from engines.precision import choose_precision
from engines.registry import load_edges
from stream.synth import LOOKS, CellFilm, CellFilmSpec

GRID = 64
SIZE = (480, 640)
FIRST_SEED = 52_000  # far from the seeds that training, calibration and the demo draw
DIAMETERS_PX = (18.0, 26.0, 38.0, 56.0, 80.0)
AREAS_PX = (400, 1000, 2500)
"""Bounds between small, medium, large and largest objects."""
CALLS = 15


@dataclass(frozen=True)
class Case:
    """One object: its truth, and its mask as it comes from the decoder's grid."""

    true: torch.Tensor
    """(H, W) bool."""
    coarse: Placed

    @property
    def area_px(self) -> int:
        """Of the truth."""
        return int(self.true.sum())


def frames(count: int) -> Iterator[tuple[np.ndarray, list[Case]]]:
    """Draw one frame of each film, with its objects."""
    for number in range(count):
        spec = CellFilmSpec(
            objects=24, seed=FIRST_SEED + number, look=LOOKS[number % len(LOOKS)],
            height=SIZE[0], width=SIZE[1], diameter_px=DIAMETERS_PX[number % len(DIAMETERS_PX)],
        )  # fmt: skip
        film = CellFilm(spec)
        film.skip(40)
        drawn = film.frame()
        yield drawn.image.astype(np.uint8, copy=False), cases(drawn.ids)


def cases(ids: np.ndarray) -> list[Case]:
    """Return the objects of (H, W) ids whose masks are not lost on the grid."""
    found = []
    for object_id in np.unique(ids)[1:]:
        true = torch.from_numpy(ids == object_id)
        cover = F.interpolate(true[None, None].float(), (GRID, GRID), mode="area")[0, 0]
        coarse = mask_in_frame((cover - 0.5).numpy(), SIZE)
        if coarse[0].size:
            found.append(Case(true, coarse))
    return found


def iou(place: Placed, true: torch.Tensor) -> float:
    """Return the IoU of a mask with its truth."""
    mask = whole(place, SIZE)
    return float((mask & true).sum() / (mask | true).sum())


def gains(edges: Edges, count: int) -> list[tuple[int, float, float]]:
    """Return area in pixels, IoU before and IoU after of each object."""
    seen = []
    for image, some in frames(count):
        drawn = edges.draw(image, [Outline(*case.coarse) for case in some])
        seen += [
            (case.area_px, iou(case.coarse, case.true), iou(place, case.true))
            for case, place in zip(some, drawn, strict=True)
        ]
    return seen


def time_ms(edges: Edges, masks: int) -> float:
    """Return the median milliseconds of drawing so many masks of one frame."""
    image, some = next(frames(1))
    outlines = [Outline(*some[number % len(some)].coarse) for number in range(masks)]
    taken = []
    for _ in range(CALLS + 2):
        start_s = time.perf_counter()
        edges.draw(image, outlines)
        taken.append((time.perf_counter() - start_s) * 1e3)
    return statistics.median(taken[2:])


def by_area(seen: list[tuple[int, float, float]]) -> list[list[str]]:
    """Return rows of means: all, and by the bounds of `AREAS_PX`."""
    bounds = [0, *AREAS_PX, sys.maxsize]
    groups = [("all", seen)]
    for low, high in pairwise(bounds):
        name = f"{low} px to {high} px" if high != sys.maxsize else f"from {low} px"
        groups.append((name, [row for row in seen if low <= row[0] < high]))
    return [
        [
            name,
            str(len(rows)),
            *(f"{statistics.mean(r[side] for r in rows):.3f}" for side in (1, 2)),
        ]
        for name, rows in groups
        if rows
    ]


def main(args: argparse.Namespace) -> None:
    """Measure and print."""
    torch.set_num_threads(args.threads)
    precisions = dict.fromkeys(["fp32", choose_precision("auto", "cpu")])
    with progress() as bar:
        task = bar.add_task("edges", total=1 + len(precisions))
        # Each object is judged for itself: who claims a pixel is another question.
        seen = gains(load_edges("micro", args.weights), args.films)
        bar.advance(task)
        times = {}
        for precision in precisions:
            edges = load_edges("micro", args.weights, precision=precision)
            times[precision] = [round(time_ms(edges, masks), 2) for masks in (1, 8, 32)]
            bar.advance(task)
    rows = by_area(seen)
    quality = Table(
        "IoU of masks from a grid of 64 x 64", ["area", "masks", "before", "after"], rows
    )
    columns = ["precision", "1 mask, ms", "8 masks, ms", "32 masks, ms"]
    cost = [[name, *(f"{value:.1f}" for value in found)] for name, found in times.items()]
    title = f"Drawing edges again, 640x480, {args.threads} threads"
    figures = {"quality": rows, "time_ms": times, "threads": args.threads}
    write(args, [quality, Table(title, columns, cost)], figures)


def options() -> argparse.ArgumentParser:
    """Return the options."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--films", type=positive, default=12)
    parser.add_argument("--weights", help="of the segmenter beside which a refiner lies")
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.set_defaults(model="micro", device="cpu")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main, options().parse_args()))
