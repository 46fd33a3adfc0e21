"""All measures together: films with and without given objects, images that stand alone."""

from __future__ import annotations

import numpy as np
import pytest

from stream.evaluate.contours import contour_accuracy
from stream.evaluate.figures import MAIN, mean, rounded, spread
from stream.evaluate.films import FilmTally, join
from stream.evaluate.layers import label_map
from stream.evaluate.regions import overlaps, overlaps_of
from stream.evaluate.stills import StillTally
from stream.frame import TrackedObject, crop_mask
from tests.evaluate.worked import drawn, place


def item(object_id: int, mask: np.ndarray, score: float = 0.9) -> TrackedObject:
    inside, box = crop_mask(mask)
    return TrackedObject(object_id, "cell", score, "confirmed", inside, box, int(mask.sum()))


def items(places: dict[int, int]) -> list[TrackedObject]:
    return [item(object_id, place(number)) for object_id, number in places.items()]


def film(
    frames: list[tuple[dict[int, int], dict[int, int]]], given: dict[int, int] | None = None
) -> FilmTally:
    tally = FilmTally("film", given)
    for true, found in frames:
        tally.add(drawn(true), items(found))
    return tally


# -- layers ------------------------------------------------------------------------------------


def test_a_contested_pixel_is_the_surest_objects_and_else_the_lowest_ids() -> None:
    left, right = np.zeros((4, 9), bool), np.zeros((4, 9), bool)
    left[:, :6], right[:, 3:] = True, True
    assert label_map([item(1, left, 0.4), item(2, right, 0.8)], (4, 9))[0].tolist() == (
        [1] * 3 + [2] * 6
    )
    equal = [item(2, right, 0.5), item(1, left, 0.5)]
    assert label_map(equal, (4, 9))[0].tolist() == [1] * 6 + [2] * 3


def test_overlaps_of_crops_are_those_of_whole_masks() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 4, (30, 40)).astype(np.uint16)
    masks = {i: np.zeros((30, 40), bool) for i in (5, 6, 7)}
    masks[5][2:20, 3:30] = random.random((18, 27)) > 0.5
    masks[6][25:, 35:] = True
    whole, crops = (
        overlaps(truth, masks),
        overlaps_of(truth, [item(i, m) for i, m in masks.items()]),
    )
    assert crops.found_ids == whole.found_ids == (5, 6)
    np.testing.assert_array_equal(crops.iou, whole.iou)


# -- films -------------------------------------------------------------------------------------


def test_a_film_found_completely_has_ones_everywhere() -> None:
    group = film([({1: 0, 2: 3}, {5: 0, 6: 3})] * 3).group()
    for name in MAIN[:-2]:
        assert group.figures[name] == 1.0, name
    assert group.figures["count_error"] == 0.0
    assert group.figures["fps"] is None
    assert tuple(group.figures) == MAIN


def test_j_of_a_text_is_of_the_best_pairs_of_trajectories() -> None:
    """Object 1 is followed by track 5 for two of four frames, then by track 6."""
    frames = [({1: 0}, {5: 0})] * 2 + [({1: 0}, {6: 0})] * 2
    scores = film(frames).scores()
    assert scores[1].j == scores[1].f == pytest.approx(0.5)


def test_j_of_a_text_does_not_profit_from_frames_in_which_nothing_is() -> None:
    frames = [({1: 0}, {})] + [({}, {})] * 9
    assert film(frames).scores()[1].j == 0.0


def test_a_track_that_stays_where_its_object_left_is_wrong_there() -> None:
    frames = [({1: 0}, {5: 0})] * 3 + [({}, {5: 0})]
    assert film(frames).scores()[1].j == pytest.approx(3 / 4)


def test_given_objects_have_the_j_of_their_own_track() -> None:
    """Track 6 lies on object 1, but was given for object 2."""
    frames = [({1: 0, 2: 3}, {5: 0, 6: 0})] * 2
    scores = film(frames, given={5: 1, 6: 2}).scores()
    assert (scores[1].j, scores[2].j) == (1.0, 0.0)


def test_objects_that_were_not_given_count_everywhere_but_in_j() -> None:
    group = film([({1: 0, 2: 3}, {5: 0})] * 2, given={5: 1}).group()
    assert group.figures["J"] == 1.0
    assert group.more["objects_in_j"] == 1
    assert group.more["recall"] == 0.5
    assert group.figures["det"] == pytest.approx(0.5)
    assert group.figures["count_error"] == -1.0


def test_a_frame_can_be_left_out_of_j_alone() -> None:
    tally = FilmTally("film", {5: 1})
    tally.add(drawn({1: 0}), items({5: 0}))
    tally.add(drawn({1: 0}), [], in_j=False)
    group = tally.group()
    assert group.figures["J"] == 1.0
    assert group.figures["f1_50"] == pytest.approx(2 / 3)


def test_films_are_joined_by_objects_counts_and_means() -> None:
    """One film of two objects found, one of a single object missed in two frames."""
    good = film([({1: 0, 2: 3}, {5: 0, 6: 3})] * 2)
    bad = film([({1: 0}, {})] * 2)
    good.seconds, bad.seconds = 1.0, 3.0
    group = join([good, bad], "all")
    assert group.figures["J"] == pytest.approx(2 / 3)
    assert group.figures["idf1"] == pytest.approx(2 * 4 / (6 + 4))
    assert group.figures["seg"] == group.figures["tra"] == 0.5
    assert group.figures["count_error"] == pytest.approx(-0.5)
    assert group.figures["fps"] == 1.0


def test_an_object_without_a_pixel_was_not_found() -> None:
    tally = FilmTally("film")
    empty = TrackedObject(5, "cell", 0.9, "hidden", np.zeros((0, 0), bool), (0, 0, 0, 0), 0)
    score = tally.add(drawn({1: 0}), [empty])
    assert (score.found, score.quality) == (0, 0.0)


@pytest.mark.parametrize("given", [None, {}])
def test_a_film_with_nothing_in_it_has_no_wrong_figure(given: dict[int, int] | None) -> None:
    group = film([({}, {})] * 2, given).group()
    assert group.figures["idf1"] == group.figures["hota"] == group.figures["f1_50"] == 1.0
    for name in ("J", "F", "JF", "seg", "det", "tra", "lnk"):
        assert group.figures[name] is None


# -- stills ------------------------------------------------------------------------------------


def test_prompted_objects_have_their_own_j_and_missing_ones_zero() -> None:
    tally = StillTally("all", prompted=True)
    score = tally.add(drawn({1: 0, 2: 3}), items({1: 0}), 0.5)
    assert [fit.j for fit in score.objects] == [1.0, 0.0]
    assert score.quality == 0.5
    group = tally.group()
    assert (group.figures["J"], group.figures["F"], group.figures["fps"]) == (0.5, 0.5, 2.0)
    assert group.figures["tra"] is group.figures["hota"] is None


def test_only_objects_that_were_asked_for_count_in_j() -> None:
    tally = StillTally("all", prompted=True)
    tally.add(drawn({1: 0, 2: 3}), items({1: 0}), 0.0, asked=[1, -1])
    assert tally.group().figures["J"] == 1.0
    assert tally.group().figures["f1_50"] == pytest.approx(2 / 3)


def test_objects_found_by_text_are_paired_by_overlap() -> None:
    tally = StillTally("all", prompted=False)
    score = tally.add(drawn({1: 0, 2: 3}), items({1: 3, 9: 0, 4: 5}), 0.0)
    assert [fit.j for fit in score.objects] == [1.0, 1.0]
    assert score.quality == pytest.approx(2 / 2.5)
    assert tally.group().figures["count_error"] == 1.0


def test_ious_are_spread() -> None:
    found = spread([0.0, 0.5, 0.75, 1.0])
    assert (found["mean"], found["p50"]) == (0.5625, 0.625)
    assert (found["from_50"], found["from_75"]) == (0.75, 0.5)
    assert set(spread([]).values()) == {None}


def test_what_is_not_a_number_is_null() -> None:
    assert rounded(float("nan")) is None
    assert mean([None, float("nan")]) is None
    assert mean([1.0, None, 0.0]) == 0.5


def test_contours_near_the_border_are_those_of_the_whole_frame() -> None:
    """F looks at a part of the frame only: an object at its border has no contour along it."""
    truth, result = np.zeros((50, 60), bool), np.zeros((50, 60), bool)
    truth[0:20, 0:20] = True
    result[0:20, 0:23] = True
    # The right edge is off by 3 px of a tolerance of 1; of 19 + 20 contour pixels the lower stay.
    assert 0.4 < contour_accuracy(truth, result) < 0.6
    assert contour_accuracy(truth, truth) == 1.0
