"""What a text could have said instead."""

from __future__ import annotations

import itertools

import pytest

from engines.contrasts import micro_contrasts
from train.micro.words import COLOURS, SHAPES


def test_colour_and_shape_are_swapped_one_at_a_time() -> None:
    assert micro_contrasts("a small red circle") == (
        *(f"a small {colour} circle" for colour in ("green", "blue", "yellow", "white", "black")),
        *(f"a small red {shape}" for shape in ("square", "triangle", "star")),
    )


@pytest.mark.parametrize("text", ["Red Circles", "RED circles"])
def test_letters_may_be_large_and_shapes_many(text: str) -> None:
    found = micro_contrasts(text)
    assert "green circles" in [other.lower() for other in found]
    assert f"{text.split()[0]} square" in found


@pytest.mark.parametrize(
    "text",
    [
        "cell nucleus",
        "red blood cell",
        "红细胞",
        "a big red dog",
        "紅色的大狗",
        "starfish",
        "绿色的变形虫",
        "红色的圆形细胞",
        "",
    ],
)
def test_other_texts_are_left_alone(text: str) -> None:
    assert micro_contrasts(text) == ()


def test_the_longest_spelling_is_swapped() -> None:
    found = micro_contrasts("红色的正方形")
    assert "红色的圆形" in found
    assert "红色的正圆形" not in found


def test_a_shape_without_a_name_keeps_its_colour_s_rivals() -> None:
    assert micro_contrasts("a red shape")[0] == "a green shape"
    assert len(micro_contrasts("a red shape")) == 5


@pytest.mark.parametrize(("colour", "shape"), [*itertools.product(COLOURS, SHAPES)])
def test_all_that_micro_was_taught_has_rivals(colour: str, shape: str) -> None:
    english = micro_contrasts(f"a {colour} {shape}")
    assert len(english) == len(COLOURS) + len(SHAPES) - 2
    assert f"a {colour} {shape}" not in english
    for word, form in itertools.product(COLOURS[colour], SHAPES[shape]):
        found = micro_contrasts(word + form)
        assert len(found) >= len(english)
        spelt = {a + b for a in COLOURS[colour] for b in SHAPES[shape]}
        assert not spelt & set(found), "a rival says the same"
