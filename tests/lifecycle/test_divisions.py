"""One object becomes two: whose daughters they are, and what becomes of the ids."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from stream.config import LifecycleConfig
from stream.lifecycle import division_iou, find_mother
from tests.lifecycle.films import Box, Play, still

SIDE = 64
RULES = LifecycleConfig(divisions=True)


def block(x: int, width: int, y: int = 10, height: int = 10) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + height, x : x + width] = True
    return mask


MOTHER = block(10, 20)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (block(10, 10), block(20, 10), 1.0),
        (block(8, 9), block(22, 10), (7 + 8) / (20 + 4)),  # they move apart
        (block(10, 20), block(32, 10), 0.0),  # one is as large as ever: a stranger came
        (block(10, 10), block(32, 10), 0.0),  # the other lies beside
        (block(10, 2), block(14, 10), 0.0),  # a crumb
        (block(0, 16), block(24, 16), 0.0),  # together larger than she was
    ],
)
def test_two_halves_where_one_was(one: np.ndarray, other: np.ndarray, expected: float) -> None:
    assert division_iou(MOTHER, one, other) == pytest.approx(expected)
    assert division_iou(MOTHER, other, one) == pytest.approx(expected)


def test_nothing_was_there_before() -> None:
    assert division_iou(np.zeros((SIDE, SIDE), bool), block(1, 2), block(3, 2)) == 0.0


def test_the_mother_is_the_one_whose_place_both_fill_best() -> None:
    before = {1: [block(9, 21), block(10, 20)], 2: [block(29, 18), block(30, 16)]}
    assert find_mother(block(20, 10), {1: block(10, 10), 2: block(30, 16)}, before, RULES) == 1
    assert find_mother(block(50, 10), {1: block(10, 10), 2: block(30, 16)}, before, RULES) is None
    assert find_mother(block(20, 10), {}, before, RULES) is None
    assert find_mother(block(20, 10), {1: block(10, 10)}, {}, RULES) is None


def play(*, divisions: bool = True, at: int = 21, late: int = 0, score: float = 0.8) -> Play:
    """A cell that is 20 px wide until it has become two of 9 px that drift apart."""

    def half(way: int, start: float) -> Box:
        return Box(
            "left" if way < 0 else "right",
            lambda step: (start + way * max(step - at, 0) / 8, 10.0),
            (9, 10),
            shown=(at, 10**6),
            score=score,
        )

    left, right = half(-1, 10.0), half(1, 21.0)
    left.part_of = "mother"
    cells = [Box("mother", still(10, 10), (20, 10), shown=(0, at)), left, right]
    return Play(cells, late=late, rules=LifecycleConfig(divisions=divisions))


def now(film: Play) -> dict[str, int]:
    """Return id by name of the daughters."""
    return {name: track_id for name, track_id in film.ids().items() if name != "mother"}


@pytest.mark.parametrize("late", [0, 3, 9])
def test_a_mother_ends_when_both_daughters_are_sure_and_both_name_her(late: int) -> None:
    film = play(late=late).run(60)
    tracks = film.tracks.tracks
    assert 1 not in tracks
    assert {track.parent for track in tracks.values()} == {1}
    assert set(film.ids()) == {"left", "right"}
    assert sorted(film.ids().values()) == [2, 3]
    ended = [step for step, what, track_id in film.happened("removed") if track_id == 1]
    sure = [step for step, what, track_id in film.happened("confirmed") if track_id != 1]
    assert [*ended, *ended] == sure
    assert film.tracks.ever == 3


def test_where_nothing_divides_the_first_track_goes_on() -> None:
    film = play(divisions=False).run(60)
    assert now(film) == {"left": 1, "right": 2}
    assert all(track.parent is None for track in film.tracks.tracks.values())


def test_a_daughter_that_was_seen_once_takes_no_id_away() -> None:
    film = play()
    film.boxes[2].missed = set(range(25, 1000))
    film.run(80)
    assert now(film) == {"left": 1}


def test_a_daughter_that_is_sure_at_once_divides_at_once() -> None:
    film = play(score=0.95).run(60)
    removed = film.happened("removed")
    assert removed == [(24, "removed", 1)]
    assert sorted(film.ids().values()) == [2, 3]


def test_a_cell_that_comes_to_lie_beside_another_is_no_daughter() -> None:
    cells = [Box("old", still(10, 10), (20, 10)), Box("new", still(31, 10), shown=(21, 10**6))]
    film = Play(cells, rules=RULES).run(60)
    assert film.ids() == {"old": 1, "new": 2}
    assert film.tracks.tracks[2].parent is None


def test_a_track_that_has_swallowed_a_neighbour_is_no_mother() -> None:
    """Its mask covers both; the detector never saw them as one."""
    cells = [
        Box("old", still(10, 10)),
        Box("new", still(20, 10), part_of="old", missed={*range(21)}),
    ]
    film = Play(cells, rules=RULES).run(60)
    assert film.ids() == {"old": 1, "new": 2}


def test_a_track_by_hand_is_nobodys_mother() -> None:
    film = play().run(16)
    film.tracks.take_over(1)
    film.run(60)
    assert now(film) == {"left": 1, "right": 2}


def test_daughters_divide_as_well() -> None:
    first = [Box("a", still(4, 10), (40, 10), shown=(0, 21))]
    second = [Box("b", still(4, 10), (19, 10), shown=(21, 61), part_of="a"),
              Box("c", still(25, 10), (19, 10), shown=(21, 10**6))]  # fmt: skip
    third = [Box("d", still(4, 10), (9, 10), shown=(61, 10**6), part_of="b"),
             Box("e", still(14, 10), (9, 10), shown=(61, 10**6))]  # fmt: skip
    film = Play([*first, *second, *third], rules=RULES).run(100)
    parents = {name: film.tracks.tracks[track_id].parent for name, track_id in film.ids().items()}
    mother_of_two = {parents["d"], parents["e"]}
    assert len(mother_of_two) == 1
    assert parents["c"] == 1
    assert mother_of_two.isdisjoint({1, None, *film.ids().values()})
    assert all(one < other for one, other in pairwise(sorted(film.ids().values())))


def test_a_detection_counts_once_also_where_it_divides_a_track() -> None:
    film = play(score=0.95).run(25)
    assert film.happened("removed") == [(24, "removed", 1)]
    assert film.tracks.accepted == 6 + 2, "of the mother in six events, then of both daughters"
