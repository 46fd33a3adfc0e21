"""What a text could have said instead: the same words, with another colour or another shape.

A likeness of image and text alone takes a yellow triangle for a green one, and by little: most of
the words fit (Yuksekgonul et al. 2023, arXiv 2210.01936). What it tells well is which of two texts
fits better; so a text is held against those that differ from it by one attribute, and a thing that
one of them describes better is not what was meant.
"""

from __future__ import annotations

import re
from typing import Final

#: Words of which at most one is true of a thing; of each the first spelling is put in.
Group = tuple[tuple[str, ...], ...]

SHAPES: Final[tuple[Group, ...]] = (
    (
        ("circle", "circles"),
        ("square", "squares"),
        ("triangle", "triangles"),
        ("star", "stars"),
    ),
    (("圆形", "圆"), ("方形", "正方形"), ("三角形",), ("星形", "星星")),
    (("圓形", "圓"), ("方形", "正方形"), ("三角形",), ("星形", "星星")),
)
COLOURS: Final[tuple[Group, ...]] = (
    (("red",), ("green",), ("blue",), ("yellow",), ("white",), ("black",)),
    (("红色",), ("绿色",), ("蓝色",), ("黄色",), ("白色",), ("黑色",)),
    (("紅色",), ("綠色",), ("藍色",), ("黃色",), ("白色",), ("黑色",)),
)
#: Without a shape a colour is part of a name, as in "red blood cell".
SHAPE: Final = re.compile(r"\bshapes?\b", re.IGNORECASE)
#: In Chinese a shape that goes on describes something else, as in "圆形细胞".
ENDS: Final = r"(?!\w)"


def micro_contrasts(text: str) -> tuple[str, ...]:
    """Return what a text about a drawn shape could have said instead; nothing for other texts.

    Args:
        text: English or Chinese; colours and shapes that the `micro` CLIP was taught.

    Returns:
        Each differs from the text by one colour or one shape.
    """
    shapes = [other for group in SHAPES for other in _swapped(text, group, ENDS)]
    if not shapes and not SHAPE.search(text):
        return ()
    colours = [other for group in COLOURS for other in _swapped(text, group)]
    return tuple(dict.fromkeys([*colours, *shapes]))


def _swapped(text: str, group: Group, ends: str = "") -> list[str]:
    """Put in place of a word of a group each of the others; `ends` follows a Chinese one."""
    for meaning in group:
        # The longest spelling first, so that none is taken for a part of another.
        spellings = sorted(meaning, key=len, reverse=True)
        pattern = "|".join(map(re.escape, spellings))
        before, after = (r"\b", r"\b") if spellings[0].isascii() else ("", ends)
        word = re.compile(f"{before}(?:{pattern}){after}", re.IGNORECASE)
        if word.search(text):
            return [word.sub(other[0], text, count=1) for other in group if other is not meaning]
    return []
