"""Attribute words in English and Chinese, and captions with one of them swapped.

A caption whose colour, size, material, shape, count or position is another one is a hard negative
of its picture: it shares all other words (Yuksekgonul et al. 2023, arXiv 2210.01936).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Family = tuple[str, ...]
"""Words that are so near in meaning that one does not make the other false."""

GROUPS: dict[str, tuple[Family, ...]] = {
    "colour": (
        ("red", "crimson", "scarlet", "maroon"), ("green", "lime", "olive", "mint"),
        ("blue", "navy", "light blue", "dark blue"), ("yellow", "gold", "golden"),
        ("orange",), ("purple", "violet", "magenta", "lavender"), ("pink",),
        ("cyan", "turquoise", "teal"), ("brown", "tan", "beige"), ("black", "charcoal"),
        ("white",), ("grey", "gray", "silver"),
    ),
    "size": (
        ("small", "little", "tiny"), ("medium-sized", "medium"),
        ("large", "big", "huge", "giant"),
    ),
    "length": (("long",), ("short",)),
    "width": (("thin", "narrow"), ("thick", "wide")),
    "material": (
        ("wooden",), ("metal", "metallic", "steel", "iron"), ("plastic",), ("glass",), ("paper",),
        ("leather",), ("stone",), ("brick",), ("rubber",),
    ),
    "shape": (
        ("circle", "disc"), ("square",), ("triangle",), ("star",), ("ring",), ("cross",), ("bar",),
        ("crescent",), ("rectangle",), ("heart",), ("hexagon",), ("arrow",),
    ),
    "form": (("round", "circular"), ("square-shaped",), ("triangular",), ("rectangular",)),
    "count": (
        ("one", "single"), ("two",), ("three",), ("four",), ("five",), ("six",), ("seven",),
        ("eight",), ("nine",), ("ten",),
    ),
    "position": (("left",), ("right",)),
    "height": (("top", "upper"), ("bottom", "lower")),
    "order": (("above", "over"), ("below", "under", "beneath")),
}  # fmt: skip

CHINESE_GROUPS: dict[str, tuple[Family, ...]] = {
    "colour": (
        ("红色", "大红色", "栗色"), ("绿色", "黄绿色", "深绿色", "橄榄色", "薄荷色"),
        ("蓝色", "深蓝色", "浅蓝色"),
        ("黄色", "金色"), ("橙色", "橘色"), ("紫色", "淡紫色", "品红色"),
        ("粉色", "粉红色"), ("青色", "蓝绿色"),
        ("棕色", "褐色", "米色"), ("黑色", "炭灰色"), ("白色",), ("灰色", "银色"),
    ),
    "colour, traditional": (
        ("紅色",), ("綠色", "黃綠色"), ("藍色", "深藍色", "淺藍色"), ("黃色",), ("粉紅色",),
        ("銀色",),
    ),
    "size": (("微小的", "小的", "小小的"), ("巨大的", "大的", "大大的"), ("中等大小的",)),
    "length": (("长的", "長的"), ("短的",)),
    "material": (
        ("木头的", "木制的", "木製的"), ("金属的", "金屬的"), ("塑料的", "塑膠的"), ("玻璃的",),
        ("石头的", "石頭的"), ("皮革的",),
    ),
    "shape": (
        ("圆形", "圓形"), ("方形", "正方形"), ("三角形",), ("星形", "星星"), ("圆环", "圓環"),
        ("圆盘", "圓盤"),
        ("十字",), ("长条", "長條"), ("月牙",), ("长方形", "長方形", "矩形"), ("心形",),
    ),
    "count": (
        ("一个", "一個"), ("两个", "兩個"), ("三个", "三個"), ("四个", "四個"), ("五个", "五個"),
    ),
    "counted": (("一只", "一隻"), ("两只", "兩隻"), ("三只", "三隻")),
    "position": (("左边", "左邊", "左侧"), ("右边", "右邊", "右侧")),
    "height": (("上方", "上面"), ("下方", "下面")),
}  # fmt: skip
#: One character is often a part of another word, so it counts before certain ones only.
_SIZE_CHARACTERS = {"大": "小", "小": "大"}
_SIZE_BEFORE_NOUN = re.compile(
    r"(?:(?<=的)|(?<=[只隻个個条條辆輛頭头匹])|^)([大小])(?![的小大学學家厦廈概心时時说說])"
)


@dataclass(frozen=True, slots=True)
class _Word:
    group: str
    family: int


def _index(groups: dict[str, tuple[Family, ...]]) -> dict[str, _Word]:
    return {
        word: _Word(group, number)
        for group, families in groups.items()
        for number, family in enumerate(families)
        for word in family
    }


def _longest_first(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)))


_ENGLISH = _index(GROUPS)
_CHINESE = _index(CHINESE_GROUPS)
_PLURAL = {
    f"{word}es" if word.endswith(("s", "ss")) else f"{word}s": word
    for family in GROUPS["shape"]
    for word in family
}
_ENGLISH_WORD = re.compile(
    rf"(?<![\w-])(?P<article>an?\s+)?(?P<word>{_longest_first([*_ENGLISH, *_PLURAL])})(?![\w-])",
    re.IGNORECASE,
)
_CHINESE_WORD = re.compile(_longest_first(_CHINESE))


class Swapper:
    """Swaps attribute words for others of the same group.

    Args:
        captions: What the data set says. Only words that occur in it are swapped in, so that a
            word is not learnt to be wrong for being new; where a group has no second word there,
            the whole group is taken.
    """

    def __init__(self, captions: Iterable[str] = ()) -> None:
        self._seen: set[str] = set()
        for caption in captions:
            for match in _ENGLISH_WORD.finditer(caption):
                word = match["word"].lower()
                self._seen.add(_PLURAL.get(word, word))
            self._seen.update(_CHINESE_WORD.findall(caption))

    def swaps(self, text: str) -> list[str]:
        """Return the text with one attribute word swapped, in every way, without repeats."""
        found = [*self._english(text), *self._chinese(text), *_swap_size_character(text)]
        return list(dict.fromkeys(found))

    def _english(self, text: str) -> Iterable[str]:
        for match in _ENGLISH_WORD.finditer(text):
            word = match["word"].lower()
            plural = word in _PLURAL
            for other in self._others(_PLURAL.get(word, word), _ENGLISH, GROUPS):
                article = match["article"] or ""
                if article:
                    article = _article(article, other)
                new = next(p for p, s in _PLURAL.items() if s == other) if plural else other
                new = new.capitalize() if match["word"][:1].isupper() else new
                yield text[: match.start()] + article + new + text[match.end() :]

    def _chinese(self, text: str) -> Iterable[str]:
        for match in _CHINESE_WORD.finditer(text):
            for other in self._others(match[0], _CHINESE, CHINESE_GROUPS):
                yield text[: match.start()] + other + text[match.end() :]

    def _others(
        self, word: str, index: dict[str, _Word], groups: dict[str, tuple[Family, ...]]
    ) -> list[str]:
        own = index[word]
        families = [f for n, f in enumerate(groups[own.group]) if n != own.family]
        seen = [w for family in families for w in family if w in self._seen]
        return seen or [family[0] for family in families]


def _swap_size_character(text: str) -> Iterable[str]:
    for match in _SIZE_BEFORE_NOUN.finditer(text):
        yield text[: match.start(1)] + _SIZE_CHARACTERS[match[1]] + text[match.end(1) :]


def _article(old: str, word: str) -> str:
    new = "an" if word[0] in "aeiou" and word != "one" else "a"
    return (new.capitalize() if old[0].isupper() else new) + old[len(old.rstrip()) :]
