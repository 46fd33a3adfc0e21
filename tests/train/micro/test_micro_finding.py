"""What the finder learns: goals of instance ids, and that a few steps lead towards them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.finder import Finder, spots_of
from tests.train.micro.microscenes import discs
from train.micro.finding import UNKNOWN, finding_loss, goal_of
from train.micro.pool import Pool, shapes_still
from train.micro.recipe import Segmenter
from train.micro.sam2 import SegmenterTrainer
from train.micro.segmenter import Features
from train.micro.trainer import Schedule
from train.ranks import Ranks


def ids_of(*boxes: tuple[int, int, int, int], side: int = 64) -> np.ndarray:
    ids = np.zeros((1, side, side), np.int32)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 5):
        ids[0, y0:y1, x0:x1] = number
    return ids


def test_each_object_has_one_centre_and_its_own_box() -> None:
    boxes = [(4, 8, 28, 20), (28, 8, 40, 20)]
    ids = ids_of(*boxes)
    goal = goal_of(ids)
    assert int((goal.heat == 1.0).sum()) == 2
    spots = spots_of(goal.heat[0], goal.sides[0], threshold=0.999, most=9)
    found = sorted((spots.boxes * 64).round().int().tolist())
    assert found == [list(box) for box in boxes]


def test_neighbours_that_touch_share_no_hill() -> None:
    goal = goal_of(ids_of((8, 8, 32, 32), (32, 8, 56, 32)))
    edge = goal.heat[0][2:8, 7:9]
    middle = goal.heat[0].max()
    assert float(edge.max()) < float(middle)
    left, right = goal.sides[0][:, 4, 7], goal.sides[0][:, 4, 8]
    assert left[2] <= 2.5, "each cell tells of its own object"
    assert right[0] <= 2.5


def test_what_is_too_small_is_not_asked_for() -> None:
    goal = goal_of(ids_of((10, 10, 14, 14), (30, 30, 50, 50)))
    assert int((goal.heat == 1.0).sum()) == 1
    assert int((goal.heat == UNKNOWN).sum()) >= 1


def test_an_empty_frame_asks_for_nothing() -> None:
    goal = goal_of(np.zeros((2, 32, 32), np.int32))
    assert not goal.heat.any()
    finder = Finder(4, 8, 16, 8)
    maps = Features(torch.randn(2, 16, 2, 2), [torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4)],
                    torch.zeros(1))  # fmt: skip
    centres, boxes = finding_loss(finder, maps, goal)
    assert float(boxes.detach()) == 0.0
    assert float(centres.detach()) > 0.0


def test_what_is_asked_for_is_learnt() -> None:
    torch.manual_seed(0)
    ids = ids_of((4, 8, 28, 24), (32, 36, 60, 60))
    goal = goal_of(ids)
    fine = torch.cat([torch.from_numpy(ids == n).float() for n in (5, 6)])[None, :, ::4, ::4]
    maps = Features(torch.randn(1, 16, 4, 4), [fine, torch.randn(1, 8, 8, 8)], torch.zeros(1))
    finder = Finder(2, 8, 16, 16)
    optimizer = torch.optim.Adam(finder.parameters(), lr=5e-3)
    for _ in range(150):
        centres, boxes = finding_loss(finder, maps, goal)
        optimizer.zero_grad()
        (centres + boxes).backward()
        optimizer.step()
    heat, sides = finder(maps.top, maps.high[1], maps.high[0])
    spots = spots_of(heat[0].sigmoid().detach(), sides[0].detach(), threshold=0.5, most=9)
    found = sorted((spots.boxes * 64).tolist())
    assert len(found) == 2
    assert np.abs(np.array(found) - [[4, 8, 28, 24], [32, 36, 60, 60]]).max() < 3.0


def test_shapes_are_stills() -> None:
    still = shapes_still(np.random.default_rng(0))
    assert still.image.shape == (*still.ids.shape, 3)
    assert 0 < len(np.unique(still.ids)) - 1 <= 13


def test_each_round_rises_and_falls_again() -> None:
    schedule = Schedule(100, 1.0, 10, 0.0, 0.9, restarts=(40, 70), later_rate=0.5)
    rates = [schedule.rate_at(step) for step in range(100)]
    assert rates[10] == 1.0
    for first, end in ((40, 70), (70, 100)):
        assert rates[first - 1] < 0.03
        assert rates[first] == pytest.approx(0.05)
        assert max(rates[first:end]) == pytest.approx(0.5)
        assert rates[end - 1] < 0.02


def test_the_second_round_begins_with_the_average_and_trains_the_finder() -> None:
    recipe = Segmenter(
        steps=4, stills=1, prompts=3, warmup=1, track_from=99, film_share=0.0, second_round=2
    )
    pool = Pool([discs(seed=1)], [])
    trainer = SegmenterTrainer(pool, recipe, 0, Ranks(0, 1, torch.device("cpu")))
    before = {n: p.detach().clone() for n, p in trainer.heads["finder"].named_parameters()}
    for _ in range(2):
        parts = trainer.advance(trainer.draw(trainer.step))
        assert "find_centre" not in parts
    after = dict(trainer.heads["finder"].named_parameters())
    assert all(torch.equal(before[n], after[n]) for n in before), "not touched in the first round"
    parts = trainer.advance(trainer.draw(trainer.step))
    assert parts["find_centre"] > 0
    assert not all(torch.equal(before[n], after[n]) for n in before)
    kept = trainer.kept_heads()
    assert set(kept["finder"]) == set(before)
