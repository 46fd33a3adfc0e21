"""AP against pycocotools, and by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stream.evaluate import overlaps
from stream.evaluate.average_precision import PrecisionTally
from stream.evaluate.regions import Overlaps

SIZE = (48, 64)


def frame_of(seed: int) -> tuple[np.ndarray, dict[int, np.ndarray], dict[int, float]]:
    """Squares, and squares like them: moved, missing, invented, doubled."""
    random = np.random.default_rng(seed)
    truth = np.zeros(SIZE, np.uint16)
    found: dict[int, np.ndarray] = {}
    for k in range(6):
        y, x = 2 + 16 * (k // 3), 2 + 20 * (k % 3)
        truth[y : y + 12, x : x + 12] = k + 1
        for _ in range(int(random.integers(0, 3))):
            dy, dx = random.integers(-1, 3, 2)
            mask = np.zeros(SIZE, bool)
            mask[max(y + dy, 0) : y + dy + 12, max(x + dx, 0) : x + dx + 12] = True
            found[len(found) + 1] = mask
    scores = random.permutation(len(found)) / 100 + 0.1
    return truth, found, dict(zip(found, scores.tolist(), strict=True))


def coco_figures(frames: list[tuple[np.ndarray, dict, dict]]) -> tuple[float, float]:
    """AP and AP50 as pycocotools gives them, crowded frames included."""
    truths, results = [], []
    for image, (truth, found, scores) in enumerate(frames, 1):
        for i in np.unique(truth[truth > 0]).tolist():
            rle = coco_mask.encode(np.asfortranarray(truth == i, dtype=np.uint8))
            truths.append(
                {"id": len(truths) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
                 "segmentation": rle, "area": float((truth == i).sum()),
                 "bbox": [0, 0, 1, 1]}
            )  # fmt: skip
        for i, mask in found.items():
            rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            results.append(
                {"image_id": image, "category_id": 1, "segmentation": rle, "score": scores[i]}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        images = [{"id": n, "height": SIZE[0], "width": SIZE[1]} for n in range(1, len(frames) + 1)]
        data.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1}]}
        data.createIndex()
        judge = COCOeval(data, data.loadRes(results), "segm")
        judge.params.maxDets = [1, 10, 10_000]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, 0, 0, -1]
    return float(precision.mean()), float(precision[0].mean())


def play(frames: list[tuple[np.ndarray, dict, dict]]) -> PrecisionTally:
    tally = PrecisionTally()
    for truth, found, scores in frames:
        tally.take(overlaps(truth, found), scores)
    return tally


def test_figures_are_those_of_pycocotools() -> None:
    frames = [frame_of(seed) for seed in range(6)]
    tally = play(frames)
    ap, ap_50 = coco_figures(frames)
    assert 0.1 < ap < ap_50 < 0.95
    assert tally.average_precision() == pytest.approx(ap, abs=1e-9)
    assert tally.at_half() == pytest.approx(ap_50, abs=1e-9)


def test_two_tallies_are_one_of_all_frames() -> None:
    frames = [frame_of(seed) for seed in range(4)]
    one = play(frames[:2])
    one.extend(play(frames[2:]))
    assert one.average_precision() == play(frames).average_precision()


def test_a_surer_invention_halves_the_precision() -> None:
    seen = Overlaps((1,), (5, 6), np.array([[0.0, 1.0]]))
    tally = PrecisionTally()
    tally.take(seen, {5: 0.9, 6: 0.4})
    assert tally.at_half() == pytest.approx(0.5)
    assert tally.curve().precision.tolist() == [0.0, 0.5]


def test_empty_frames() -> None:
    nothing_found, nothing_true = PrecisionTally(), PrecisionTally()
    nothing_found.take(Overlaps((1,), (), np.zeros((1, 0))), {})
    nothing_true.take(Overlaps((), (1,), np.zeros((0, 1))), {1: 0.5})
    assert nothing_found.average_precision() == 0.0
    assert nothing_true.average_precision() is None
    assert not len(nothing_true.curve().recall)
