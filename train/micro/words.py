"""Words for the micro CLIP: what matches what, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

#: The texts that stand for "none of it"; live, each query is weighed against these.
NEGATIVES: tuple[str, ...] = ("background", "empty", "debris", "")

CELL: tuple[str, ...] = (
    "cell", "cells", "a cell", "the cells", "nucleus", "nuclei", "a nucleus", "cell nucleus",
    "cell nuclei", "a cell nucleus", "a microscope image of a cell", "a photo of a cell",
    "living cell", "all cells",
    "every cell", "microscopy cell", "biological cell", "blob of a cell",
    "细胞", "細胞", "细胞核", "細胞核", "一个细胞", "一個細胞", "活细胞", "显微镜下的细胞",
)  # fmt: skip
RED_CELL: tuple[str, ...] = (
    "red blood cell", "red blood cells", "a red blood cell", "erythrocyte",
    "红细胞", "紅細胞", "红血球",
)  # fmt: skip
WHITE_CELL: tuple[str, ...] = (
    "white blood cell", "white blood cells", "a white blood cell", "leukocyte",
    "白细胞", "白細胞", "白血球",
)  # fmt: skip
PLATELET: tuple[str, ...] = ("platelet", "platelets", "a platelet", "thrombocyte", "血小板")
_BLOOD: tuple[str, ...] = ("blood cell", "blood cells", "血细胞", "血細胞")
_NOTHING: tuple[str, ...] = (
    "nothing",
    "dark background",
    "empty background",
    "背景",
    "空",
    "dirt",
    "noise",
)

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("红色", "紅色"), "green": ("绿色", "綠色"), "blue": ("蓝色", "藍色"),
    "yellow": ("黄色", "黃色"), "white": ("白色",), "black": ("黑色",),
}  # fmt: skip
SHAPES: dict[str, tuple[str, ...]] = {
    "circle": ("圆形", "圓形", "圆", "圓"), "square": ("方形", "正方形"), "triangle": ("三角形",),
    "star": ("星形", "星星"),
}  # fmt: skip
SIZES: dict[str, tuple[str, ...]] = {"small": ("小",), "large": ("大",)}

_NOUNS = """
    dog car person tree bicycle house boat bird horse bottle chair table laptop phone book bus
    train truck airplane sheep cow elephant bear zebra umbrella handbag tie suitcase frisbee
    skis kite skateboard surfboard racket glass cup fork knife spoon bowl banana apple sandwich
    orange broccoli carrot pizza donut cake couch plant bed toilet television mouse remote
    keyboard microwave oven toaster sink refrigerator clock vase scissors toothbrush man woman
    child girl boy face hand shoe hat shirt door window road sign bridge river mountain beach
    ocean flower leaf grass rock fish shark whale snake lizard frog butterfly bee ant spider
    rabbit fox wolf lion monkey pig chicken duck goose eagle owl parrot guitar piano drum violin
    ball bat glove tent rope ladder hammer nail screw drill saw paint brush pencil paper
    envelope box bag basket bucket barrel tank engine wheel tire helmet motorcycle scooter tram
    taxi ambulance rocket satellite robot camera lens screen cable lamp candle fire smoke rain
    snow cloud sun moon planet city street building tower castle church school hospital kitchen
    garden farm forest desert island lake sword shield crown ring necklace watch coin money
    ticket map flag statue fountain bench fence wall roof stairs elevator carpet curtain pillow
    blanket towel soap mirror comb
"""
UNRELATED: tuple[str, ...] = tuple(_NOUNS.split())
UNRELATED_CHINESE: tuple[str, ...] = (
    "狗", "汽车", "汽車", "人", "树", "樹", "房子", "船", "鸟", "鳥", "马", "椅子",
    "桌子", "电脑", "手机", "书", "飞机", "大狗",
    "红色的大狗", "紅色的大狗", "黑色的汽车",
    "女人", "孩子", "花", "山", "河", "门", "窗户", "鞋", "帽子",
)  # fmt: skip
#: Never seen in training; validation asks whether they stay dark.
HELD_OUT_UNRELATED: tuple[str, ...] = (
    "cat", "giraffe", "tomato", "bicycle helmet", "traffic light", "swimming pool",
    "a photo of a cat", "backpack", "penguin", "猫", "自行车", "xqzvw", "hotdog", "a yellow truck",
)  # fmt: skip
_FRAMES = (
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "{}s",
    "a red {}",
    "a small {}",
    "a large {}",
    "two {}s",
)


@dataclass(frozen=True)
class Concept:
    """Something that can be seen: texts that name it, and texts about which it says nothing."""

    name: str
    yes: frozenset[str] = field(default_factory=frozenset)
    unsure: frozenset[str] = field(default_factory=frozenset)

    def answer(self, text: str) -> int:
        """1 if the text names it, 0 if not, -1 if neither should be learnt."""
        if text in self.yes:
            return 1
        return -1 if text in self.unsure else 0


def shape_texts(colour: str, shape: str, size: str | None) -> frozenset[str]:
    """All texts that name a shape of this colour, and size if known."""
    texts = {
        f"a {colour} {shape}",
        f"{colour} {shape}",
        f"{colour} {shape}s",
        shape,
        f"a {shape}",
        f"{shape}s",
    }
    texts |= {f"{colour} shape", "shape", "a shape"}
    for c in COLOURS[colour]:
        texts |= {f"{c}{s}" for s in SHAPES[shape]} | {f"{c}的{s}" for s in SHAPES[shape]}
    texts |= set(SHAPES[shape])
    if size is not None:
        texts |= {f"a {size} {colour} {shape}", f"a {size} {shape}", f"{size} {shape}"}
        texts |= {f"{z}{s}" for z in SIZES[size] for s in SHAPES[shape]}
    return frozenset(texts)


def all_shape_texts() -> list[str]:
    """Every text that names some shape, sorted."""
    texts: set[str] = set()
    for colour in COLOURS:
        for shape in SHAPES:
            for size in SIZES:
                texts |= shape_texts(colour, shape, size)
    return sorted(texts)


_ROUND = frozenset(
    t for t in all_shape_texts() if "circle" in t or "圆" in t or "圓" in t or "shape" in t
)
_CELLS = frozenset(CELL)
BACKGROUND = Concept("background", frozenset(), frozenset())
NUCLEUS = Concept("cell", _CELLS, frozenset((*_BLOOD, *RED_CELL, *WHITE_CELL)) | _ROUND)
ERYTHROCYTE = Concept("red blood cell", _CELLS | set(RED_CELL) | set(_BLOOD), _ROUND)
LEUKOCYTE = Concept("white blood cell", _CELLS | set(WHITE_CELL) | set(_BLOOD), _ROUND)
THROMBOCYTE = Concept("platelet", frozenset(PLATELET), _CELLS | set(_BLOOD) | _ROUND)


def shape_concept(colour: str, shape: str, size: str | None) -> Concept:
    """The concept of a drawn shape; without a known size, texts about size are not learnt."""
    unsure: set[str] = set()
    if size is None:
        known = shape_texts(colour, shape, None)
        unsure = {t for z in SIZES for t in shape_texts(colour, shape, z)} - known
    return Concept(
        f"{size or ''} {colour} {shape}".strip(),
        shape_texts(colour, shape, size),
        frozenset(unsure),
    )


def unrelated_text(rng: np.random.Generator) -> str:
    """A text that names nothing in the training pictures.

    A noun, framed or not, or a random string.
    """
    kind = rng.random()
    if kind < 0.55:
        noun = str(rng.choice(UNRELATED))
        return str(
            rng.choice(_FRAMES, p=[0.4, 0.15, 0.05, 0.12, 0.08, 0.05, 0.05, 0.05, 0.05])
        ).format(noun)
    if kind < 0.72:
        return str(rng.choice(UNRELATED_CHINESE))
    if kind < 0.88:
        letters = rng.integers(97, 123, int(rng.integers(2, 12)))
        return "".join(chr(int(c)) for c in letters)
    if kind < 0.95:
        return "".join(chr(int(c)) for c in rng.integers(0x4E00, 0x9FA5, int(rng.integers(1, 5))))
    return str(rng.choice(_NOTHING))


def _swapped(concept: Concept, rng: np.random.Generator) -> Concept | None:
    """A shape like this one but for its colour or its kind; None for what is no shape."""
    words = concept.name.split()
    if len(words) < 2 or words[-1] not in SHAPES or words[-2] not in COLOURS:
        return None
    size, colour, shape = (words[0] if len(words) == 3 else None), words[-2], words[-1]
    if rng.random() < 0.5:
        colour = str(rng.choice([c for c in COLOURS if c != colour]))
    else:
        shape = str(rng.choice([s for s in SHAPES if s != shape]))
    return shape_concept(colour, shape, size)


def queries_for(concepts: list[Concept], rng: np.random.Generator, count: int = 48) -> list[str]:
    """Texts to ask of a batch: names of what is there, of what might be, and of what is nowhere."""
    texts: set[str] = set()
    for concept in concepts:
        names = sorted(concept.yes)
        if names:
            picked = rng.choice(len(names), min(3, len(names)), replace=False)
            texts |= {names[int(i)] for i in picked}
    texts |= {str(t) for t in rng.choice(CELL, 4, replace=False)}
    texts |= {str(rng.choice(group)) for group in (RED_CELL, WHITE_CELL, PLATELET, _BLOOD)}
    texts |= {str(t) for t in rng.choice(_SHAPE_TEXTS, 6, replace=False)}
    for concept in concepts:
        swapped = _swapped(concept, rng)
        if swapped is not None and rng.random() < 0.5:
            names = sorted(swapped.yes)
            texts.add(names[int(rng.integers(len(names)))])
    while len(texts) < count:
        texts.add(unrelated_text(rng))
    return sorted(texts - set(HELD_OUT_UNRELATED))


_SHAPE_TEXTS = all_shape_texts()
