"""Losses against hand-worked cases; the gradient in parts is that of the whole batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from train.clip.gradcache import cached_backward
from train.clip.losses import contrastive_loss, dense_loss, spread_cross_entropy

E = torch.eye(3)
NO_SWAPS = torch.zeros(0, 3)


def loss_of(relation: list[list[int]], images: Tensor, texts: Tensor) -> tuple[float, float]:
    table = torch.tensor(relation)
    none = torch.zeros(len(table), 0, dtype=torch.bool)
    found = contrastive_loss(images, texts, NO_SWAPS, torch.tensor(2.0), table, none)
    return float(found[0]), float(found[1])


def test_two_pairs_by_hand() -> None:
    # Cosines 1 on the diagonal, 0 beside it, scale 2: log(1 + e^-2) both ways.
    to_text, to_image = loss_of([[1, 0], [0, 1]], E[:2], 3 * E[:2])
    assert to_text == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)
    assert to_image == pytest.approx(to_text, abs=1e-6)


def test_several_right_answers_share_the_target() -> None:
    # Both pictures are the first text's: each has logits (2, 0); the text's row has (2, 2).
    to_text, to_image = loss_of([[1, 0], [1, 1]], torch.stack([E[0], E[0]]), E[:2])
    first = math.log(1 + math.exp(-2))
    second = ((first) + (2 + first)) / 2
    assert to_text == pytest.approx((first + second) / 2, abs=1e-6)
    # Text 0: two equal right pictures, log 2. Text 1 (orthogonal): picture 1 is right, log 2.
    assert to_image == pytest.approx(math.log(2), abs=1e-6)


def test_what_is_unsure_does_not_count() -> None:
    images, texts = torch.stack([E[0], E[1]]), torch.stack([E[0], E[1], E[0]])
    two = loss_of([[1, 0], [0, 1]], images, texts[:2])
    # The third text looks just like the first picture's own; as a negative it would cost log 2.
    unsure = loss_of([[1, 0, -1], [0, 1, -1]], images, texts)
    denied = loss_of([[1, 0, 0], [0, 1, 0]], images, texts)
    assert unsure == pytest.approx(two, abs=1e-6)
    assert denied[0] > two[0] + 0.2


def test_a_swap_stands_on_the_pictures_side_only() -> None:
    relation = torch.eye(2, dtype=torch.int8)
    args = (E[:2], E[:2], E[:1], torch.tensor(2.0), relation)
    told = contrastive_loss(*args, torch.tensor([[True], [False]]))
    spared = contrastive_loss(*args, torch.tensor([[False], [False]]))
    assert float(told[1]) == float(spared[1])
    # Picture 0 has logits (2, 0, 2), picture 1 (0, 2) as before.
    e = math.exp(2)
    expected = (math.log((2 * e + 1) / e) + math.log(1 + 1 / e)) / 2
    assert float(told[0]) == pytest.approx(expected, abs=1e-6)


def test_rows_without_an_answer_are_left_out() -> None:
    logits = torch.tensor([[0.0, 0.0], [5.0, 1.0]])
    right = torch.tensor([[True, False], [False, False]])
    known = torch.ones(2, 2, dtype=torch.bool)
    assert float(spread_cross_entropy(logits, right, known)) == pytest.approx(math.log(2))
    assert float(spread_cross_entropy(logits, right & False, known)) == 0.0


def test_dense_loss_by_hand() -> None:
    # Scale 2, one negative along z. A patch of label 0 (x), one of background (z), one unknown.
    patches, targets = torch.stack([E[0], E[2], E[1]]), torch.tensor([1, 0, -1])
    found = dense_loss(patches, targets, E[:2], E[2:], torch.tensor(2.0))
    own = math.log1p(math.exp(-2))  # evidence 2 - 0
    other = math.log(2)  # evidence 0 - 0
    ground = math.log1p(math.exp(-2))  # evidence 0 - 2, twice
    assert float(found) == pytest.approx((2 * own + other + ground) / 4, abs=1e-6)
    nothing = dense_loss(patches, torch.tensor([-1, -1, -1]), E[:2], E[2:], torch.tensor(2.0))
    assert float(nothing) == 0.0


class Seeds:
    """A context that makes random choices alike for the same name and part."""

    def __init__(self, name: str, part: int) -> None:
        self.seed, self.fork = len(name) * 100 + part, torch.random.fork_rng(devices=[])

    def __enter__(self) -> None:
        self.fork.__enter__()
        torch.manual_seed(self.seed)

    def __exit__(self, *error: object) -> None:
        self.fork.__exit__(None, None, None)


def test_dropout_is_alike_in_both_goes() -> None:
    layer = torch.nn.Linear(4, 3, bias=False)
    drop = torch.nn.Dropout(0.5)
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def loss(found: dict[str, Tensor]) -> Tensor:
        return (found["x"] ** 3).sum()

    parts = [lambda i=i: layer(drop(x[2 * i : 2 * i + 2])) for i in range(3)]
    cached_backward({"x": parts}, loss, Seeds)
    cached = layer.weight.grad.clone()
    layer.weight.grad = None
    joined = []
    for i, part in enumerate(parts):
        with Seeds("x", i):
            joined.append(part())
    loss({"x": torch.cat(joined)}).backward()
    assert torch.allclose(layer.weight.grad, cached, atol=1e-6)
