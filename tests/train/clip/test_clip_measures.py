"""Recall with ties and several right answers, attributes, stopping, mixing."""

from __future__ import annotations

import math

import pytest
import torch

from train.clip.retrieval import area_under_curve, attribute_accuracy, recall_at, recalls
from train.clip.stopping import EarlyStop
from train.clip.wise import Mixed, alphas, choose, mix


def recall(scores: list[list[float]], right: list[list[int]], rank: int = 1) -> float:
    table = torch.tensor(right)
    return recall_at(torch.tensor(scores), table > 0, table >= 0, rank)


def test_recall_by_hand() -> None:
    scores = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]]
    assert recall(scores, [[1, 0, 0], [0, 1, 0]]) == 0.5
    assert recall(scores, [[1, 0, 0], [0, 1, 0]], 2) == 1.0
    assert recall(scores, [[0, 0, 1], [0, 0, 1]], 2) == 0.0


def test_any_right_answer_counts_and_unsure_ones_do_not() -> None:
    scores = [[0.9, 0.5, 0.1]]
    assert recall(scores, [[1, 1, 0]]) == 1.0
    assert recall(scores, [[0, 1, 1]]) == 0.0
    assert recall(scores, [[-1, 1, 0]]) == 1.0
    assert math.isnan(recall(scores, [[0, 0, 0]]))


def test_ties_count_by_chance() -> None:
    assert recall([[1.0, 1.0, 1.0, 1.0]], [[1, 0, 0, 0]]) == pytest.approx(0.25)
    assert recall([[1.0, 1.0, 1.0, 1.0]], [[1, 1, 0, 0]]) == pytest.approx(0.5)
    assert recall([[1.0, 1.0, 1.0, 1.0]], [[1, 0, 0, 0]], 3) == pytest.approx(0.75)
    assert recall([[2.0, 1.0, 1.0, 0.0]], [[0, 1, 0, 0]], 2) == pytest.approx(0.5)


def test_recall_is_the_mean_of_both_ways() -> None:
    found = recalls(torch.tensor([[0.9, 0.1], [0.8, 0.7]]), torch.eye(2))
    assert (found["image_to_text_1"], found["text_to_image_1"]) == (0.5, 1.0)
    assert found["recall"] == 0.75


def test_attribute_accuracy_by_hand() -> None:
    own, owner = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([0, 0, 1])
    each, every = attribute_accuracy(own, torch.tensor([0.4, 0.6, 0.5]), owner)
    assert each == pytest.approx(0.5)  # beaten, lost, a tie
    assert every == 0.0
    each, every = attribute_accuracy(own, torch.tensor([0.4, 0.3, 0.9]), owner)
    assert (each, every) == (pytest.approx(2 / 3), 0.5)  # the third caption had no swap
    assert math.isnan(attribute_accuracy(own, torch.zeros(0), torch.zeros(0).long())[0])


def test_area_under_curve_by_hand() -> None:
    truth = torch.tensor([True, True, False, False])
    assert area_under_curve(torch.tensor([0.9, 0.4, 0.5, 0.1]), truth) == 0.75
    assert area_under_curve(torch.tensor([0.5, 0.5, 0.5, 0.1]), truth) == 0.75
    assert math.isnan(area_under_curve(torch.ones(4), truth | True))


def test_early_stopping_with_scripted_recalls() -> None:
    stop = EarlyStop(2)
    better = [stop.look(step, value) for step, value in enumerate([0.2, 0.5, 0.5, math.nan])]
    assert better == [True, True, False, False]
    assert stop.over
    assert (stop.best, stop.best_step) == (0.5, 1)
    other = EarlyStop(2)
    other.restore(stop.state())
    assert other.over
    assert other.look(9, 0.6)
    assert not other.over
    forever = EarlyStop(0)
    assert [forever.look(n, 0.0) for n in range(9)] == [True] + 8 * [False]
    assert not forever.over


def test_the_ends_of_the_line_are_the_two_models() -> None:
    start = {"w": torch.tensor([0.1, 0.2]), "n": torch.tensor(3)}
    end = {"w": torch.tensor([0.7, 1.3]), "n": torch.tensor(4)}
    assert torch.equal(mix(start, end, 0.0)["w"], start["w"])
    assert torch.equal(mix(start, end, 1.0)["w"], end["w"])
    assert mix(start, end, 0.25)["w"].tolist() == pytest.approx([0.25, 0.475])
    assert alphas(4, "auto") == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert alphas(1, 0.3) == [0.0, 0.3, 1.0]


def test_the_smaller_share_of_equals_is_kept() -> None:
    table = [Mixed(a, {"recall": r}) for a, r in ((0.0, 0.1), (0.5, 0.9), (1.0, 0.9))]
    assert choose(table, "auto").alpha == 0.5
    assert choose(table, 0.0).alpha == 0.0
