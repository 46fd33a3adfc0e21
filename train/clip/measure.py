"""Held-out pictures, and what a model finds in them: texts, attributes, labels by patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.scoring import weigh
from train.clip.attributes import Swapper
from train.clip.draws import relation
from train.clip.pictures import Eye, Seen, crop, label_regions, objects_of, patch_targets, whole
from train.clip.retrieval import area_under_curve, attribute_accuracy, recalls
from train.clip.towers import Towers
from train.clip.wording import text_key
from train.readers.samples import ImageSample, LabelledImage

Figures = dict[str, float]

CHUNK = 16
CROPS_OF_IMAGE = 4
DENSE_IMAGES = 24
SWAPS_OF_CAPTION = 6


@dataclass(frozen=True, slots=True)
class Ground:
    """A picture whose objects are judged by their patches."""

    planes: Tensor
    """(3, dense side, dense side) float16."""
    shares: Tensor
    """(K, rows, columns) float32: how much of each object lies in each patch, summing to 1."""
    labels: tuple[int, ...]
    """(K) index of each object's label in the vocabulary."""
    targets: Tensor
    """(rows, columns) int64: 0 background, i the label i - 1 of the vocabulary, -1 unknown."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What is measured on.

    Attributes:
        seens: Pictures with their texts; whole ones, or crops where nothing has captions.
        texts: All different texts of these pictures.
        labels: All labels, sorted.
        grounds: Pictures with labelled masks.
    """

    seens: tuple[Seen, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    grounds: tuple[Ground, ...]


def read_held_out(
    samples: Sequence[ImageSample], eye: Eye, most: int, say: Callable[[str], None]
) -> HeldOut:
    """Load what is measured on, at most so many pictures; one that cannot be read is left out."""
    images: list[LabelledImage] = []
    seens: list[Seen] = []
    for sample in samples:
        if len(seens) >= most:
            break
        try:
            image = sample.load()
        except (OSError, ValueError) as error:
            say(f"{sample.name} is left out: {error}")
            continue
        seens += _seen(image, eye)[: most - len(seens)]
        if image.ids is not None and image.labels and len(images) < DENSE_IMAGES:
            images.append(image)
    texts = {text_key(text): text for seen in seens for text in seen.texts}
    labels = tuple(sorted({label for image in images for label in image.labels.values()}))
    grounds = tuple(g for image in images if (g := _ground(image, labels, eye)) is not None)
    return HeldOut(tuple(seens), tuple(texts.values()), labels, grounds)


def _seen(image: LabelledImage, eye: Eye) -> list[Seen]:
    if image.captions:
        found = [whole(image, eye, np.random.default_rng(0), 0.0)]
    else:
        found = [crop(image, n, eye, "grey") for n in objects_of(image)[:CROPS_OF_IMAGE]]
    return [replace(seen, planes=seen.planes.half()) for seen in found]


def _ground(image: LabelledImage, labels: Sequence[str], eye: Eye) -> Ground | None:
    regions, own = label_regions(image)
    if regions is None or image.ids is None:
        return None
    numbers = [n for n in objects_of(image) if n in image.ids]
    if not numbers:
        return None
    side = eye.dense_px
    places = (np.arange(side) + 0.5) / side
    rows, cols = ((places * length).astype(np.int64) for length in regions.shape)
    grid = np.ix_(rows, cols)
    table = np.array([0, *(labels.index(label) + 1 for label in own), -1])
    targets = patch_targets(table[regions[grid]], eye.patch_px)
    masks = torch.from_numpy(np.stack([image.ids[grid] == n for n in numbers])).float()
    shares = F.avg_pool2d(masks[None], eye.patch_px)[0]
    seen = shares.sum((1, 2)) > 0
    kept = [n for n, there in zip(numbers, seen.tolist(), strict=True) if there]
    return Ground(
        eye.planes(image.image, side).half(),
        shares[seen] / shares[seen].sum((1, 2), keepdim=True),
        tuple(labels.index(image.labels[n]) for n in kept),
        torch.from_numpy(targets),
    )


@torch.inference_mode()
def similarities(towers: Towers, held: HeldOut) -> Tensor:
    """Return (B, T) cosines of pictures and texts."""
    return embed_pictures(towers, held) @ embed_texts(towers, held.texts).t()


@torch.inference_mode()
def embed_pictures(towers: Towers, held: HeldOut) -> Tensor:
    """Return (B, D) unit vectors."""
    rows = []
    for first in range(0, len(held.seens), CHUNK):
        planes = torch.stack([seen.planes for seen in held.seens[first : first + CHUNK]])
        rows.append(F.normalize(towers.pictures(planes.float()), dim=-1).cpu())
    return torch.cat(rows)


@torch.inference_mode()
def embed_texts(towers: Towers, texts: Sequence[str]) -> Tensor:
    """Return (N, D) unit vectors."""
    step = CHUNK * 8
    rows = [towers.texts(texts[first : first + step]) for first in range(0, len(texts), step)]
    return F.normalize(torch.cat(rows), dim=-1).cpu()


def relation_of(held: HeldOut) -> Tensor:
    """Return (B, T) int8: 1 true, 0 not, -1 unsure."""
    return relation(held.seens, [text_key(text) for text in held.texts])


def measure(towers: Towers, held: HeldOut, swapper: Swapper) -> Figures:
    """Measure everything: retrieval, attributes, and labels by patch where there are masks."""
    pictures = embed_pictures(towers, held)
    scores = pictures @ embed_texts(towers, held.texts).t()
    figures = recalls(scores, relation_of(held))
    figures |= _attributes(towers, held, pictures, swapper)
    figures |= _dense(towers, held)
    figures["logit_scale"] = float(towers.scale.detach())
    return figures


def _attributes(towers: Towers, held: HeldOut, pictures: Tensor, swapper: Swapper) -> Figures:
    """Weigh each true caption against the same with one attribute swapped."""
    words: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    swapped: list[tuple[int, int, int]] = []
    for row, seen in enumerate(held.seens):
        for text in seen.texts:
            closed = seen.truths | seen.unsure
            false = [s for s in swapper.swaps(text) if text_key(s) not in closed]
            # Spread over all words of the caption, whatever there is more of.
            step = max(1, len(false) // SWAPS_OF_CAPTION)
            for swap in false[::step][:SWAPS_OF_CAPTION]:
                swapped.append((row, words.setdefault(swap, len(words)), len(pairs)))
            pairs.append((row, words.setdefault(text, len(words))))
    if not swapped:
        return {"attribute": math.nan, "attribute_all": math.nan}
    vectors = embed_texts(towers, list(words))
    own = torch.stack([pictures[row] @ vectors[word] for row, word in pairs])
    other = torch.stack([pictures[row] @ vectors[word] for row, word, _ in swapped])
    each, every = attribute_accuracy(own, other, torch.tensor([owner for *_, owner in swapped]))
    return {"attribute": each, "attribute_all": every}


@torch.inference_mode()
def _dense(towers: Towers, held: HeldOut) -> Figures:
    """Read patches as runs do, each label against the negatives.

    Returns:
        `dense_label`: share of objects of which their own label is the most probable of all;
        `dense_auc`: chance that a patch of a label is more probable than background where the
        label is in the picture. Nothing without masks.
    """
    if not held.grounds or not held.labels:
        return {}
    asked = embed_texts(towers, held.labels)
    against = embed_texts(towers, towers.negatives)
    scale = float(towers.scale.detach())
    right: list[bool] = []
    scores, truths = [], []
    for ground in held.grounds:
        vectors = F.normalize(towers.patches(ground.planes[None].float())[0], dim=-1).cpu()
        heat = weigh(vectors, asked, against, scale).own
        pooled = torch.einsum("khw,hwl->kl", ground.shares, heat)
        right += (pooled.argmax(1) == torch.tensor(ground.labels)).tolist()
        for label in sorted(set(ground.labels)):
            clear = (ground.targets == 0) | (ground.targets == label + 1)
            scores.append(heat[..., label][clear])
            truths.append(ground.targets[clear] > 0)
    score, truth = torch.cat(scores), torch.cat(truths)
    auc = area_under_curve(score, truth)
    return {"dense_label": sum(right) / len(right), "dense_auc": auc}
