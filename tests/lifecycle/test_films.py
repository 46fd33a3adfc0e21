"""Whole lives of tracks in scripted films: ids, births and deaths as written down."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from stream.config import LifecycleConfig
from tests.lifecycle.films import FPS, Box, Play, moving, still

ALWAYS = set(range(1000))
Log = list[tuple[int, str, int]]


@dataclass
class Film:
    """A film and what must come of it."""

    boxes: list[Box]
    steps: int
    log: Log
    ids: dict[str, int]
    late: int = 0
    max_objects: int = 10
    rules: LifecycleConfig = field(default_factory=LifecycleConfig)


def born(track_id: int, at: int = 0, confirmed: int = 4) -> Log:
    return [(at, "born", track_id), (confirmed, "confirmed", track_id)]


def wall(width: int) -> Box:
    return Box("wall", still(20, 0), (width, 60), wall=True)


FILMS = {
    "seen twice, confirmed": Film([Box("a", still(5, 5))], 20, born(1), {"a": 1}),
    "seen very clearly, confirmed at once": Film(
        [Box("a", still(5, 5), score=0.95)], 20, born(1, confirmed=0), {"a": 1}
    ),
    "seen vaguely, never born": Film([Box("a", still(5, 5), score=0.65)], 40, [], {}),
    "born, then seen vaguely: kept": Film(
        [Box("a", still(5, 5), says={step: ("cell", 0.45) for step in range(4, 100)})],
        80,
        born(1),
        {"a": 1},
    ),
    "then seen more vaguely still: dropped": Film(
        [Box("a", still(5, 5), says={step: ("cell", 0.35) for step in range(8, 100)})],
        80,
        [*born(1), (36, "removed", 1)],
        {},
    ),
    "a wrong detection once is never shown": Film(
        [Box("a", still(5, 5)), Box("wrong", still(30, 30), missed=ALWAYS - {0})],
        40,
        [(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (8, "removed", 2)],
        {"a": 1},
    ),
    "a wrong detection that was sure goes after eight events in vain": Film(
        [Box("wrong", still(30, 30), score=0.95, missed=ALWAYS - {0})],
        60,
        [*born(1, confirmed=0), (32, "removed", 1)],
        {},
    ),
    "crossing": Film(
        [Box("a", moving(2, 20, 1)), Box("b", moving(50, 20, -1))],
        48,
        [(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (4, "confirmed", 2)],
        {"a": 1, "b": 2},
    ),
    "crossing in lanes that overlap": Film(
        [Box("a", moving(2, 20, 1)), Box("b", moving(50, 25, -1))],
        48,
        [(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (4, "confirmed", 2)],
        {"a": 1, "b": 2},
    ),
    "behind a wall for 1.6 s": Film([Box("a", moving(2, 20, 1)), wall(25)], 52, born(1), {"a": 1}),
    "behind a wall for more than 2 s and recognised": Film(
        [Box("a", moving(2, 20, 1), looks=0), wall(32)],
        60,
        [*born(1), (39, "ended", 1), (44, "recognised", 1)],
        {"a": 1},
    ),
    "behind a wall for more than 2 s and nothing known of its looks": Film(
        [Box("a", moving(2, 20, 1)), wall(32)],
        60,
        [*born(1), (39, "ended", 1), (44, "born", 2), (48, "confirmed", 2)],
        {"a": 2},
    ),
    "gone and back": Film(
        [
            Box("a", still(5, 5), shown=(0, 12), looks=0),
            Box("b", still(30, 5), looks=1),
            Box("a again", still(5, 40), shown=(80, 200), looks=0),
        ],
        100,
        [
            *[(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (4, "confirmed", 2)],
            *[(32, "ended", 1), (80, "recognised", 1)],
        ],
        {"a again": 1, "b": 2},
    ),
    "gone, and another one comes": Film(
        [
            Box("a", still(5, 5), shown=(0, 12), looks=0),
            Box("c", still(5, 5), shown=(80, 200), looks=1),
        ],
        100,
        [*born(1), (32, "ended", 1), *born(2, 80, 84)],
        {"c": 2},
    ),
    "gone, and another kind of thing comes": Film(
        [
            Box("a", still(5, 5), shown=(0, 12), looks=0),
            Box("c", still(5, 5), shown=(80, 200), looks=0, label="bead"),
        ],
        100,
        [*born(1), (32, "ended", 1), *born(2, 80, 84)],
        {"c": 2},
    ),
    "not detected for so long that it ends, then recognised": Film(
        [Box("a", still(5, 5), looks=0, missed=set(range(5, 44)))],
        60,
        [*born(1), (36, "removed", 1), (44, "recognised", 1)],
        {"a": 1},
    ),
    "not detected seven times, twice": Film(
        [Box("a", still(5, 5), missed=set(range(5, 33)) | set(range(37, 65)))],
        72,
        born(1),
        {"a": 1},
    ),
    "gone for too long": Film(
        [
            Box("a", still(5, 5), shown=(0, 12), looks=0),
            Box("a again", still(5, 5), shown=(80, 200), looks=0),
        ],
        100,
        [*born(1), (32, "ended", 1), *born(2, 80, 84)],
        {"a again": 2},
        rules=LifecycleConfig(recognise_within_s=6.0),
    ),
    "back among others that look like it": Film(
        [
            Box("a", still(5, 5), shown=(0, 12), looks=0),
            Box("twin", still(30, 5), looks=0),
            Box("a again", still(5, 40), shown=(80, 200), looks=0),
        ],
        100,
        [
            *[(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (4, "confirmed", 2)],
            *[(32, "ended", 1), *born(3, 80, 84)],
        ],
        {"a again": 3, "twin": 2},
    ),
    "a split: one half keeps the id": Film(
        [
            Box("whole", still(20, 20), (12, 8), shown=(0, 20)),
            Box("left", moving(30, 20, -0.5), (7, 8), shown=(20, 900), part_of="whole"),
            Box("right", moving(17, 20, 0.5), (5, 8), shown=(20, 900), part_of="whole"),
        ],
        36,
        [*born(1), (20, "restarted", 1), *born(2, 20, 24)],
        {"left": 1, "right": 2},
    ),
    "two texts claim one object, the surer one names it": Film(
        [Box("a", still(5, 5), label="cell"), Box("a too", still(5, 5), label="bead", score=0.7)],
        40,
        born(1),
        {"a too": 1},
    ),
    "room for two: the least certain gives way": Film(
        [
            Box("a", still(5, 5), score=0.85),
            Box("b", still(25, 5), score=0.75),
            Box("c", still(45, 5), score=0.95, shown=(20, 900)),
        ],
        40,
        [
            *[(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (4, "confirmed", 2)],
            *[(20, "removed", 2), (20, "born", 3), (20, "confirmed", 3)],
        ],
        {"a": 1, "c": 3},
        max_objects=2,
    ),
    "room for two: one that is hardly surer waits": Film(
        [
            Box("a", still(5, 5), score=0.85),
            Box("b", still(25, 5), score=0.85),
            Box("c", still(45, 5), score=0.89, shown=(20, 900)),
        ],
        40,
        [(0, "born", 1), (0, "born", 2), (4, "confirmed", 1), (4, "confirmed", 2)],
        {"a": 1, "b": 2},
        max_objects=2,
    ),
}


@pytest.mark.parametrize("name", FILMS)
def test_a_film_goes_as_it_is_written(name: str) -> None:
    film = FILMS[name]
    play = Play(film.boxes, late=film.late, max_objects=film.max_objects, rules=film.rules)
    play.run(film.steps)
    assert play.log == film.log
    assert {box: i for box, i in play.ids().items() if box in film.ids} == film.ids
    kept = {track.id for track in play.tracks.gallery.tracks(film.steps / FPS)}
    assert not kept & set(play.tracks.tracks), "who is back has left the gallery"


@pytest.mark.parametrize("late", [1, 3, 8, 20, 40])
def test_late_answers_change_when_things_are_born_but_not_what_is_who(late: int) -> None:
    boxes = [
        Box("slow", moving(2, 5, 0.1)),
        Box("fast", moving(2, 20, 0.3)),  # further than its own length from where it was seen
        Box("later", moving(60, 40, -0.2), shown=(30, 900)),
    ]
    play = Play(boxes, every=4, late=late).run(4 * max(late, 10) + 40)
    assert play.ids() == {"slow": 1, "fast": 2, "later": 3}
    births = play.happened("born")
    assert [i for _, _, i in births] == [1, 2, 3]
    assert births[0][0] == late
    assert not play.happened("restarted", "removed", "ended", "recognised")


def test_a_thing_that_was_gone_before_its_answer_came_is_never_shown() -> None:
    play = Play([Box("a", still(5, 5), shown=(0, 10))], late=15).run(80)
    assert play.log == [(15, "born", 1), (35, "ended", 1)]


def test_texts_edited_while_it_runs() -> None:
    boxes = [Box("a", still(5, 5), label="red car", looks=0), Box("b", still(30, 5), looks=1)]
    play = Play(boxes).run(10)
    assert play.ids() == {"a": 1, "b": 2}
    assert set(play.tracks.embeddings()) == {1, 2}

    assert play.tracks.rephrase(["car", "cell"], {1: {"car": 0.8}, 2: {"car": 0.1}}) == []
    boxes[0].label = "car"
    play.run(10)
    assert play.ids() == {"a": 1, "b": 2}
    assert {t.id: t.label for t in play.tracks.tracks.values()} == {1: "car", 2: "cell"}
    assert set(play.tracks.tracks[1].evidence) == {"car"}

    gone = play.tracks.rephrase(["car"], {2: {"car": 0.1}})
    assert gone == [2]
    del play.follows[2]
    boxes[1].score = 0.0  # nobody asks for it
    play.run(10)
    assert play.ids() == {"a": 1}

    assert play.tracks.rephrase(["car", "cell"], {}) == []
    boxes[1].score = 0.8
    play.run(10)
    assert play.ids() == {"a": 1, "b": 2}, "asked for again, it is who it was"


@pytest.mark.parametrize(
    ("labels", "last", "changes"),
    [
        (["cell"] * 12, "cell", 0),
        (["cell", "bead"] * 6, "cell", 0),  # no flip-flop
        (["cell", "bead", "cell"] * 4, "cell", 0),
        (["cell"] * 3 + ["bead"] * 9, "bead", 1),
        (["cell"] + ["bead"] * 4 + ["cell", "bead"] * 4, "bead", 1),
    ],
)
def test_a_label_changes_only_when_another_is_clearly_surer(
    labels: list[str], last: str, changes: int
) -> None:
    box = Box("a", still(5, 5), says={4 * k: (label, 0.8) for k, label in enumerate(labels)})
    play = Play([box])
    seen = []
    for _ in labels:
        play.run(4)
        seen.append(play.tracks.tracks[1].label)
    assert seen[-1] == last
    assert sum(a != b for a, b in itertools.pairwise(seen)) == changes
    assert [i for _, _, i in play.happened("born")] == [1]
