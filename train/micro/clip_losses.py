"""The micro CLIP's training loss: every text against the negatives, in patches and whole images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.dense import dense_pass, position_embeddings
from engines.micro_text import ByteTokenizer
from train.micro.attributes import AttributeHead
from train.micro.clip_data import IGNORE, PATCH, SCENE, Scene, patch_targets
from train.micro.words import NEGATIVES, Concept, queries_for

#: Objects of one picture whose mean vectors are told apart.
MOST_OBJECTS = 8
#: Of telling objects apart without texts, beside the other losses.
TOLD_WEIGHT = 2.0
#: Of telling what a crop shows as a whole, beside its patches.
WHOLE_WEIGHT = 3.0
#: Patches' worth of an object that must be seen of it.
LEAST_COVER = 0.8
#: CLIP's own image statistics.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> normalised by :data:`MEAN` and :data:`STD`."""
    mean = torch.tensor(MEAN, device=images.device)[:, None, None]
    return (images - mean) / torch.tensor(STD, device=images.device)[:, None, None]


def evidence(features: Tensor, queries: Tensor, negatives: Tensor, scale: Tensor) -> Tensor:
    """How far each query outweighs all negatives together: the logit of its softmax probability.

    Args:
        features: (N, D) image or patch embeddings.
        queries: (Q, D) text embeddings.
        negatives: (K, D) text embeddings of :data:`train.micro.words.NEGATIVES`.
        scale: CLIP's ``logit_scale``, exponentiated.

    Returns:
        (N, Q); its sigmoid is softmax([query, *negatives])[0].
    """
    unit = F.normalize(features.float(), dim=-1)
    for_query = scale * unit @ F.normalize(queries.float(), dim=-1).t()
    against = scale * unit @ F.normalize(negatives.float(), dim=-1).t()
    return for_query - against.logsumexp(dim=1, keepdim=True)


@dataclass(frozen=True)
class Answers:
    """Truth of a batch: ``table`` (C, Q) in {1, 0, -1} for concepts and texts.

    ``relevant`` (Q,) bool: names something seen.
    """

    table: Tensor
    relevant: Tensor

    def to(self, device: torch.device) -> Answers:
        """The same answers on another device."""
        return Answers(self.table.to(device), self.relevant.to(device))


def answers_for(concepts: list[Concept], queries: list[str]) -> Answers:
    """What each concept says about each text."""
    table = torch.tensor([[c.answer(q) for q in queries] for c in concepts], dtype=torch.long)
    return Answers(table, (table == 1).any(dim=0))


def grouped_loss(
    logits: Tensor, concept: Tensor, answers: Answers
) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy in four groups that weigh the same whatever their sizes.

    The groups: texts that name what is there; background asked for something that is elsewhere in
    the batch; objects asked for other things; and everything asked for what is nowhere.

    Args:
        logits: (N, Q) of :func:`evidence`.
        concept: (N,) index into the answers' rows; -1 is left out.
        answers: truth.
    """
    known = concept >= 0
    logits, concept = logits[known], concept[known]
    truth = answers.table[concept]
    empty = (concept == 0)[:, None]
    here, absent = answers.relevant[None], ~answers.relevant[None]
    no = F.softplus(logits)
    groups = {
        "named": (F.softplus(-logits), truth == 1),
        "background": (no, (truth == 0) & empty & here),
        "other": (no, (truth == 0) & ~empty & here),
        "nowhere": (no, (truth == 0) & absent),
    }
    losses, shown = [], {}
    for name, (value, chosen) in groups.items():
        if bool(chosen.any()):
            losses.append(value[chosen].mean() * (2.0 if name == "named" else 1.0))
            shown[name] = float(value[chosen].mean().detach())
    return torch.stack(losses).sum() if losses else logits.sum() * 0.0, shown


def clip_loss(
    model: Any,
    heads: nn.ModuleDict,
    tokenizer: ByteTokenizer,
    scenes: list[Scene],
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Dense and whole-image loss of scenes of one size."""
    concepts, tables = joint_concepts(scenes)
    patches, wholes = [], []
    for scene, table in zip(scenes, tables, strict=True):
        rows = torch.tensor(table)
        patches.append(rows[patch_targets(scene.regions)])
        wholes.append(rows[scene.whole])
    queries = queries_for(list({c.name: c for c in concepts}.values())[:12], rng, 44)
    device = next(model.parameters()).device
    answers = answers_for(concepts, queries).to(device)
    texts = encode_texts(model, tokenizer([*queries, *NEGATIVES]).to(device))
    asked, negatives = texts[: len(queries)], texts[len(queries) :]
    images = normalise(torch.stack([s.image for s in scenes]).to(device))
    with _tokens_before_last(model.visual) as early:
        found = dense_pass(
            model.visual, images, "naclip", positions=window_positions(model, scenes)
        )
    whole, dense, tokens = found.whole, found.patches, early[0][:, 1:].float()
    scale = model.logit_scale.float().exp()
    at_patch, at_whole = torch.stack(patches).flatten().to(device), torch.stack(wholes).to(device)
    by_patch = evidence(dense.flatten(0, 2), asked, negatives, scale)
    patch_loss, shown = grouped_loss(by_patch, at_patch, answers)
    by_image = evidence(whole, asked, negatives, scale)
    image_loss, image_shown = grouped_loss(by_image, at_whole, answers)
    shown |= {f"whole_{k}": v for k, v in image_shown.items()}
    plain = _head(heads, "patches").loss(dense.flatten(0, 2), at_patch, concepts)
    plain = plain + WHOLE_WEIGHT * _head(heads, "wholes").loss(whole, at_whole, concepts)
    norm, classes = _parts(heads["early"])
    plain = plain + classes.loss(norm(tokens).flatten(0, 1), at_patch, concepts)
    shown |= {"plain": float(plain.detach()), "scale": float(scale.detach())}
    total = patch_loss + 0.5 * image_loss + 0.3 * plain
    objects = complete_objects(scenes, rng)
    if len(objects):
        seen = objects.to(device)
        names = torch.cat([torch.tensor(table) for table in tables])
        at_object = names[objects.concept].to(device)
        vectors = seen.pooled(F.normalize(dense.flatten(1, 2).float(), dim=-1))
        by_object = evidence(vectors, asked, negatives, scale)
        weighed, _ = grouped_loss(by_object, at_object, answers)
        told = _head(heads, "objects").loss(vectors, at_object, concepts)
        told = told + classes.loss(seen.pooled(norm(tokens)), at_object, concepts)
        shown |= {"objects": float(weighed.detach()), "told": float(told.detach())}
        total = total + weighed + TOLD_WEIGHT * told
    return total, shown


def object_loss(
    model: Any, heads: nn.ModuleDict, scenes: list[Scene], rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Loss of telling single objects apart, without any text: what comes first.

    Patches one by one learn the kind of a shape hardly at all; the mean over an object's patches,
    which is what the detector weighs, within some hundred steps.
    """
    device = next(model.parameters()).device
    images = normalise(torch.stack([s.image for s in scenes]).to(device))
    with _tokens_before_last(model.visual) as early:
        found = dense_pass(
            model.visual, images, "naclip", positions=window_positions(model, scenes)
        )
    tokens = early[0][:, 1:].float()
    concepts, tables = joint_concepts(scenes)
    objects = complete_objects(scenes, rng)
    norm, classes = _parts(heads["early"])
    if not len(objects):
        return found.patches.sum() * 0.0, {}
    seen = objects.to(device)
    names = torch.cat([torch.tensor(table) for table in tables])
    at_object = names[objects.concept].to(device)
    vectors = seen.pooled(F.normalize(found.patches.flatten(1, 2).float(), dim=-1))
    told = _head(heads, "objects").loss(vectors, at_object, concepts)
    sooner = classes.loss(seen.pooled(norm(tokens)), at_object, concepts)
    return told + sooner, {"told": float(told.detach()), "sooner": float(sooner.detach())}


def joint_concepts(scenes: list[Scene]) -> tuple[list[Concept], list[list[int]]]:
    """Put the concepts of all scenes into one table; background is row 0 for all.

    Returns:
        The table, and for each scene the row of each of its regions, the unknown one last.
    """
    concepts: list[Concept] = [scenes[0].concepts[0]]
    tables = []
    for scene in scenes:
        first = len(concepts)
        tables.append([0, *range(first, first + len(scene.concepts) - 1), IGNORE])
        concepts.extend(scene.concepts[1:])
    return concepts, tables


@dataclass(frozen=True)
class Objects:
    """Objects that are seen whole."""

    picture: Tensor
    """(K,) int64 which picture of the batch."""
    concept: Tensor
    """(K,) int64 row in the joined tables of `joint_concepts`."""
    cover: Tensor
    """(K, N) float32 how much of the object lies in each patch, adding up to 1."""

    def __len__(self) -> int:
        return len(self.picture)

    def to(self, device: torch.device) -> Objects:
        """The same objects on another device."""
        return Objects(self.picture.to(device), self.concept.to(device), self.cover.to(device))

    def pooled(self, tokens: Tensor) -> Tensor:
        """Mean (K, D) over each object's patches, of (B, N, D)."""
        return torch.einsum("kn,knd->kd", self.cover, tokens[self.picture])


def complete_objects(scenes: list[Scene], rng: np.random.Generator) -> Objects:
    """Choose objects that no edge of their picture cuts, at most `MOST_OBJECTS` of each picture."""
    pictures, rows, covers = [], [], []
    offset = 0
    for number, scene in enumerate(scenes):
        ids = scene.objects
        edge = torch.cat([ids[0], ids[-1], ids[:, 0], ids[:, -1]])
        inside = np.setdiff1d(np.unique(ids.numpy()), np.append(np.unique(edge.numpy()), 0))
        for chosen in rng.permutation(inside)[:MOST_OBJECTS]:
            mask = (ids == int(chosen)).float()
            cover = F.avg_pool2d(mask[None, None], PATCH)[0, 0].flatten()
            region = int(scene.regions[ids == int(chosen)].median())
            if float(cover.sum()) >= LEAST_COVER and region > 0:
                pictures.append(number)
                rows.append(offset + region)
                covers.append(cover / cover.sum())
        offset += len(scene.concepts) + 1
    if not covers:
        nothing = torch.zeros(0, dtype=torch.long)
        return Objects(nothing, nothing, torch.zeros(0, 1))
    return Objects(torch.tensor(pictures), torch.tensor(rows), torch.stack(covers))


@contextmanager
def _tokens_before_last(visual: Any) -> Iterator[list[Tensor]]:
    """Catch the tokens that enter the last block."""
    caught: list[Tensor] = []
    hook = visual.transformer.resblocks[-1].ln_1.register_forward_pre_hook(
        lambda module, inputs: caught.append(inputs[0])
    )
    try:
        yield caught
    finally:
        hook.remove()


def window_positions(model: Any, scenes: list[Scene]) -> Tensor | None:
    """Position embeddings of windows, as these patches have them in the whole scene.

    One cut for the whole batch, that of its first window: what is learnt is to be relative.
    """
    if scenes[0].corner is None:
        return None
    side = SCENE // PATCH
    table = position_embeddings(model.visual, (side, side))
    y, x = scenes[0].corner
    count = scenes[0].image.shape[-1] // PATCH
    plane = table[1:].view(side, side, -1)[y : y + count, x : x + count]
    return torch.cat([table[:1], plane.flatten(0, 1)])


def _parts(head: nn.Module) -> tuple[nn.Module, AttributeHead]:
    assert isinstance(head, nn.Sequential)
    classes = head[1]
    assert isinstance(classes, AttributeHead)
    return head[0], classes


def _head(heads: nn.ModuleDict, name: str) -> AttributeHead:
    head = heads[name]
    assert isinstance(head, AttributeHead)
    return head


def encode_texts(model: Any, tokens: Tensor) -> Tensor:
    """``model.encode_text`` without the padding that no text of the batch needs.

    Attention is causal and the embedding is read at the end token, so the result is the same.
    """
    length = int(tokens.argmax(dim=1).max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    rows = torch.arange(len(x), device=x.device)
    out: Tensor = x[rows, tokens.argmax(dim=1)] @ model.text_projection
    return out
