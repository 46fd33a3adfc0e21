"""Swapped attributes, and when two texts are the same."""

from __future__ import annotations

import pytest

from train.clip.attributes import CHINESE_GROUPS, GROUPS, Swapper
from train.clip.wording import label_texts, text_key


@pytest.mark.parametrize(
    ("text", "contains", "lacks"),
    [
        ("a red dog", "a green dog", "a crimson dog"),
        ("a red dog", "an orange dog", "a orange dog"),
        ("An orange dog", "A red dog", "An red dog"),
        ("two large crosses", "three large crosses", "two big crosses"),
        ("two large crosses", "two large stars", "two large star"),
        ("a light blue car", "a red car", "a light red car"),
        ("a navy bar", "a red bar", "a blue bar"),
        ("the lamp on the left", "the lamp on the right", "the lamp on the left"),
        ("红色的大狗", "绿色的大狗", "红色的大狗"),
        ("红色的大狗", "红色的小狗", "红色的大大的狗"),
        ("深蓝色圆环", "橙色圆环", "深橙色圆环"),
        ("紅色圓環", "藍色圓環", "蓝色圓環"),
        ("三个微小的紫色十字", "三个巨大的紫色十字", "三个小的紫色十字"),
    ],
)
def test_one_word_is_swapped(text: str, contains: str, lacks: str) -> None:
    found = Swapper().swaps(text)
    assert contains in found
    assert lacks not in found
    assert text not in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize("text", ["a dog", "狗", "大学", "小心", "大家的学校", "credit", "细胞"])
def test_nothing_to_swap(text: str) -> None:
    assert Swapper().swaps(text) == []


def test_only_words_of_the_data_set_are_swapped_in() -> None:
    swapper = Swapper(["a red dog", "a lime dog", "a tiny dog", "橙色的狗", "紫色的狗"])
    assert swapper.swaps("a red dog") == ["a lime dog"]
    assert swapper.swaps("橙色的狗") == ["紫色的狗"]
    # Nothing else of the group was seen: then any other word will do.
    assert swapper.swaps("a tiny dog") == ["a medium-sized dog", "a large dog"]


def test_no_word_is_in_two_families() -> None:
    for groups in (GROUPS, CHINESE_GROUPS):
        words = [w for families in groups.values() for family in families for w in family]
        assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A red  dog.", "the red dog"),
        ("ＲＥＤ dog", "red dog"),
        ("a dog on an island", "dog on island"),
        ("红色的狗。", "红色的狗"),
    ],
)
def test_same_text(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("红色", "紅色"), ("red dog", "red dogs"), ("a", ""), ("than", "an")]
)
def test_other_text(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


def test_labels_become_texts() -> None:
    assert label_texts("red blood cell") == ("red blood cell", "a photo of red blood cell")
    assert label_texts("红细胞") == ("红细胞",)
