from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from engines.errors import ModelError
from engines.scoring import (
    Rivals,
    calibrate,
    mix,
    outdone,
    pool,
    semantic_multiplier,
    sigmoid_bias,
    weigh,
)

SCALE = torch.tensor(40.0)


@pytest.fixture
def vectors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((4, 5, 16), (3, 16), (6, 16))
    seen, asked, against = (F.normalize(torch.randn(*shape), dim=-1) for shape in shapes)
    return seen, asked, against


def test_each_text_has_its_own_softmax_against_the_negatives(
    vectors: tuple[torch.Tensor, ...],
) -> None:
    seen, asked, against = vectors
    found = weigh(seen, asked, against, SCALE)
    for text in range(3):
        # The plain reference: one row of logits, the text first, through softmax.
        logits = SCALE * (seen @ torch.cat([asked[text : text + 1], against]).T)
        assert torch.allclose(found.own[..., text], logits.softmax(-1)[..., 0], atol=1e-6)
    alone = weigh(seen, asked[:1], against, SCALE)
    assert torch.allclose(alone.own[..., 0], found.own[..., 0]), "other texts do not matter"


def test_the_joint_softmax_adds_up_to_one(vectors: tuple[torch.Tensor, ...]) -> None:
    seen, asked, against = vectors
    found = weigh(seen, asked, against, SCALE)
    logits = SCALE * (seen @ torch.cat([asked, against]).T)
    joint = torch.cat([found.p_pos, found.p_neg], -1)
    assert torch.allclose(joint, logits.softmax(-1), atol=1e-6)
    assert torch.allclose(found.p_pos_sum + found.p_neg_sum, torch.ones(4, 5), atol=1e-6)
    assert found.p_neg.shape == (4, 5, 6)


def test_the_sigmoid_takes_scale_and_bias(vectors: tuple[torch.Tensor, ...]) -> None:
    seen, asked, against = vectors
    found = weigh(seen, asked, against, SCALE, bias=-10.0)
    expected = 1 / (1 + torch.exp(-(SCALE * (seen @ asked.T) - 10.0)))
    assert torch.allclose(found.probability("sigmoid"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        (0.71, 0.19, 2.0),
        (0.71, 0.2, 1.0),
        (0.7, 0.1, 1.0),
        (0.41, 0.59, 1.0),
        (0.4, 0.5, 0.5),
        (0.1, 0.2, 0.5),
        (0.4, 0.51, 0.1),
        (0.0, 1.0, 0.1),
    ],
)
def test_the_multiplier_goes_by_steps(positive: float, negative: float, expected: float) -> None:
    sums = torch.tensor([positive]), torch.tensor([negative])
    assert semantic_multiplier(*sums).item() == pytest.approx(expected)


def test_the_multiplier_raises_and_lowers_a_score_and_keeps_it_a_probability() -> None:
    asked, against = torch.eye(3)[:1], torch.eye(3)[1:2]
    seen = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [0.7, 0.714, 0.0]])
    found = weigh(seen, asked, against, torch.tensor(10.0))
    assert found.multiplier.tolist() == pytest.approx([2.0, 0.1, 1.0])
    own, scored = found.probability("softmax")[:, 0], found.probability("multiplier")[:, 0]
    assert scored.tolist() == pytest.approx([1.0, 0.1 * float(own[1]), float(own[2])])


def test_pooling_and_mixing_are_weighted_means(vectors: tuple[torch.Tensor, ...]) -> None:
    found = weigh(*vectors, SCALE)
    inside = torch.zeros(2, 4, 5)
    inside[0, 1, 2] = 1.0
    inside[1, 0, :2] = 0.5
    pooled = pool(found, inside)
    assert torch.allclose(pooled.own[0], found.own[1, 2])
    assert torch.allclose(pooled.p_neg[1], found.p_neg[0, :2].mean(0))
    first, second = (pooled.map(lambda part, i=i: part[i]) for i in range(2))
    assert torch.allclose(mix(first, second, 0.25).own, 0.75 * first.own + 0.25 * second.own)


def test_a_text_is_outdone_by_its_own_rivals_only() -> None:
    asked, against = torch.eye(4)[:2], torch.eye(4)[3:]
    vectors = torch.eye(4)[2:3].repeat(2, 1)
    seen = torch.tensor([[0.6, 0.0, 0.8, 0.0], [0.8, 0.0, 0.6, 0.0]])
    # Both are certain beside the negative, as far as numbers go; the rival is told all the same.
    assert (weigh(seen, asked, against, 100 * SCALE).own[:, 0] == 1.0).all()
    for scale in (SCALE, 100 * SCALE):
        found = weigh(seen, asked, against, scale, rivals=Rivals(vectors, (0, 0)))
        assert found.rivals.shape == (2, 2)
        assert outdone(found, (0, 0)).tolist() == [[True, False], [False, False]]
        found = weigh(seen, asked, against, scale, rivals=Rivals(vectors, (0, 1)))
        assert outdone(found, (0, 1)).tolist() == [[True, True], [False, True]]


def test_without_rivals_nothing_is_outdone(vectors: tuple[torch.Tensor, ...]) -> None:
    found = weigh(*vectors, SCALE)
    assert found.rivals.shape == (4, 5, 0)
    assert not outdone(found, ()).any()


def test_a_sigmoid_needs_a_bias() -> None:
    clip, siglip = SimpleNamespace(), SimpleNamespace(logit_bias=torch.tensor([-12.0]))
    assert sigmoid_bias(siglip, "sigmoid", None) == -12.0
    assert sigmoid_bias(siglip, "sigmoid", -3.0) == -3.0
    assert sigmoid_bias(clip, "softmax", None) == 0.0
    with pytest.raises(ModelError, match="needs a logit_bias"):
        sigmoid_bias(clip, "sigmoid", None)


def test_an_unknown_reading_is_said(vectors: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(ModelError, match="'best' is unknown; accepted are softmax, multiplier"):
        weigh(*vectors, SCALE).probability("best")


def test_calibration_moves_the_logit() -> None:
    raw = torch.tensor([0.2, 0.5, 0.9])
    assert torch.allclose(calibrate(raw, (1.0, 0.0)), raw, atol=1e-4)
    assert torch.allclose(torch.logit(calibrate(raw, (2.0, -1.0))), 2 * torch.logit(raw) - 1)
