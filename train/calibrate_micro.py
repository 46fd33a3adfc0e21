"""Fit how far the micro detector's scores can be trusted, and store it with the weights.

    python -m train.calibrate_micro [--films 8] [--frames 6] [--out FILE]

The detector runs on drawn films with `cell`, which is there, and with texts that are not. Each
detection is right when its mask overlaps a true cell by an IoU of 0.5 or more and the text
describes it. Platt scaling (Platt 1999) makes the raw score the probability of that.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from engines.build import RENDERED_PROMPTS
from engines.detector import DetectorSettings, TextDetector
from engines.registry import CALIBRATION_FILE, WEIGHTS_DIR, load_clip, load_tracker
from engines.texts import text_bank
from engines.tracker import Tracker
from stream.synth import LOOKS, CellFilm, CellFilmSpec

THERE = "cell"
ABSENT = ("dog", "a red car", "person")
FIRST_SEED = 7_000  # far from the seeds that training and the demo draw
RIGHT_IOU = 0.5


def collect(
    detector: TextDetector, encoder: Tracker, films: int, frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return raw scores (N,) and whether each detection was right (N,)."""
    raw: list[float] = []
    right: list[bool] = []
    for number in track(range(films), description="films", disable=not sys.stderr.isatty()):
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
    return torch.tensor(raw), torch.tensor(right)


def fit(raw: torch.Tensor, right: torch.Tensor) -> tuple[float, float]:
    """Return slope and offset of the most likely logistic curve.

    Raises:
        ValueError: All detections are right, or all are wrong.
    """
    if not 0 < int(right.sum()) < len(right):
        raise ValueError(
            f"{int(right.sum())} of {len(right)} detections are right; some of both are needed"
        )
    logits = torch.logit(raw.double(), eps=1e-4)
    curve = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([curve], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            curve[0] * logits + curve[1], right.double()
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return float(curve[0].detach()), float(curve[1].detach())


def _best_iou(mask: np.ndarray, ids: np.ndarray) -> float:
    """Return the largest IoU of a mask (h, w) with any true object of a label map (H, W)."""
    rows = (np.arange(mask.shape[0]) + 0.5) * ids.shape[0] / mask.shape[0]
    cols = (np.arange(mask.shape[1]) + 0.5) * ids.shape[1] / mask.shape[1]
    small = ids[np.ix_(rows.astype(int), cols.astype(int))]
    true = np.bincount(small.ravel())
    shared = np.bincount(small[mask], minlength=len(true))
    union = true + mask.sum() - shared
    return float((shared[1:] / np.maximum(union[1:], 1)).max(initial=0.0))


def main() -> None:
    """Collect, fit, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--films", type=int, default=8)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--out", type=Path, default=WEIGHTS_DIR / CALIBRATION_FILE)
    args = parser.parse_args()
    tracker = load_tracker("micro")
    clip = load_clip("micro").model
    settings = DetectorSettings(sweep_grid=16, min_score=0.0, min_quality=0.2, one_piece=True)
    detector = TextDetector(
        tracker.model,
        clip,
        text_bank(clip, "micro"),
        settings,
        rendered_prompts="micro" in RENDERED_PROMPTS,
    )
    raw, right = collect(detector, tracker, args.films, args.frames)
    slope, offset = fit(raw, right)
    sure = torch.sigmoid(slope * torch.logit(raw, eps=1e-4) + offset)
    result = {
        "slope": round(slope, 4),
        "offset": round(offset, 4),
        "detections": len(raw),
        "right": int(right.sum()),
        "mean_score_right": round(float(sure[right].mean()), 3),
        "mean_score_wrong": round(float(sure[~right].mean()), 3),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
