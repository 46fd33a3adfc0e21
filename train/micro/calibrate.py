"""Fit how far the micro detector's scores can be trusted, and store it with the weights.

    python -m train.micro.calibrate [--data DATA] [--films 16] [--frames 5] [--out FILE]

The detector runs on drawn films with `cell`, which is there, on real images with `cell nucleus`,
and on both with texts that are not. Each detection is right when its mask overlaps a true object by
an IoU of 0.5 or more and the text describes it. Platt scaling (Platt 1999) makes the raw score the
probability of that.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from engines.build import RENDERED_PROMPTS
from engines.calibration import PACKAGED, Calibration
from engines.detector import DetectorSettings, TextDetector, calibrate
from engines.finder import finder_beside
from engines.registry import load_clip, load_edges, load_sam2, load_tracker
from engines.texts import text_bank
from engines.tracker import Tracker
from engines.verification import MICRO_CROPS
from stream.synth import LOOKS, CellFilm, CellFilmSpec
from train.micro.data import HELD_OUT_PERCENT, Still
from train.micro.pool import load_pool
from train.micro.recipe import Calibration as Calibrated
from train.platt import calibration_error, fit

THERE, THERE_IN_STILLS = "cell", "cell nucleus"
ABSENT = ("dog", "a red car", "person")
FIRST_SEED = 7_000  # far from the seeds that training and the demo draw
RIGHT_IOU = 0.5


def collect(
    detector: TextDetector, encoder: Tracker, films: int, frames: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return raw scores (N,) and whether each detection was right (N,), of each film."""
    seen = []
    for number in track(range(films), description="films", disable=not sys.stderr.isatty()):
        raw: list[float] = []
        right: list[bool] = []
        spec = CellFilmSpec(
            seed=FIRST_SEED + number, look=LOOKS[number % len(LOOKS)], objects=8 + 4 * (number % 5)
        )
        film = CellFilm(spec)
        for _ in range(frames):
            film.skip(20)
            drawn = film.frame()
            image = drawn.image.astype(np.uint8, copy=False)
            for score, good in _seen(detector, encoder, image, drawn.ids, THERE):
                raw.append(score)
                right.append(good)
        seen.append((torch.tensor(raw), torch.tensor(right, dtype=torch.bool)))
    return seen


def collect_stills(
    detector: TextDetector, encoder: Tracker, stills: list[Still]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the same of real images."""
    seen = []
    for still in track(stills, description="images", disable=not sys.stderr.isatty()):
        pairs = _seen(detector, encoder, still.image, still.ids, THERE_IN_STILLS)
        raw, right = [score for score, _ in pairs], [good for _, good in pairs]
        seen.append((torch.tensor(raw), torch.tensor(right, dtype=torch.bool)))
    return seen


def calibration_stills(data: Path, held_out: int, count: int) -> list[Still]:
    """Choose images of those that are trained on, of all kinds alike.

    Args:
        data: folder with the data sets.
        held_out: per cent that is never trained on.
        count: of images; 0 reads nothing.
    """
    if not count:
        return []
    pool = load_pool(data, None, False, held_out)
    rng = np.random.default_rng(FIRST_SEED)
    return [pool.still(rng) for _ in range(count)]


def _seen(
    detector: TextDetector, encoder: Tracker, image: np.ndarray, ids: np.ndarray, there: str
) -> list[tuple[float, bool]]:
    """Return raw score and rightness of all that one picture gives."""
    features = encoder.encode(image)
    return [
        (found.score, text == there and _best_iou(found.mask, ids) >= RIGHT_IOU)
        for text in (there, *ABSENT)
        for found in detector.detect(image, features, [text])
    ]


def fit_films(films: list[tuple[torch.Tensor, torch.Tensor]]) -> Calibration:
    """Fit on all films; the errors are judged on each half of them with a fit on the other.

    Raises:
        ValueError: There are fewer than two films, or detections are right, or wrong, throughout.
    """
    if len(films) < 2:
        raise ValueError(f"{len(films)} films; a fit and its judgement need two or more")
    # The looks go round, so that halves are taken by whole rounds.
    halves = [_joined(films[: len(films) // 2]), _joined(films[len(films) // 2 :])]
    judged = [
        (calibrate(raw, fit(*other)), right)
        for (raw, right), other in zip(halves, reversed(halves), strict=True)
    ]
    raw, right = _joined(films)
    slope, offset = fit(raw, right)
    return Calibration(
        slope=round(slope, 4),
        offset=round(offset, 4),
        sam2="micro",
        clip="micro",
        detections=len(raw),
        right=int(right.sum()),
        ece_before=round(calibration_error(raw, right), 4),
        ece_after=round(calibration_error(*_joined(judged)), 4),
    )


def _joined(parts: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([raw for raw, _ in parts]), torch.cat([right for _, right in parts])


def _best_iou(mask: np.ndarray, ids: np.ndarray) -> float:
    """Return the largest IoU of a mask (h, w) with any true object of a label map (H, W)."""
    rows = (np.arange(mask.shape[0]) + 0.5) * ids.shape[0] / mask.shape[0]
    cols = (np.arange(mask.shape[1]) + 0.5) * ids.shape[1] / mask.shape[1]
    small = ids[np.ix_(rows.astype(int), cols.astype(int))]
    true = np.bincount(small.ravel())
    shared = np.bincount(small[mask], minlength=len(true))
    union = true + mask.sum() - shared
    return float((shared[1:] / np.maximum(union[1:], 1)).max(initial=0.0))


def calibrate_files(
    sam2: Path | None,
    clip: Path | None,
    films: int,
    frames: int,
    stills: list[Still],
    out: Path,
) -> Calibration:
    """Collect, fit and store.

    Args:
        sam2: weights of the micro SAM 2; None for the packaged ones.
        clip: weights of the micro CLIP; None for the packaged ones.
        films: how many are drawn.
        frames: of each that are looked at.
        stills: real images.
        out: the file that is written.
    """
    weights = str(sam2) if sam2 is not None else None
    tracker = load_tracker("micro", weights=weights, backend="torch")
    model = load_clip("micro", str(clip) if clip is not None else None).model
    settings = DetectorSettings(
        min_score=0.0,
        min_quality=0.2,
        one_piece=True,
        verify="crop",
        crops=MICRO_CROPS,
    )
    detector = TextDetector(
        tracker.model,
        model,
        text_bank(model, "micro"),
        settings,
        rendered_prompts="micro" in RENDERED_PROMPTS,
        finder=finder_beside(load_sam2("micro", weights).origin),
        edges=load_edges("micro", weights),
    )
    drawn = collect(detector, tracker, films, frames)
    real = collect_stills(detector, tracker, stills)
    # Either half holds as many films and images of all kinds.
    one, other = len(drawn) // 2, len(real) // 2
    found = fit_films([*drawn[:one], *real[:other], *drawn[one:], *real[other:]])
    found.write(out)
    return found


def main() -> None:
    """Collect, fit, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="with dsb2018_nuclei; without it films only")
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--out", type=Path, default=PACKAGED)
    args = parser.parse_args()
    if args.films < 2 or args.frames < 1:
        parser.error(f"--films {args.films} --frames {args.frames}: accepted are 2 and 1 or more")
    if not args.out.resolve().parent.is_dir():
        parser.error(f"--out {args.out}: its folder is not there; make it first")
    stills: list[Still] = []
    if args.data is not None:
        stills = calibration_stills(args.data, HELD_OUT_PERCENT, Calibrated().stills)
    found = calibrate_files(None, None, args.films, args.frames, stills, args.out)
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
