"""How much a model still says what it said before, of things that the data set is not about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stream.synth import CellFilm, CellFilmSpec, draw_shapes
from train.clip.pictures import Eye
from train.clip.towers import Towers
from train.clip.wording import text_key

TEXTS: tuple[str, ...] = (
    "a dog", "a cat", "a car", "a person", "a tree", "a house", "a boat", "a bird", "a horse",
    "a bottle", "a chair", "a table", "a laptop", "a book", "a bus", "an airplane", "a sheep",
    "an elephant", "an umbrella", "a banana", "a flower", "a mountain", "the sea", "a road",
    "a bridge", "a guitar", "a clock", "a bicycle", "snow", "fire", "a cell", "a cell nucleus",
    "a red blood cell", "a red circle", "a blue square", "a green triangle", "a yellow star",
    "a white circle", "a black square", "background", "nothing", "debris",
    "狗", "猫", "汽车", "人", "树", "房子", "鸟", "花", "山", "河", "细胞", "细胞核", "红细胞",
    "红色圆形", "蓝色方形", "黄色星形", "背景",
)  # fmt: skip
SHAPES, FILMS = 16, 4
_SEED = 970_000
_SIDE_PX = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model makes of the fixed texts and pictures: (T, D) and (P, D) unit vectors."""

    texts: Tensor
    pictures: Tensor


def unrelated_texts(captions: Iterable[str]) -> tuple[str, ...]:
    """Return the fixed texts that the data set does not have."""
    own = {text_key(caption) for caption in captions}
    return tuple(text for text in TEXTS if text_key(text) not in own)


def drawn_pictures(eye: Eye) -> Tensor:
    """Return (P, 3, side, side): coloured shapes and films of cells, always the same."""
    images: list[npt.NDArray[np.uint8]] = []
    for number in range(SHAPES):
        rng = np.random.default_rng((_SEED, number))
        images.append(draw_shapes(rng, _SIDE_PX, _SIDE_PX, 1 + number % 6)[0])
    for number in range(FILMS):
        spec = CellFilmSpec(width=_SIDE_PX, height=_SIDE_PX, seed=_SEED + number)
        images.append(CellFilm(spec).frame().image.astype(np.uint8))
    return torch.stack([eye.planes(image) for image in images])


@torch.inference_mode()
def answer(towers: Towers, texts: Sequence[str], pictures: Tensor) -> Answer:
    """Ask a model."""
    words = F.normalize(towers.texts(texts), dim=-1).cpu()
    return Answer(words, F.normalize(towers.pictures(pictures), dim=-1).cpu())


def retention(before: Answer, after: Answer) -> dict[str, float]:
    """Compare a model with what it was.

    Returns:
        `agreement`: share of pictures whose nearest text is the same; `text_cosine` and
        `image_cosine`: mean cosine of an embedding with what it was.
    """
    first = (before.pictures @ before.texts.t()).argmax(1)
    second = (after.pictures @ after.texts.t()).argmax(1)
    return {
        "agreement": float((first == second).float().mean()),
        "text_cosine": float((before.texts * after.texts).sum(1).mean()),
        "image_cosine": float((before.pictures * after.pictures).sum(1).mean()),
    }
