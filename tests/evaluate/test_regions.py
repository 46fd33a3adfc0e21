"""Region similarity and overlaps, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stream.evaluate import overlaps, region_similarity


def rows(first: int, last: int) -> np.ndarray:
    mask = np.zeros((8, 10), bool)
    mask[first:last] = True
    return mask


EMPTY = rows(0, 0)


@pytest.mark.parametrize(
    ("truth", "result", "expected"),
    [
        (rows(0, 4), rows(0, 4), 1.0),
        (rows(0, 4), rows(2, 6), 2 / 6),  # two rows shared of six
        (rows(0, 4), rows(4, 8), 0.0),
        (EMPTY, EMPTY, 1.0),  # rightly nothing
        (rows(0, 4), EMPTY, 0.0),
        (EMPTY, rows(0, 4), 0.0),
    ],
)
def test_region_similarity_is_intersection_over_union(
    truth: np.ndarray, result: np.ndarray, expected: float
) -> None:
    assert region_similarity(truth, result) == pytest.approx(expected)


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="frame size first"):
        region_similarity(EMPTY, EMPTY[:4])
    with pytest.raises(ValueError, match="frame size first"):
        overlaps(np.zeros((8, 10), np.uint16), {1: EMPTY[:4]})


def test_overlaps_name_every_pair_and_leave_out_the_empty() -> None:
    truth = np.zeros((8, 10), np.uint16)
    truth[0:4], truth[4:6] = 40000, 5
    seen = overlaps(truth, {1: rows(0, 4), 2: EMPTY, 3: rows(2, 8)})
    assert seen.true_ids == (5, 40000)
    assert seen.found_ids == (1, 3)
    np.testing.assert_allclose(seen.iou, [[0.0, 2 / 6], [1.0, 2 / 8]])


def test_overlaps_of_nothing_have_no_pairs() -> None:
    truth = np.zeros((8, 10), np.uint16)
    assert overlaps(truth, {}).iou.shape == (0, 0)
    assert overlaps(truth, {4: rows(0, 1)}).iou.shape == (0, 1)
    assert overlaps(truth + 1, {}).iou.shape == (1, 0)


def test_overlaps_agree_with_region_similarity() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (30, 40)).astype(np.uint16)
    found = {i: rng.random((30, 40)) < 0.3 for i in range(3)}
    seen = overlaps(truth, found)
    for row, true_id in enumerate(seen.true_ids):
        for column, found_id in enumerate(seen.found_ids):
            expected = region_similarity(truth == true_id, found[found_id])
            assert seen.iou[row, column] == pytest.approx(expected)
