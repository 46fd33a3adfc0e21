from __future__ import annotations

import numpy as np
import pytest

from stream.config import LifecycleConfig
from stream.lifecycle import Gallery, Track, cosines, mean_embedding, recognise

RULES = LifecycleConfig()
NOBODY = np.zeros((2, 0), np.float32)


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def ended(track_id: int, confirmed: bool = True, empty_since_s: float | None = None) -> Track:
    return Track(
        track_id, "cell", 0.8, confirmed, empty_since_s=empty_since_s, embedding=unit(1, 0)
    )


def test_the_mean_of_embeddings_has_unit_length_and_follows_slow_changes() -> None:
    mean = None
    for count, vector in enumerate([unit(1, 0), unit(0, 1), unit(1, 1)]):
        mean = mean_embedding(mean, vector, count, RULES)
    assert mean is not None
    np.testing.assert_allclose(mean, unit(1, 1), atol=1e-6)
    for count in range(1000, 1060):
        mean = mean_embedding(mean, unit(-1, 1), count, RULES)
    assert float(mean @ unit(-1, 1)) > 0.99, "a thousand old ones do not outweigh sixty new ones"
    assert mean_embedding(mean, None, 3, RULES) is mean
    assert mean_embedding(None, None, 0, RULES) is None


def test_cosines_of_what_is_missing_or_of_another_model_are_no_match() -> None:
    got = cosines([unit(1, 0), None], [unit(1, 1), None, unit(1, 0, 0)])
    np.testing.assert_allclose(got, [[np.sqrt(0.5), -1, -1], [-1, -1, -1]], atol=1e-6)


@pytest.mark.parametrize(
    ("like", "rivals", "expected"),
    [
        ([[0.95, 0.5], [0.5, 0.95]], NOBODY, [(0, 0), (1, 1)]),
        ([[0.89, 0.5], [0.5, 0.1]], NOBODY, []),  # not alike enough
        ([[0.99, 0.96], [0.1, 0.1]], NOBODY, []),  # it could be either
        ([[0.99, 0.1], [0.96, 0.1]], NOBODY, []),  # either could be it
        ([[0.99, 0.1], [0.1, 0.1]], np.array([[0.96], [0.0]]), []),  # and so does one in sight
        ([[0.99, 0.1], [0.1, 0.1]], np.array([[0.9], [0.99]]), [(0, 0)]),
    ],
)
def test_only_what_is_like_one_and_like_nothing_else_is_recognised(
    like: list[list[float]], rivals: np.ndarray, expected: list[tuple[int, int]]
) -> None:
    assert recognise(np.array(like, np.float32), rivals, RULES) == expected


def test_only_confirmed_tracks_of_known_looks_are_kept() -> None:
    gallery = Gallery(RULES)
    gallery.add(ended(1, confirmed=False), 0.0)
    gallery.add(Track(2, "cell", 0.8, True), 0.0)
    gallery.add(ended(3), 0.0)
    assert [track.id for track in gallery.tracks(0.0)] == [3]
    assert gallery.take(3).id == 3
    assert len(gallery) == 0


def test_the_first_that_left_is_forgotten_first_and_all_are_after_a_minute() -> None:
    gallery = Gallery(LifecycleConfig(gallery_size=2))
    for track_id in (1, 2, 3):
        gallery.add(ended(track_id), float(track_id))
    gallery.add(ended(4, empty_since_s=2.5), 4.5)  # it counts from when it was last visible
    assert [track.id for track in gallery.tracks(62.4)] == [3, 4]
    assert [track.id for track in gallery.tracks(62.6)] == [3]
    assert gallery.tracks(63.1) == []
    gallery.add(ended(5), 1000.0)
    assert gallery.tracks(0.0) == [], "a clock that went back"


def test_a_gallery_of_size_zero_keeps_nobody() -> None:
    gallery = Gallery(LifecycleConfig(gallery_size=0))
    gallery.add(ended(1), 0.0)
    assert gallery.tracks(0.0) == []
