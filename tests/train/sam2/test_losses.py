"""The losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from train.sam2.losses import (
    LossOptions,
    Truth,
    decode_losses,
    dice_loss,
    pixel_loss,
    score_loss,
    true_iou,
    truth_of,
)

FOCAL, BCE = LossOptions("focal"), LossOptions("bce", foreground_weight=3.0)


def logit(chance: float) -> float:
    return math.log(chance / (1 - chance))


def truth(rows: list[list[float]], valid: list[list[float]] | None = None) -> Truth:
    masks = torch.tensor([rows], dtype=torch.float32)
    known = torch.ones_like(masks) if valid is None else torch.tensor([valid]).float()
    return Truth(masks, known, masks.flatten(1).any(1))


# An object pixel at chance 0.8 and a ground pixel at chance 0.4, each to be made of its own loss.
LOGITS = torch.tensor([[[[logit(0.8), logit(0.4)]]]])
ONE, NOTHING = -math.log(0.8), -math.log(0.6)


def test_focal_by_hand() -> None:
    wanted = (0.25 * 0.2**2 * ONE + 0.75 * 0.4**2 * NOTHING) / 2
    assert float(pixel_loss(LOGITS, truth([[1, 0]]), FOCAL)) == pytest.approx(wanted)


def test_weighted_cross_entropy_by_hand() -> None:
    wanted = (3 * ONE + NOTHING) / (3 + 1)
    assert float(pixel_loss(LOGITS, truth([[1, 0]]), BCE)) == pytest.approx(wanted)


def test_dice_by_hand() -> None:
    wanted = 1 - (2 * 0.8 + 1) / (0.8 + 0.4 + 1 + 1)
    assert float(dice_loss(LOGITS, truth([[1, 0]]))) == pytest.approx(wanted)


def test_iou_by_hand() -> None:
    logits = torch.tensor([[[[1.0, 1.0, -1.0, -1.0]], [[1.0, -1.0, -1.0, -1.0]]]])
    assert true_iou(logits, truth([[1, 0, 1, 0]])).tolist() == [[pytest.approx(1 / 3), 0.5]]


def test_score_by_hand() -> None:
    scores = torch.tensor([[logit(0.9)], [logit(0.2)]])
    wanted = -math.log(0.9) - math.log(0.8)
    assert float(score_loss(scores, torch.tensor([True, False]))) == pytest.approx(wanted)


@pytest.mark.parametrize("options", [FOCAL, BCE])
def test_ignored_pixels_count_for_nothing(options: LossOptions) -> None:
    wild = torch.cat([LOGITS, torch.full_like(LOGITS, 30.0)], dim=-1).requires_grad_()
    known = truth([[1, 0]])
    part = truth([[1, 0, 0, 0]], [[1, 1, 0, 0]])
    assert float(pixel_loss(wild, part, options).detach()) == pytest.approx(
        float(pixel_loss(LOGITS, known, options))
    )
    assert float(dice_loss(wild, part).detach()) == pytest.approx(float(dice_loss(LOGITS, known)))
    assert torch.equal(true_iou(wild, part), true_iou(LOGITS, known))
    (pixel_loss(wild, part, options) + dice_loss(wild, part)).sum().backward()
    assert wild.grad is not None
    assert not wild.grad[..., 2:].any()
    assert wild.grad[..., :2].all()


def test_targets_are_covered_shares_of_what_is_known() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, :2, :2] = True
    valid = torch.ones_like(masks)
    valid[0, 0, 1:] = False
    found = truth_of(masks, valid, 2)
    assert found.masks[0].tolist() == [[pytest.approx(1.0), 0.0], [0.0, 0.0]]
    assert found.valid[0].tolist() == [[0.75, 0.5], [1.0, 1.0]]
    assert found.present.tolist() == [True]
    nothing = truth_of(masks, ~masks, 1)
    assert nothing.present.tolist() == [False]


def candidates(*chances: tuple[float, float]) -> Tensor:
    return torch.tensor([[[[logit(a), logit(b)]] for a, b in chances]], requires_grad=True)


def test_only_the_best_candidate_learns_the_mask() -> None:
    logits = candidates((0.3, 0.6), (0.8, 0.1), (0.6, 0.6))
    iou = torch.tensor([[0.9, 0.4, 0.1]], requires_grad=True)
    score = torch.zeros(1, 1, requires_grad=True)
    parts, chosen = decode_losses(logits, iou, score, truth([[1, 0]]), FOCAL)
    values = parts.detach()
    best = pixel_loss(logits[:, 1:2], truth([[1, 0]]), FOCAL).detach()
    assert float(values[0]) == pytest.approx(20 * float(best))
    assert float(values[1]) == pytest.approx(
        float(dice_loss(logits[:, 1:2], truth([[1, 0]])).detach())
    )
    # All candidates' IoUs count: 0, 1 and 1/2 are the true ones.
    assert float(values[2]) == pytest.approx((0.9 + 0.6 + 0.4) / 3)
    assert float(values[3]) == pytest.approx(math.log(2))
    assert chosen.tolist() == [0.0]
    parts.sum().backward()
    assert logits.grad is not None
    assert iou.grad is not None
    assert logits.grad[0, 1].all()
    assert not logits.grad[0, [0, 2]].any()
    assert iou.grad.all()


def test_what_is_not_there_has_a_score_only() -> None:
    logits = candidates((0.7, 0.7))
    iou, score = torch.tensor([[0.5]]), torch.tensor([[logit(0.3)]])
    parts, _ = decode_losses(logits, iou, score, truth([[0, 0]]), FOCAL)
    assert parts.tolist() == [0.0, 0.0, 0.0, pytest.approx(-math.log(0.7))]


def test_a_shut_gate_does_not_stop_the_mask_from_learning() -> None:
    logits, score = candidates((0.4, 0.4)), torch.tensor([[-8.0]])
    parts, _ = decode_losses(logits, torch.tensor([[0.5]]), score, truth([[1, 0]]), FOCAL)
    parts[:2].sum().backward()
    assert logits.grad is not None
    assert logits.grad.all()
