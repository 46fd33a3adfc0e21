"""How well texts find objects in real images, setting by setting, and what its scores are worth.

    python tools/measure_detector.py --data DIR [--text TEXT] [--images 20] [--zoom 2]
        [--settings NAME ...] [--json FILE] [--markdown FILE] [--pictures DIR]
    python tools/measure_detector.py --drawn 24 --text cell

DIR holds images/ and masks/ (uint16 ids), and index.csv with the columns id and kind where images
are of several kinds. Only images that the micro models were never trained on are looked at: those
that `train.micro.data.is_held_out` sets aside; `--all-images` takes all, for data of one's own.
`--drawn` takes frames of drawn films instead, `--zoom` cuts each image into parts that are looked
at alone.

Every setting sees the same images in turns, so that whatever else the machine does hits all alike.
A detection is right when it is paired with a true object, one to one, at an IoU of 0.5 or more.
`live` counts what reaches the calibrated score from which on the live stage takes it. `folds`
counts from the score on that is best on the other half of the images: what a setting could reach
were its threshold chosen for it. AP is the area under the precision-recall curve.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector_images import drawn_stills, parts, read_stills, sample
from detector_models import Bench
from detector_plots import Line, precision_recall, reliability
from detector_scores import Seen, average_precision, curve, raw_threshold
from detector_tables import (
    LIVE_SCORE,
    kind_rows,
    kind_table,
    score_rows,
    score_table,
    setting_row,
    setting_tables,
    size_rows,
    size_table,
    text_rows,
    text_table,
    trust,
    trust_table,
)
from measuring import Parser, guarded, positive, progress, write

from engines.calibration import calibration
from engines.verification import CropSettings
from stream.errors import UsageError
from train.micro.data import Still
from train.platt import Bin

LIVE = "live"
TRUSTED = (LIVE, "quality-0.2")
SIZED = (LIVE, "quality-0.45", "sweep-32-quality-0.45")
EVERY = CropSettings(band=(0.0, 1.0), most=256)


@dataclass(frozen=True)
class Setting:
    """What differs from the live settings, and the table that it stands in."""

    table: str
    changes: dict[str, Any] = field(default_factory=dict)


def _crop(style: str) -> CropSettings:
    return CropSettings(style=style)  # type: ignore[arg-type]


def _sweep(side: int, most: int = 96) -> dict[str, Any]:
    """Return the settings of clicks where it is warm, which a finder takes the place of."""
    return {"finder": False, "sweep_grid": side, "max_prompts": most}


SETTINGS = {
    LIVE: Setting(""),
    "token": Setting("verification", {"verify": "token"}),
    "crop-grey": Setting("verification", {"verify": "crop", "crops": _crop("grey")}),
    "crop-raw": Setting("verification", {"verify": "crop", "crops": _crop("raw")}),
    "crop-soft": Setting("verification", {"verify": "crop", "crops": _crop("soft")}),
    "crop-grey-all": Setting("verification", {"verify": "crop", "crops": EVERY}),
    "token+crop": Setting("verification", {"verify": "token+crop", "crops": _crop("grey")}),
    "no-sweep": Setting("proposals", _sweep(0)),
    "sweep-8": Setting("proposals", _sweep(8)),
    "sweep-16-all": Setting("proposals", _sweep(16, 512)),
    "sweep-32-all": Setting("proposals", _sweep(32, 2048)),
    "no-finder": Setting("proposals", {"finder": False}),
    "recall-8": Setting("proposals", {"recall_every": 1, "recall_grid": 8}),
    "recall-32": Setting("proposals", {"recall_every": 1, "recall_grid": 32, "max_prompts": 2048}),
    "multiplier": Setting("scoring", {"score": "multiplier"}),
    "clearclip": Setting("dense pass", {"dense": "clearclip"}),
    "maskclip": Setting("dense pass", {"dense": "maskclip"}),
    "maskclip-quality-0.45": Setting("dense pass", {"dense": "maskclip", "min_quality": 0.45}),
    "tiles-2": Setting("dense pass", {"tiles": 2}),
    "tiles-2-quality-0.45": Setting("dense pass", {"tiles": 2, "min_quality": 0.45}),
    "peak-0.2": Setting("thresholds", {"peak_threshold": 0.2}),
    "peak-0.5": Setting("thresholds", {"peak_threshold": 0.5}),
    "quality-0.2": Setting("thresholds", {"min_quality": 0.2}),
    "quality-0.3": Setting("thresholds", {"min_quality": 0.3}),
    "quality-0.45": Setting("thresholds", {"min_quality": 0.45}),
    "sweep-32-quality-0.45": Setting("thresholds", _sweep(32, 2048) | {"min_quality": 0.45}),
    "sweep-32-quality-0.3": Setting("thresholds", _sweep(32, 2048) | {"min_quality": 0.3}),
}


# -- measuring ---------------------------------------------------------------------------------


def look(
    bench: Bench, stills: Sequence[Still], names: Sequence[str], text: str
) -> dict[str, list[Seen]]:
    """Let every setting see every image."""
    detectors = {name: bench.detector(bench.settings(**SETTINGS[name].changes)) for name in names}
    seen: dict[str, list[Seen]] = defaultdict(list)
    first = bench.encode(stills[0].image)
    for detector in detectors.values():
        bench.see(detector, stills[0], first, [text])  # the first time is slower
    with progress() as bar:
        task = bar.add_task("settings", total=len(stills) * len(names))
        for still in stills:
            features = bench.encode(still.image)
            for name, detector in detectors.items():
                seen[name].append(bench.see(detector, still, features, [text]))
                bar.advance(task)
    return seen


def look_for(bench: Bench, stills: Sequence[Still], texts: Sequence[str]) -> dict[str, list[Seen]]:
    """Let the live setting look for several texts, each on its own."""
    detector = bench.detector(bench.settings())
    seen: dict[str, list[Seen]] = defaultdict(list)
    with progress() as bar:
        task = bar.add_task("texts", total=len(stills) * len(texts))
        for still in stills:
            features = bench.encode(still.image)
            for text in texts:
                seen[text].append(bench.see(detector, still, features, [text]))
                bar.advance(task)
    return seen


# -- pictures ----------------------------------------------------------------------------------


def draw(folder: Path, seen: dict[str, list[Seen]], trusted: dict[str, dict[str, Any]]) -> None:
    """Write the pictures."""
    shown = [LIVE, "token", "no-sweep", "maskclip", "quality-0.45", "sweep-32-quality-0.45"]
    lines = []
    for name in (name for name in shown if name in seen):
        _, recall, precision = curve(seen[name])
        points = list(zip(recall.tolist(), precision.tolist(), strict=True))
        lines.append(Line(f"{name}: AP {average_precision(seen[name]):.3f}", points))
    precision_recall(lines, folder / "detector-precision-recall.png", "Instances at IoU 0.5")
    titles = {"raw": "raw", "shipped": "shipped Platt scaling", "folds": "fitted on other images"}
    empty = Bin(0, float("nan"), float("nan"))
    panels = [
        (
            f"{titles[name]}: ECE {row['ece']:.3f}",
            [empty if part is None else Bin(**part) for part in row["bins"]],
        )
        for name, row in trusted.items()
    ]
    reliability(panels, folder / "detector-reliability.png")


# -- command line ------------------------------------------------------------------------------


def choose_stills(args: argparse.Namespace) -> list[Still]:
    """Return what is looked at.

    Raises:
        UsageError: The options leave nothing, or the data is not good.
    """
    if (args.data is None) == (args.drawn is None):
        raise UsageError("give either --data DIR or --drawn N")
    if args.drawn is not None:
        stills = drawn_stills(args.drawn)
    else:
        stills = sample(read_stills(args.data, args.all_images), args.images, args.seed)
    return [part for still in stills for part in parts(still, args.zoom)]


def figures_of(
    seen: dict[str, list[Seen]],
    texts: dict[str, list[Seen]],
    absent: Sequence[str],
    fitted: tuple[float, float],
) -> dict[str, Any]:
    """Return all figures, as rows of plain numbers."""
    least = raw_threshold(LIVE_SCORE, fitted)
    return {
        "calibration": fitted,
        "min_score": LIVE_SCORE,
        "kinds": kind_rows(seen[LIVE], fitted),
        "sizes": {name: size_rows(seen[name], least) for name in SIZED if name in seen},
        "settings": [
            setting_row(name, SETTINGS[name].table, group, fitted) for name, group in seen.items()
        ],
        "scores": {name: score_rows(seen[name], fitted) for name in TRUSTED if name in seen},
        "trust": {name: trust(seen[name], fitted) for name in TRUSTED if name in seen},
        "texts": text_rows(texts, absent, fitted),
    }


def run(args: argparse.Namespace) -> None:
    """Measure and write."""
    unknown = [name for name in args.settings if name not in SETTINGS]
    if unknown:
        raise UsageError(
            f"setting {', '.join(unknown)} is unknown; accepted are {', '.join(SETTINGS)}"
        )
    if args.pictures is not None and not args.pictures.is_dir():
        raise UsageError(f"{args.pictures}: is no folder; make it first")
    stills = choose_stills(args)
    bench = Bench(args.model, args.weights, args.clip, args.clip_weights, args.device)
    fitted = calibration(args.model, bench.clip.name, bench.clip.origin)
    names = [LIVE, *(name for name in args.settings if name != LIVE)]
    seen = look(bench, stills, names, args.text)
    texts = look_for(bench, stills, [*args.also, *args.absent])
    figures = figures_of(seen, texts, args.absent, fitted)
    tables = [
        kind_table(figures["kinds"]),
        size_table(figures["sizes"]),
        *setting_tables(figures["settings"]),
        score_table(figures["scores"]),
        trust_table(figures["trust"]),
        *([text_table(figures["texts"])] if texts else []),
    ]
    facts = {"text": args.text, "images": [still.name for still in stills], "zoom": args.zoom}
    write(args, tables, facts | figures)
    if getattr(bench.clip.model, "logit_bias", None) is None:
        print("score sigmoid is not measured: this CLIP has no logit_bias")
    if args.pictures is not None:
        draw(args.pictures, seen, figures["trust"][LIVE])


def main(argv: list[str] | None = None) -> int:
    """Read the options and run; returns the exit status."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--drawn", type=positive, metavar="N", help="drawn images instead")
    parser.add_argument("--zoom", type=positive, default=1, help="cut into N x N parts")
    parser.add_argument("--text", default="cell nucleus")
    parser.add_argument("--also", nargs="*", default=["cell", "nucleus", "细胞核"], metavar="TEXT")
    parser.add_argument("--absent", nargs="*", default=["dog", "person", "a red car"])
    parser.add_argument("--images", type=positive, help="a sample of so many; all")
    parser.add_argument("--all-images", action="store_true", help="also those trained on")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument(
        "--settings", nargs="*", default=list(SETTINGS), metavar="NAME", help=", ".join(SETTINGS)
    )
    parser.add_argument("--model", default="micro")
    parser.add_argument("--weights", help="as of `maskcast run`")
    parser.add_argument("--clip", help="as of `maskcast run`")
    parser.add_argument("--clip-weights", help="as of `maskcast run`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=positive, default=1, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the plots, PNG")
    return guarded(run, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
