from __future__ import annotations

import pytest
import torch

from engines.proposals import (
    grid_points,
    overlaps,
    peaks,
    regions,
    sample,
    stability,
    suppress,
)


def test_peaks_come_highest_first_and_a_plateau_gives_one() -> None:
    heat = torch.zeros(8, 8)
    heat[1, 2], heat[5, 6], heat[5, 5] = 0.6, 0.9, 0.9
    assert peaks(heat, 0.35).tolist() == [[5, 5], [1, 2]]
    assert peaks(heat, 0.95).tolist() == []


def test_grid_points_lie_in_warm_regions_only() -> None:
    heat = torch.zeros(8, 8)
    heat[:, 4:] = 0.8
    points = grid_points(heat, 4, 0.5)
    assert len(points) == 8
    assert (points[:, 0] > 0.5).all()


def test_sample_reads_patch_centres_exactly() -> None:
    heat = torch.arange(12.0).view(3, 4)
    at = torch.tensor([[(2 + 0.5) / 4, (1 + 0.5) / 3]])
    assert sample(heat, at).item() == pytest.approx(6.0)


def test_stability_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -3.0]], [[-5.0, -5.0], [-5.0, -5.0]]])
    assert stability(logits).tolist() == pytest.approx([1 / 3, 0.0])


def test_suppress_keeps_the_better_of_a_part_and_its_whole() -> None:
    masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    masks[0, :4, :4] = True  # a cell
    masks[1, :4, 4:] = True  # its neighbour
    masks[2, :4, :] = True  # both as one
    masks[3, :4, :4] = True  # the cell again
    assert suppress(masks, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.5, 0.8) == [0, 1]
    assert suppress(masks, torch.tensor([0.5, 0.5, 0.9, 0.6]), 0.5, 0.8) == [2]


def test_empty_masks_overlap_nothing() -> None:
    empty = torch.zeros(1, 4, 4, dtype=torch.bool)
    iou, contained = overlaps(empty, empty)
    assert iou.item() == contained.item() == 0.0


def test_regions_have_tight_boxes_and_a_point_inside() -> None:
    heat = torch.zeros(8, 10)
    heat[1:4, 2:5] = 0.8
    heat[6, 7:10] = 0.9
    heat[5, 6] = 0.9  # touches by a corner
    points, boxes = regions(heat, 0.5)
    assert boxes.mul(torch.tensor([10, 8, 10, 8])).round().tolist() == [[6, 5, 10, 7], [2, 1, 5, 4]]
    assert points.mul(torch.tensor([10, 8]))[1].tolist() == pytest.approx([3.5, 2.5])
    x, y = points[0].tolist()
    assert heat[int(y * 8), int(x * 10)] > 0.5, "the point lies in the region and not in its hole"


def test_a_cold_map_has_no_regions() -> None:
    points, boxes = regions(torch.zeros(4, 4), 0.5)
    assert points.shape == (0, 2)
    assert boxes.shape == (0, 4)
