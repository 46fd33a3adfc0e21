"""How good detections of single images are: pairs with the truth, curves, folds.

A detection is right when it is paired with a true object: the best one first, each with a true
object that no better one has and that it overlaps by an IoU of 0.5 or more, as COCO does (Lin et
al. 2014, arXiv 1405.0312). So a second mask of an object is wrong, and what is right does not
depend on a threshold.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engines.scoring import calibrate
from stream.evaluate import overlaps
from train.platt import fit

RIGHT_IOU = 0.5
FOLDS = 2
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What was seen in one image."""

    name: str
    kind: str
    scores: Numbers
    """(N,) raw scores, best first."""
    iou: Numbers
    """(N,) IoU with the true object of the pair; 0 for what is wrong."""
    of: npt.NDArray[np.int64]
    """(N,) rows of the true objects; -1 for what is wrong."""
    sizes_px: Numbers
    """(T,) square roots of the true objects' areas, in pixels of the model's square input."""
    prompts: int
    """Masks that the decoder was asked for."""
    seconds: float

    @property
    def whole(self) -> str:
        """Name of the image that it is a part of, or its own (`detector_images.parts`)."""
        return self.name.partition(":")[0]

    @property
    def truths(self) -> int:
        """How many true objects there are."""
        return len(self.sizes_px)


@dataclass(frozen=True)
class Counted:
    """What holds at one threshold."""

    precision: float
    recall: float
    f1: float
    mean_iou: float
    """Of the pairs."""
    count_error: float
    """Mean of found minus true, in objects an image."""
    count_error_abs: float


def pair(
    scores: Sequence[float], masks: Sequence[npt.NDArray[np.bool_]], ids: npt.NDArray[np.uint16]
) -> tuple[Numbers, Numbers, npt.NDArray[np.int64]]:
    """Pair detections with true objects, the best first.

    Args:
        scores: Of N detections.
        masks: (h, w) each, covering the image; brought to its size by the nearest pixel.
        ids: (H, W) true ids, 0 background.

    Returns:
        (N,) scores, best first; (N,) the IoU of each one's pair, 0 where it has none; and (N,) the
        row of its true object, by rising id, -1 where it has none.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    grown = {int(row): _to_size(masks[row], ids.shape) for row in order}
    seen = overlaps(ids, grown)
    places = {row: place for place, row in enumerate(seen.found_ids)}
    free = np.ones(len(seen.true_ids), np.bool_)
    iou, of = np.zeros(len(order)), np.full(len(order), -1)
    for rank, row in enumerate(order.tolist()):
        if row not in places or not free.any():
            continue
        mine = np.where(free, seen.iou[:, places[row]], 0.0)
        best = int(mine.argmax())
        if mine[best] >= RIGHT_IOU:
            iou[rank], of[rank], free[best] = mine[best], best, False
    return np.asarray(scores, np.float64)[order], iou, of


def true_sizes_px(ids: npt.NDArray[np.uint16], side: int) -> Numbers:
    """Return (T,) square roots of areas, were the (H, W) image squeezed to a square of `side`."""
    areas = np.bincount(ids.ravel(), minlength=1)[1:]
    sizes: Numbers = np.sqrt(areas[areas > 0] / ids.size) * side
    return sizes


def _to_size(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    rows = (np.arange(size[0]) + 0.5) * mask.shape[0] / size[0]
    cols = (np.arange(size[1]) + 0.5) * mask.shape[1] / size[1]
    return mask[np.ix_(rows.astype(int), cols.astype(int))]


def pooled(seen: Sequence[Seen]) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Return the (N,) scores of all images and whether each detection is right."""
    if not seen:
        return np.zeros(0), np.zeros(0, np.bool_)
    return np.concatenate([s.scores for s in seen]), np.concatenate([s.iou for s in seen]) > 0


def counted(seen: Sequence[Seen], least: Sequence[float]) -> Counted:
    """Count what scores at least as much as the threshold of its image."""
    kept = [s.iou[s.scores >= low] for s, low in zip(seen, least, strict=True)]
    pairs = np.concatenate([iou[iou > 0] for iou in kept]) if kept else np.zeros(0)
    found, truths = sum(map(len, kept)), sum(s.truths for s in seen)
    excess = [len(iou) - s.truths for iou, s in zip(kept, seen, strict=True)]
    return Counted(
        precision=len(pairs) / found if found else 0.0,
        recall=len(pairs) / truths if truths else 0.0,
        f1=2 * len(pairs) / (found + truths) if found + truths else 0.0,
        mean_iou=float(pairs.mean()) if len(pairs) else 0.0,
        count_error=float(np.mean(excess)) if excess else 0.0,
        count_error_abs=float(np.mean(np.abs(excess))) if excess else 0.0,
    )


def curve(seen: Sequence[Seen]) -> tuple[Numbers, Numbers, Numbers]:
    """Return (N,) thresholds from high to low, and the recall and precision at each."""
    scores, right = pooled(seen)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    truths = max(1, sum(s.truths for s in seen))
    last = np.append(np.diff(scores[order]) != 0, True)[: len(order)]  # equal scores go together
    return (
        scores[order][last],
        (hits / truths)[last],
        (hits / np.arange(1, len(hits) + 1))[last],
    )


def average_precision(seen: Sequence[Seen]) -> float:
    """Return the area under the precision-recall curve, precision never rising with recall."""
    _, recall, precision = curve(seen)
    if not len(recall):
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def best_threshold(seen: Sequence[Seen]) -> float:
    """Return the score from which on F1 is highest; 0 where nothing is right."""
    thresholds, recall, precision = curve(seen)
    total = recall + precision
    f1 = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)
    return float(thresholds[f1.argmax()]) if f1.any() else 0.0


def folds(seen: Sequence[Seen]) -> list[int]:
    """Return each image's fold: kinds apart, names in order, every other one.

    Names of images are hashes or numbers, so that neighbours do not resemble each other more.
    """
    place: dict[str, int] = defaultdict(int)
    fold: dict[str, int] = {}
    for name, kind in sorted({(image.whole, image.kind) for image in seen}):
        fold[name] = place[kind] % FOLDS
        place[kind] += 1
    return [fold[image.whole] for image in seen]


def fold_thresholds(seen: Sequence[Seen]) -> list[float]:
    """Return for each image the threshold that is best on the images of the other fold."""
    fold = folds(seen)
    best = [
        best_threshold([s for s, f in zip(seen, fold, strict=True) if f != mine])
        for mine in range(FOLDS)
    ]
    return [best[f] for f in fold]


def fold_platt(seen: Sequence[Seen]) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Return all scores after Platt scaling that was fitted on the other fold, and what is right.

    Raises:
        ValueError: A fold has detections of one kind only.
    """
    fold = folds(seen)
    scores, rights = [], []
    for mine in range(FOLDS):
        others = pooled([s for s, f in zip(seen, fold, strict=True) if f != mine])
        slope_offset = fit(torch.from_numpy(others[0]), torch.from_numpy(others[1]))
        raw, right = pooled([s for s, f in zip(seen, fold, strict=True) if f == mine])
        scores.append(platt(raw, slope_offset))
        rights.append(right)
    return np.concatenate(scores), np.concatenate(rights)


def platt(raw: Numbers, calibration: tuple[float, float]) -> Numbers:
    """Return calibrated scores."""
    out: Numbers = calibrate(torch.from_numpy(raw), calibration).numpy()
    return out


def raw_threshold(score: float, calibration: tuple[float, float]) -> float:
    """Return the raw score that a calibrated one came from."""
    if not 0.0 < score < 1.0:
        return score
    slope, offset = calibration
    return 1.0 / (1.0 + math.exp(-(math.log(score / (1.0 - score)) - offset) / slope))
