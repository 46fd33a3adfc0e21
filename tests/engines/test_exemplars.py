"""What is learnt from one object: made-up patches whose kinds are known directions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engines.errors import ModelError
from engines.exemplars import MOST_EXEMPLARS, RIVALS, SURE, Exemplar, ExemplarBook, learn

WIDTH = 16
# As CLIP has it: all images have much in common, kinds differ in the rest.
COMMON = F.one_hot(torch.tensor(0), WIDTH).float()


def kind(number: int, common: float = 1.5) -> torch.Tensor:
    return F.normalize(common * COMMON + F.one_hot(torch.tensor(number), WIDTH).float(), dim=0)


GROUND, RED, BLUE = kind(1), kind(2), kind(3)
# Red and blue are both bright: what sets them apart from the ground they have in common.
BRIGHT = F.one_hot(torch.tensor(4), WIDTH).float()
RED, BLUE = F.normalize(RED + BRIGHT, dim=0), F.normalize(BLUE + BRIGHT, dim=0)


def scene() -> torch.Tensor:
    """(12, 12, D): ground with two red squares and a blue one, slightly noisy."""
    vectors = GROUND.expand(12, 12, -1).clone()
    vectors[1:4, 1:4] = RED
    vectors[7:10, 1:4] = RED
    vectors[1:4, 7:10] = BLUE
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
    return F.normalize(vectors + 0.01 * noise, dim=-1)


def over(rows: slice, columns: slice) -> torch.Tensor:
    cover = torch.zeros(12, 12)
    cover[rows, columns] = 1.0
    return cover


FIRST = over(slice(1, 4), slice(1, 4))


def test_the_shown_vector_is_sure_and_what_it_is_weighed_against_is_not() -> None:
    known = learn(scene(), FIRST)
    assert float(known.heat(known.like)) == pytest.approx(SURE, abs=1e-4)
    assert float(known.heat(known.unlike[0])) <= 1 - SURE + 1e-4
    assert known.heat(known.unlike).amax() <= 1 - SURE + 1e-4
    assert 1 < len(known.unlike) <= 1 + RIVALS


def test_its_kind_is_warm_and_another_kind_is_cold() -> None:
    heat = learn(scene(), FIRST).heat(scene())
    assert heat.shape == (12, 12)
    assert heat[7:10, 1:4].min() > 0.8, "the other red one was not taken for what it is not"
    assert heat[1:4, 7:10].max() < 0.2, "blue is as far from the ground as red is"
    assert heat[5, 5] < 0.1


def test_without_rivals_another_bright_thing_would_pass() -> None:
    known = learn(scene(), FIRST)
    alone = Exemplar(known.like, known.unlike[:1])
    assert alone.heat(scene())[1:4, 7:10].max() > 0.5


def test_an_object_of_one_patch_can_be_learnt() -> None:
    known = learn(scene(), over(slice(2, 3), slice(2, 3)))
    assert known.heat(scene())[8, 2] > 0.8


def test_what_cannot_be_told_from_the_rest_is_refused() -> None:
    with pytest.raises(ModelError, match="fills the frame"):
        learn(scene(), torch.ones(12, 12))
    with pytest.raises(ModelError, match="looks like everything around it"):
        learn(GROUND.expand(12, 12, -1).clone(), FIRST)


def test_shown_again_it_is_the_mean_weighted_by_showings() -> None:
    a = Exemplar(RED, torch.stack([GROUND]), times=2)
    other = F.normalize(RED + 0.2 * BRIGHT, dim=0)
    joined = a.joined(Exemplar(other, torch.stack([GROUND, BLUE])))
    assert joined.times == 3
    assert torch.allclose(joined.like, F.normalize(2 * RED + other, dim=0), atol=1e-6)
    assert torch.allclose(joined.unlike, torch.stack([GROUND, BLUE]), atol=1e-6)


def test_a_rival_that_turns_out_to_be_its_kind_is_dropped() -> None:
    near = F.normalize(RED + 0.05 * BRIGHT, dim=0)
    old = Exemplar(RED, torch.stack([GROUND, BLUE]))
    joined = old.joined(Exemplar(RED, torch.stack([GROUND, near])))
    assert len(joined.unlike) == 2
    assert torch.allclose(joined.unlike[1], BLUE)


def test_something_else_under_the_same_label_takes_its_place() -> None:
    old = Exemplar(RED, torch.stack([GROUND, BLUE]))
    newer = Exemplar(BLUE, torch.stack([GROUND, RED]))
    assert old.joined(newer) is newer


def test_a_book_joins_finds_and_forgets_the_one_unused_for_longest() -> None:
    book, item = ExemplarBook(most=3), Exemplar(RED, torch.stack([GROUND]))
    for label in "abc":
        book.add(label, item)
    assert list(book.find(["a", "z"])) == ["a"], "and 'z' was never shown"
    book.add("a", item)
    assert book.find(["a"])["a"].times == 2
    book.add("d", item)
    assert book.labels == ("c", "a", "d"), "'b' was neither shown nor asked for lately"
    book.forget("c")
    book.forget("c")
    assert book.labels == ("a", "d")
    full = ExemplarBook()
    for number in range(MOST_EXEMPLARS + 5):
        full.add(str(number), item)
    assert len(full.labels) == MOST_EXEMPLARS
