"""Patches around objects: their own pixels, or nearly, and whose is whose."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.train.micro.microscenes import discs
from train.micro.data import Still
from train.micro.patches import LONGEST_PX, PLAIN, Patch, patches_of, stretched


def drawn(still: Still, count: int = 60) -> list[Patch]:
    rng = np.random.default_rng(1)
    return [one for _ in range(count) for one in patches_of(still, 4, rng)]


def test_each_object_comes_once() -> None:
    rng = np.random.default_rng(0)
    assert len(patches_of(discs(), 9, rng)) == 4
    assert len(patches_of(discs(), 3, rng)) == 3


def test_what_is_the_objects_and_what_is_anothers_do_not_overlap() -> None:
    for patch in drawn(discs()):
        assert patch.own.any()
        assert not (patch.own & patch.other).any()
        assert patch.colours.shape == (3, *patch.own.shape)
        assert 0.0 <= float(patch.colours.min()) <= float(patch.colours.max()) <= 1.0


def test_most_have_the_very_pixels_of_the_picture() -> None:
    """A disc of 25 px keeps its pixels unless it is turned or scaled."""
    still = discs()
    area = int((still.ids == 1).sum())
    same = [int(patch.own.sum()) == area for patch in drawn(still)]
    assert np.mean(same) == pytest.approx(PLAIN, abs=0.1)


def test_the_picture_lies_under_the_mask() -> None:
    """Bright discs stay apart from the dark, whatever is done to them."""
    apart = []
    for patch in drawn(discs()):
        grey = patch.colours.mean(dim=0)
        apart.append(float((grey[patch.own].mean() - grey[~patch.own & ~patch.other].mean()).abs()))
    assert np.quantile(apart, 0.05) > 0.1


def test_a_picture_in_the_lowest_tenth_of_its_range_is_not_drowned() -> None:
    still = discs()
    dim = Still(still.name, (still.image // 10).astype(np.uint8), still.ids, still.kind)
    clear = []
    for patch in drawn(dim):
        grey = patch.colours.mean(dim=0)
        ground = grey[~patch.own & ~patch.other]
        clear.append(float((grey[patch.own].mean() - ground.mean()).abs() / ground.std()))
    assert np.quantile(clear, 0.05) > 4


def test_stretched_is_all_of_the_range_and_nothing_of_what_is_flat() -> None:
    image = torch.tensor([[[0.01, 0.03, 0.05]]]).expand(3, 1, 3)
    assert torch.allclose(stretched(image)[0, 0], torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(stretched(torch.full((3, 2, 2), 0.4)), torch.zeros(3, 2, 2))


def test_large_objects_are_shown_smaller() -> None:
    ids = np.zeros((300, 300), np.uint16)
    ids[40:260, 60:240] = 1
    still = Still("large", np.full((300, 300, 3), 90, np.uint8), ids, "gray_dark")
    for patch in drawn(still, 12):
        box = patch.box()
        assert max(box[2:] - box[:2]) <= 1.6 * LONGEST_PX


def test_objects_of_a_few_pixels_are_left_out() -> None:
    ids = np.zeros((40, 40), np.uint16)
    ids[4:8, 4:8] = 1
    still = Still("small", np.zeros((40, 40, 3), np.uint8), ids, "gray_dark")
    assert patches_of(still, 4, np.random.default_rng(0)) == []


def test_a_box_is_tight() -> None:
    own = torch.zeros(20, 30, dtype=torch.bool)
    own[3:9, 5:17] = True
    assert Patch(torch.zeros(3, 20, 30), own, ~own).box().tolist() == [5.0, 3.0, 17.0, 9.0]
