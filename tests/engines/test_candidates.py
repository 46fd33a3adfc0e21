"""Where the decoder is prompted and which masks stay, with a decoder that draws discs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engines.candidates import Candidates, propose, select
from engines.detection import DetectorSettings
from engines.finder import Spots

SIDE = 64
SETTINGS = DetectorSettings(peak_threshold=0.35, min_quality=0.5, min_area_px=4)


class Discs:
    """Decodes every point to a disc around it, and counts what it was asked."""

    def __init__(self, radius: float = 0.06) -> None:
        self.radius = radius
        self.points: list[torch.Tensor] = []
        self.boxed = 0

    def __call__(
        self, points: torch.Tensor, boxes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.points.append(points)
        self.boxed += 0 if boxes is None else len(boxes)
        steps = (torch.arange(SIDE) + 0.5) / SIDE
        away = (steps[None, :, None] - points[:, 1, None, None]) ** 2
        away = away + (steps[None, None, :] - points[:, 0, None, None]) ** 2
        return 10 * (self.radius - away.sqrt()), torch.full((len(points),), 0.9)


def warm_spot() -> torch.Tensor:
    heat = torch.full((16, 16), 0.05)
    heat[4, 4] = 0.9
    return heat


def test_a_warm_place_is_prompted_by_a_box_and_a_click() -> None:
    discs = Discs()
    found = propose(discs, warm_spot(), SETTINGS, everywhere=False)
    assert len(found) == 2
    assert discs.boxed == 1
    assert torch.allclose(found.points, torch.full((2, 2), 4.5 / 16))
    assert not found.blind.any()


def test_told_spots_are_boxed_and_what_is_warm_elsewhere_too() -> None:
    discs, heat = Discs(), warm_spot()
    points = torch.tensor([[0.8, 0.2], [0.7, 0.7]])
    spots = Spots(points, torch.cat([points - 0.1, points + 0.1], 1), torch.tensor([1.0, 0.25]))
    found = propose(discs, heat, SETTINGS, everywhere=False, spots=spots)
    warm = torch.full((1, 2), 4.5 / 16)
    assert torch.allclose(found.points, torch.cat([points, warm]))
    assert discs.boxed == 3
    assert found.quality.tolist() == pytest.approx([0.9, 0.45, 0.9]), "times the root of the spot"
    assert len(select(found, heat, SETTINGS, 64 * 64)) == 2, "the unsure one is not good enough"
    searched = propose(discs, heat, SETTINGS, everywhere=True, spots=spots)
    assert len(searched) == 3 + 64, "a search of the whole frame goes beside it"


def test_what_is_warm_under_a_told_object_is_not_asked_again() -> None:
    here = torch.full((1, 2), 4.5 / 16)
    spots = Spots(here, torch.cat([here - 0.1, here + 0.1], 1), torch.tensor([0.9]))
    found = propose(Discs(), warm_spot(), SETTINGS, everywhere=False, spots=spots)
    assert len(found) == 1
    unsure = Spots(here, torch.cat([here - 0.1, here + 0.1], 1), torch.tensor([0.1]))
    again = propose(Discs(), warm_spot(), SETTINGS, everywhere=False, spots=unsure)
    assert len(again) == 2, "a mask that is not good enough covers nothing"
    none = Spots(here[:0], torch.zeros(0, 4), torch.zeros(0))
    assert len(propose(Discs(), warm_spot(), SETTINGS, everywhere=False, spots=none)) == 1


def test_a_cold_frame_is_not_prompted_unless_it_is_searched() -> None:
    cold, discs = torch.full((16, 16), 0.05), Discs()
    assert len(propose(discs, cold, SETTINGS, everywhere=False)) == 0
    assert not discs.points
    found = propose(discs, cold, SETTINGS, everywhere=True)
    assert len(found) == 64
    assert found.blind.all()
    assert len(found.points.unique(dim=0)) == 64
    assert found.points.min() == pytest.approx(0.5 / 8)
    few = propose(discs, cold, replace(SETTINGS, recall_grid=3), everywhere=True)
    assert len(few) == 9


def test_the_search_is_not_cut_by_the_limit_of_warm_prompts() -> None:
    one = replace(SETTINGS, max_prompts=1, sweep_grid=8)
    assert len(propose(Discs(), torch.ones(16, 16), one, everywhere=True)) == 2 + 64


def test_duplicates_of_a_search_fall() -> None:
    heat = warm_spot()
    found = propose(Discs(0.2), heat, SETTINGS, everywhere=True)
    rows = select(found, heat, SETTINGS, SIDE * SIDE)
    masks = found.keep(rows).logits > 0
    iou = torch.tensor([[(a & b).sum() / (a | b).sum() for b in masks] for a in masks])
    assert iou.fill_diagonal_(0).max() <= SETTINGS.nms_iou
    assert rows[0] in (0, 1), "what is warm comes first"
    assert 1 < len(rows) < len(found) - 20


def test_a_blind_mask_of_the_ground_does_not_swallow_an_object() -> None:
    logits = torch.full((2, SIDE, SIDE), -5.0)
    logits[0, 16:20, 16:20] = 5.0
    logits[1, 2:60, 2:60] = 5.0
    points = torch.tensor([[0.28, 0.28], [0.8, 0.8]])
    quality = torch.tensor([0.7, 0.99])
    for blind, stays in ((True, [0]), (False, [1])):
        found = Candidates(points, logits, quality, torch.tensor([False, blind]))
        assert select(found, warm_spot(), SETTINGS, SIDE * SIDE) == stays


def test_among_blind_masks_the_warmer_stays() -> None:
    logits = torch.full((2, SIDE, SIDE), -5.0)
    logits[0, 16:20, 16:20] = 5.0
    logits[1, 2:60, 2:60] = 5.0
    found = Candidates(
        torch.tensor([[0.28, 0.28], [0.8, 0.8]]),
        logits,
        torch.tensor([0.7, 0.99]),
        torch.tensor([True, True]),
    )
    assert select(found, warm_spot(), SETTINGS, SIDE * SIDE) == [0]


def test_small_and_bad_masks_go_unless_anything_is_taken() -> None:
    logits = torch.full((3, SIDE, SIDE), -5.0)
    logits[0, :1, :3] = 5.0
    logits[1, 10:20, 10:20] = 5.0
    logits[2, 40:50, 40:50] = 5.0
    found = Candidates(
        torch.rand(3, 2), logits, torch.tensor([0.9, 0.4, 0.8]), torch.zeros(3, dtype=torch.bool)
    )
    assert select(found, warm_spot(), SETTINGS, SIDE * SIDE) == [2]
    assert select(found, warm_spot(), replace(SETTINGS, accept_best=2), SIDE * SIDE) == [0, 2]
    assert select(found.keep([1]), warm_spot(), SETTINGS, SIDE * SIDE) == []
