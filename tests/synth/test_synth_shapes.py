"""Shape pictures: every id has a mask and words, and the words are true."""

from __future__ import annotations

import numpy as np
import pytest

from stream.synth import draw_shapes
from stream.synth.shapes import COLOURS, KINDS, SIZES


def test_same_seed_same_picture() -> None:
    one = draw_shapes(np.random.default_rng(3), 160, 120, 5)
    two = draw_shapes(np.random.default_rng(3), 160, 120, 5)
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    assert one[2] == two[2]


def test_shapes_types_and_ids() -> None:
    image, ids, labels = draw_shapes(np.random.default_rng(0), 160, 120, 6)
    assert image.shape == (120, 160, 3)
    assert image.dtype == np.uint8
    assert ids.shape == (120, 160)
    assert ids.dtype == np.uint16
    assert set(np.unique(ids).tolist()) - {0} == set(labels)


def test_words_match_the_pixels() -> None:
    areas: dict[tuple[str, str], list[float]] = {}
    for seed in range(40):
        image, ids, labels = draw_shapes(np.random.default_rng(seed), 200, 200, 5)
        for number, words in labels.items():
            _, size, colour, kind = words[1].split()
            assert words[:3] == (f"a {colour} {kind}", f"a {size} {colour} {kind}", kind)
            assert colour in COLOURS
            assert kind in KINDS
            assert size in SIZES
            mean = image[ids == number].astype(float).mean(axis=0)
            nearest = min(COLOURS, key=lambda c: float(np.linalg.norm(mean - COLOURS[c])))
            assert nearest == colour
            areas.setdefault((kind, size), []).append(float((ids == number).sum()))
    assert len(areas) == len(KINDS) * len(SIZES)
    for kind in KINDS:
        assert max(areas[kind, "small"]) < min(areas[kind, "large"])
    mean_large = {kind: float(np.mean(areas[kind, "large"])) for kind in KINDS}
    assert mean_large["star"] < mean_large["triangle"] * 1.2 < mean_large["square"] * 1.2
    assert mean_large["square"] < mean_large["circle"]


def test_bad_values_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="width=10, height=64 is not at least 32 by 32"):
        draw_shapes(rng, 10, 64, 1)
    with pytest.raises(ValueError, match="n=-1 is not a number from 0 up"):
        draw_shapes(rng, 64, 64, -1)
