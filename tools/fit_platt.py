"""Fit what the scores of a pair of models are worth, and store it beside the weights of CLIP.

    python tools/fit_platt.py --data DIR --text TEXT [--text TEXT ...] [--absent TEXT ...]
        [--model NAME] [--weights PATH] [--clip NAME] [--clip-weights PATH] [--out FILE]

DIR holds images/ and masks/ (uint16 ids); each text describes all that is masked, an absent text
nothing. Take images that the models were not trained on. The detector looks for each text on its
own; a detection is right when it is paired with a true object, one to one, at an IoU of 0.5 or
more. Platt scaling (Platt 1999) makes the raw score the probability of that. The errors before and
after are judged on each half of the images with a fit on the other. `maskcast run` takes the file
when it loads the same pair of models.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from detector_images import read_stills
from detector_models import Bench
from detector_scores import Seen, fold_platt, pooled
from measuring import Parser, Table, guarded, positive, progress

from engines.calibration import PACKAGED, Calibration, calibration_path
from engines.checkpoint import RANDOM
from stream.errors import UsageError
from train.micro.data import Still
from train.platt import calibration_error, fit

LEAST = 50
"""Right detections, and wrong ones, that a fit needs."""
MIN_QUALITY = 0.2
"""Masks worse than those that a run takes are looked at too: they say where scores are wrong."""


def look(
    bench: Bench, stills: Sequence[Still], texts: Sequence[str], absent: Sequence[str]
) -> list[Seen]:
    """See every image under every text; what an absent text finds is wrong."""
    detector = bench.detector(bench.settings(min_quality=MIN_QUALITY))
    seen = []
    with progress() as bar:
        for still in bar.track(stills, description="images"):
            features = bench.encode(still.image)
            seen += [bench.see(detector, still, features, [text]) for text in texts]
            for text in absent:
                found = bench.see(detector, still, features, [text])
                seen.append(replace(found, iou=np.zeros_like(found.iou)))
    return seen


def fit_seen(seen: Sequence[Seen], sam2: str, clip: str) -> Calibration:
    """Fit on all images and judge on halves.

    Raises:
        UsageError: There are too few detections of a kind, or scores do not rise with being right.
    """
    scores, truth = pooled(seen)
    rights = int(truth.sum())
    if min(rights, len(truth) - rights) < LEAST:
        raise UsageError(
            f"{rights} detections are right and {len(truth) - rights} wrong; a fit needs {LEAST} "
            "of each: give more images, or texts for what is not there with --absent"
        )
    raw, right = torch.from_numpy(scores), torch.from_numpy(truth)
    try:
        judged, judged_right = fold_platt(seen)
    except ValueError as error:
        raise UsageError(f"half of the images cannot be fitted: {error}") from error
    slope, offset = fit(raw, right)
    if slope <= 0:
        raise UsageError(
            f"scores do not rise with being right (slope {slope:.3f}), so that no calibration can "
            "mend them; check the texts, the masks and the weights"
        )
    return Calibration(
        slope=round(slope, 4),
        offset=round(offset, 4),
        sam2=sam2,
        clip=clip,
        detections=len(right),
        right=rights,
        ece_before=round(calibration_error(raw, right), 4),
        ece_after=round(
            calibration_error(torch.from_numpy(judged), torch.from_numpy(judged_right)), 4
        ),
    )


def choose_out(given: Path | None, clip: str, origin: str) -> Path:
    """Return where the file goes.

    Raises:
        UsageError: The weights are random or packaged, or the folder is not there.
    """
    if origin.startswith(RANDOM):
        raise UsageError(f"CLIP weights {origin}: scores of random weights mean nothing to fit")
    path = given or calibration_path(clip, origin)
    if given is None and path == PACKAGED:
        raise UsageError(
            "the micro models bring their calibration along; name another file with --out"
        )
    assert path is not None
    if not path.resolve().parent.is_dir() or path.is_dir():
        raise UsageError(f"{path}: is no file in a folder that is there; give --out FILE")
    return path


def run(args: argparse.Namespace) -> None:
    """Look, fit, write and say."""
    stills = [still for folder in args.data for still in read_stills(folder, all_images=True)]
    bench = Bench(args.model, args.weights, args.clip, args.clip_weights, args.device)
    out = choose_out(args.out, bench.clip.name, bench.clip.origin)
    seen = look(bench, stills, args.text, args.absent)
    found = fit_seen(seen, args.model, bench.clip.name)
    found.write(out)
    cells = [[key, str(value)] for key, value in asdict(found).items()]
    Table(f"Written: {out}", ["what", "value"], cells).show()
    if args.json is not None:
        args.json.write_text(json.dumps({"file": str(out)} | asdict(found), indent=1) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Read the options and run; returns the exit status."""
    parser = Parser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--text", action="append", required=True, help="describes what is masked")
    parser.add_argument("--absent", nargs="*", default=[], metavar="TEXT", help="not in any image")
    parser.add_argument("--model", default="micro")
    parser.add_argument("--weights", help="as of `maskcast run`")
    parser.add_argument("--clip", help="as of `maskcast run`")
    parser.add_argument("--clip-weights", help="as of `maskcast run`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.add_argument("--out", type=Path, metavar="FILE", help="beside the CLIP weights")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was fitted")
    args = parser.parse_args(argv)
    args.markdown = None
    return guarded(run, args)


if __name__ == "__main__":
    sys.exit(main())
