"""Which network tolerates which precision: each alone in it, all others in float32.

    python tools/measure_precision.py [--model micro] [--image-size N] [--to openvino]
        [--film-frames 50] [--objects 4] [--json FILE] [--markdown FILE]

For each network and precision: the relative error of its worst output, and the mean and the least
IoU with torch's masks over a film with the memory in the loop.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Parser, Table, guarded, positive, progress, write

from engines.backends import Runner, Running, get
from engines.errors import ModelError
from engines.networks import sam2_networks
from engines.registry import load_sam2
from export import formats
from export.film import drawn_film, follow, reference_runners
from export.parity import compare_films, compare_tensors

WAYS = ("openvino", "onnx")


def measure(args: argparse.Namespace, tick: Callable[[], None]) -> list[dict[str, Any]]:
    """Return a row for each network and precision, and for all networks together."""
    model, to = args.model, args.to
    loaded = load_sam2(model, args.weights, args.image_size)
    networks = sam2_networks(loaded.model)
    film = drawn_film(int(loaded.model.image_size), args.film_frames, args.objects)
    recorded = reference_runners(networks)
    truth = follow(model, copy.deepcopy(loaded.model), recorded, film, lambda: None)
    backend = get(formats.BACKEND_OF[to])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made: dict[tuple[str, str], Runner] = {}
        for precision in formats.PRECISIONS_OF[backend.name]:
            for name, network in networks.items():
                path = Path(folder) / f"{name}-{precision}{backend.suffix}"
                formats.write(
                    backend.name, copy.deepcopy(network), path, precision, recorded[name].seen
                )
                made[name, precision] = backend.load(path, network, precision, Running())
        low = [p for p in formats.PRECISIONS_OF[backend.name] if p != "fp32"]
        cases = [((name,), precision) for precision in low for name in networks]
        cases += [(tuple(networks), precision) for precision in ("fp32", *low)]
        for names, precision in cases:
            tick()
            runners = {
                name: made[name, precision if name in names else "fp32"] for name in networks
            }
            row: dict[str, Any] = {
                "network": names[0] if len(names) == 1 else "all",
                "precision": precision,
            }
            try:
                tensors = [
                    output.relative
                    for name in names
                    for output in compare_tensors(
                        recorded[name].run, runners[name], recorded[name].seen
                    ).values()
                ]
                found = follow(model, copy.deepcopy(loaded.model), runners, film, lambda: None)
            except ModelError as failure:
                rows.append(row | {"cannot": str(failure)})
                continue
            error = compare_films(truth, found)
            rows.append(
                row
                | {
                    "worst_relative": max(tensors),
                    "mean_iou": error.mean_iou,
                    "least_iou": error.least_iou,
                }
            )
    return rows


def _figures(row: dict[str, Any]) -> list[str]:
    if "cannot" in row:
        return ["cannot run", "", ""]
    relative, mean, least = (row[key] for key in ("worst_relative", "mean_iou", "least_iou"))
    return [f"{relative:.1e}", f"{mean:.4f}", f"{least:.3f}"]


def main(args: argparse.Namespace) -> None:
    """Measure and print."""
    with progress() as bar:
        task = bar.add_task("networks", total=None)
        rows = measure(args, lambda: bar.advance(task))
    columns = ["network", "precision", "worst relative error", "mean IoU", "least IoU"]
    cells = [[row["network"], row["precision"], *_figures(row)] for row in rows]
    title = f"{args.model} to {args.to}, {args.film_frames} frames, {args.objects} objects"
    write(args, [Table(title, columns, cells)], {"rows": rows})


def options() -> argparse.ArgumentParser:
    """Return the options."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="micro")
    parser.add_argument("--weights", help="a path or random:SEED")
    parser.add_argument("--image-size", type=positive)
    parser.add_argument("--to", choices=WAYS, default="openvino")
    parser.add_argument("--film-frames", type=positive, default=50)
    parser.add_argument("--objects", type=positive, default=4)
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    parser.set_defaults(device="cpu")
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main, options().parse_args()))
