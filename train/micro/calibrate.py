"""Fit how far the micro detector's scores can be trusted, and store it with the weights.

    python -m train.micro.calibrate [--films 8] [--frames 6] [--out FILE]

The detector runs on drawn films with `cell`, which is there, and with texts that are not. Each
detection is right when its mask overlaps a true cell by an IoU of 0.5 or more and the text
describes it. Platt scaling (Platt 1999) makes the raw score the probability of that.
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
from engines.registry import load_clip, load_tracker
from engines.texts import text_bank
from engines.tracker import Tracker
from engines.verification import MICRO_CROPS
from stream.synth import LOOKS, CellFilm, CellFilmSpec
from train.platt import calibration_error, fit

THERE = "cell"
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
            features = encoder.encode(image)
            for text in (THERE, *ABSENT):
                for found in detector.detect(image, features, [text]):
                    raw.append(found.score)
                    right.append(text == THERE and _best_iou(found.mask, drawn.ids) >= RIGHT_IOU)
        seen.append((torch.tensor(raw), torch.tensor(right, dtype=torch.bool)))
    return seen


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
    sam2: Path | None, clip: Path | None, films: int, frames: int, out: Path
) -> Calibration:
    """Collect, fit and store.

    Args:
        sam2: weights of the micro SAM 2; None for the packaged ones.
        clip: weights of the micro CLIP; None for the packaged ones.
        films: how many are drawn.
        frames: of each that are looked at.
        out: the file that is written.
    """
    tracker = load_tracker("micro", weights=str(sam2) if sam2 is not None else None)
    model = load_clip("micro", str(clip) if clip is not None else None).model
    settings = DetectorSettings(
        sweep_grid=16,
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
    )
    found = fit_films(collect(detector, tracker, films, frames))
    found.write(out)
    return found


def main() -> None:
    """Collect, fit, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--out", type=Path, default=PACKAGED)
    args = parser.parse_args()
    if args.films < 2 or args.frames < 1:
        parser.error(f"--films {args.films} --frames {args.frames}: accepted are 2 and 1 or more")
    if not args.out.resolve().parent.is_dir():
        parser.error(f"--out {args.out}: its folder is not there; make it first")
    print(json.dumps(asdict(calibrate_files(None, None, args.films, args.frames, args.out))))


if __name__ == "__main__":
    main()
