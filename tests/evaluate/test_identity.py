"""IDF1 and id switches, on films worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stream.evaluate import Identity, IdentityTally


def scene(places: dict[int, int]) -> dict[int, np.ndarray]:
    """Squares by id; place n is the n-th of six that do not touch."""
    masks = {}
    for object_id, place in places.items():
        masks[object_id] = np.zeros((10, 60), bool)
        masks[object_id][2:8, place * 10 + 2 : place * 10 + 8] = True
    return masks


def play(frames: list[tuple[dict[int, int], dict[int, int]]]) -> Identity:
    """Tally a film of (true places, found places)."""
    tally = IdentityTally()
    for true, found in frames:
        ids = np.zeros((10, 60), np.uint16)
        for object_id, mask in scene(true).items():
            ids[mask] = object_id
        tally.add(ids, scene(found))
    return tally.result()


def test_ids_need_not_be_the_true_ones_but_must_stay() -> None:
    result = play([({1: 0, 2: 2}, {70: 0, 80: 2})] * 4)
    assert result == Identity(right=8, true=8, found=8, switches=0)
    assert (result.idf1, result.idp, result.idr) == (1.0, 1.0, 1.0)


def test_a_swap_halfway_costs_half_and_switches_twice() -> None:
    """Every mask is right in every frame, but after the swap no id is."""
    true = {1: 0, 2: 2}
    result = play([(true, {7: 0, 8: 2})] * 3 + [(true, {7: 2, 8: 0})] * 3)
    assert (result.idf1, result.switches) == (pytest.approx(0.5), 2)


def test_the_longer_part_of_a_broken_track_counts() -> None:
    """Id 7 for two frames, then 8 for four: four of six are rightly named on both sides."""
    result = play([({1: 0}, {7: 0})] * 2 + [({1: 0}, {8: 0})] * 4)
    assert (result.idp, result.idr) == (pytest.approx(4 / 6), pytest.approx(4 / 6))
    assert result.switches == 1


def test_matching_is_best_over_the_whole_film_and_one_to_one() -> None:
    """Found 7 is with true 1 for 3 frames and with 2 for 2; found 8 with 1 for 2.

    Taking the longest pair first gives 3 + 0; pairing 7 with 2 and 8 with 1 gives 2 + 2.
    """
    film = [({1: 0}, {7: 0})] * 3 + [({1: 0, 2: 2}, {7: 2, 8: 0})] * 2
    result = play(film)
    assert result.idf1 == pytest.approx(2 * 4 / (7 + 7))


def test_misses_and_false_masks_are_told_apart() -> None:
    result = play([({1: 0, 2: 2}, {7: 0, 9: 5})] * 2 + [({1: 0}, {7: 0})] * 2)
    assert result.idr == pytest.approx(4 / 6)
    assert result.idp == pytest.approx(4 / 6)
    assert result.idf1 == pytest.approx(8 / 12)


def test_a_gap_is_no_switch_and_a_new_id_after_it_is_one() -> None:
    same = play([({1: 0}, {7: 0}), ({1: 0}, {}), ({1: 0}, {7: 0})])
    other = play([({1: 0}, {7: 0}), ({1: 0}, {}), ({1: 0}, {8: 0})])
    assert (same.switches, other.switches) == (0, 1)


def test_the_pair_of_the_frame_before_stays_while_it_overlaps_enough() -> None:
    """A second mask that fits better does not take an object over."""
    ids = np.zeros((10, 60), np.uint16)
    ids[2:8, 2:8] = 1
    exact = ids == 1
    close = exact.copy()
    close[2] = False
    tally = IdentityTally()
    tally.add(ids, {7: close})
    tally.add(ids, {7: close, 8: exact})
    assert tally.result().switches == 0


@pytest.mark.parametrize(("shift", "matched"), [(2, True), (3, False)])
def test_half_of_the_union_is_enough(shift: int, matched: bool) -> None:
    """6 columns shifted by 2 share 4 of 8, shifted by 3 they share 3 of 9."""
    ids = np.zeros((10, 60), np.uint16)
    ids[2:8, 2:8] = 1
    tally = IdentityTally()
    tally.add(ids, {1: np.roll(ids == 1, shift, axis=1)})
    assert tally.result().idf1 == (1.0 if matched else 0.0)


def test_films_add_up() -> None:
    good, bad = play([({1: 0}, {7: 0})] * 3), play([({1: 0}, {7: 0}), ({1: 0}, {8: 0})])
    both = good + bad
    assert both.idf1 == pytest.approx(2 * (3 + 1) / (5 + 5))
    assert both.switches == 1


def test_empty_films() -> None:
    for nothing in (play([({}, {})] * 2), play([])):
        assert (nothing.idf1, nothing.idp, nothing.idr, nothing.switches) == (1.0, 1.0, 1.0, 0)
    missed, invented = play([({1: 0}, {})]), play([({}, {1: 0})])
    assert (missed.idf1, missed.idp, missed.idr) == (0.0, 1.0, 0.0)
    assert (invented.idf1, invented.idp, invented.idr) == (0.0, 0.0, 1.0)
