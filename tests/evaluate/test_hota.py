"""HOTA against TrackEval's figures and films worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.evaluate import overlaps
from stream.evaluate.hota import ALPHAS, Hota, HotaTally
from stream.evaluate.regions import Overlaps
from tests.evaluate.worked import crowded_film, drawn, place


def play(frames: list[tuple[dict[int, int], dict[int, int]]]) -> Hota:
    """Tally a film of (true places, found places)."""
    tally = HotaTally()
    for true, found in frames:
        tally.take(overlaps(drawn(true), {i: place(n) for i, n in found.items()}))
    return tally.result()


def crowded(frames: int) -> Hota:
    tally = HotaTally()
    for truth, found in crowded_film(frames):
        masks = {int(i): found == i for i in np.unique(found) if i}
        tally.take(overlaps(truth, masks))
    return tally.result()


def test_a_crowded_film_has_the_figures_that_trackeval_gives() -> None:
    """Figures of trackeval 1.3.0, `HOTA().eval_sequence` on the same overlaps."""
    result = crowded(12)
    assert result.hota == pytest.approx(0.37839392677523837, abs=1e-12)
    assert result.det_a == pytest.approx(0.4316471571906355, abs=1e-12)
    assert result.ass_a == pytest.approx(0.333490521738444, abs=1e-12)
    at = {round(float(a), 2): h for a, h in zip(ALPHAS, result.by_alpha, strict=True)}
    assert at[0.5] == pytest.approx(0.4043703254712133, abs=1e-12)
    assert at[0.65] == pytest.approx(0.18421335637345032, abs=1e-12)


def test_tangled_trajectories_have_the_figures_that_trackeval_gives() -> None:
    """Every object overlaps several: who is paired depends on the whole film. Same source."""
    tally = HotaTally()
    for t in range(8):
        iou = np.array(
            [[(7 * t + 3 * r * r + 5 * c + 2 * r * c * t) % 11 / 11 for c in range(5)]
             for r in range(4)]
        )  # fmt: skip
        tally.take(Overlaps((1, 2, 3, 4), (1, 2, 3, 4, 5), np.where(iou < 0.3, 0.0, iou)))
    result = tally.result()
    assert result.hota == pytest.approx(0.2811546654791987, abs=1e-12)
    assert result.det_a == pytest.approx(0.5069697307413691, abs=1e-12)
    assert result.ass_a == pytest.approx(0.1565621122348022, abs=1e-12)


def test_two_films_together_have_the_figures_that_trackeval_gives() -> None:
    """`HOTA().combine_sequences` of the films of 12 and 7 frames."""
    result = crowded(12) + crowded(7)
    assert result.hota == pytest.approx(0.38914668689978027, abs=1e-12)
    assert result.det_a == pytest.approx(0.42283076696292027, abs=1e-12)
    assert result.ass_a == pytest.approx(0.3605649608570416, abs=1e-12)


def test_all_right_is_one_whatever_the_ids() -> None:
    result = play([({1: 0, 2: 3}, {70: 0, 80: 3})] * 4)
    assert (result.hota, result.det_a, result.ass_a) == (1.0, 1.0, 1.0)


def test_ids_swapped_midway_cost_association_only() -> None:
    """Each pair shares 2 of the 4 + 4 - 2 detections of its trajectories."""
    true = {1: 0, 2: 3}
    result = play([(true, {7: 0, 8: 3})] * 2 + [(true, {7: 3, 8: 0})] * 2)
    assert result.det_a == 1.0
    assert result.ass_a == pytest.approx(2 / 6)
    assert result.hota == pytest.approx(math.sqrt(2 / 6))


def test_a_hole_in_a_track_costs_detection_and_association() -> None:
    frames = [({1: 0}, {7: 0}), ({1: 0}, {}), ({1: 0}, {7: 0}), ({1: 0}, {7: 0})]
    result = play(frames)
    assert result.det_a == pytest.approx(3 / 4)
    assert result.ass_a == pytest.approx(3 / 4)


def test_nothing_found_is_zero_and_so_is_nothing_true() -> None:
    assert play([({1: 0}, {})]).hota == 0.0
    assert play([({}, {1: 0})]).hota == 0.0


def test_nothing_true_and_nothing_found_is_right() -> None:
    assert play([({}, {})]).hota == 1.0
