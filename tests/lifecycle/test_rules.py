from __future__ import annotations

import pytest

from stream.config import LifecycleConfig, check
from stream.errors import ConfigError
from stream.lifecycle import Track, gives_way, has_left, is_abandoned

RULES = LifecycleConfig()


def test_the_least_certain_gives_way_tentative_ones_first() -> None:
    tracks = [
        Track(1, "a", 0.95, confirmed=True),
        Track(2, "a", 0.75, confirmed=True),
        Track(3, "a", 0.8),
    ]
    assert gives_way(tracks, True, 0.95, RULES) == 3
    assert gives_way(tracks, False, 0.89, RULES) is None, "tentative, and hardly surer"
    assert gives_way(tracks[:2], True, 0.95, RULES) == 2
    assert gives_way(tracks[:2], False, 0.89, RULES) is None, "shown ones stay for doubtful ones"
    assert gives_way([], True, 1.0, RULES) is None


def test_of_equals_the_youngest_gives_way_and_events_in_vain_count() -> None:
    tracks = [Track(k, "a", 0.8, confirmed=True) for k in (1, 2, 3)]
    assert gives_way(tracks, True, 0.95, RULES) == 3
    tracks[1].unsupported = 4
    assert gives_way(tracks, True, 0.95, RULES) == 2


def test_a_track_is_abandoned_by_its_own_rule() -> None:
    track = Track(1, "a", 0.8, confirmed=True, unsupported=7)
    assert not is_abandoned(track, RULES)
    track.unsupported = 8
    assert is_abandoned(track, RULES)
    tentative = Track(2, "a", 0.8)
    tentative.supports.extend([True, False])
    assert not is_abandoned(tentative, RULES)
    tentative.supports.append(False)
    assert is_abandoned(tentative, RULES)


@pytest.mark.parametrize(
    ("since_s", "expected"), [(None, False), (8.1, False), (8.0, True), (0.0, True)]
)
def test_what_is_empty_for_two_seconds_has_left(since_s: float | None, expected: bool) -> None:
    assert has_left(since_s, 10.0, RULES) is expected


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"confirm_supports": 4}, "lifecycle.confirm_window"),
        ({"confirm_supports": 3, "confirm_window": 2}, "lifecycle.confirm_window"),
        ({"confirm_window": 17}, "lifecycle.confirm_window"),
        ({"gallery_size": -1}, "lifecycle.gallery_size"),
        ({"recognise_cosine": 1.5}, "lifecycle.recognise_cosine"),
    ],
)
def test_thresholds_that_nothing_can_meet_are_refused(values: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        check({"lifecycle": values})


def test_supports_of_the_longest_window_are_kept() -> None:
    rules = check({"lifecycle": {"confirm_supports": 16, "confirm_window": 16}}).lifecycle
    track = Track(1, "a", 0.8)
    track.supports.extend([True] * 20)
    assert len(track.supports) >= rules.confirm_window
