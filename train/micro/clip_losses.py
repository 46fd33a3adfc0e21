"""The micro CLIP's training loss: every text against the negatives, in patches and whole images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.dense import dense_features
from engines.micro_text import ByteTokenizer
from train.micro.attributes import AttributeHead
from train.micro.clip_data import IGNORE, Scene, patch_targets
from train.micro.words import NEGATIVES, Concept, queries_for

#: CLIP's own image statistics.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> normalised by :data:`MEAN` and :data:`STD`."""
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


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
    concepts: list[Concept] = [scenes[0].concepts[0]]
    patches, wholes = [], []
    for scene in scenes:
        # Region numbers of the scene become rows of the batch's table; background is row 0 for all.
        rows = torch.tensor(
            [0, *range(len(concepts), len(concepts) + len(scene.concepts) - 1), IGNORE]
        )
        concepts.extend(scene.concepts[1:])
        patches.append(rows[patch_targets(scene.regions)])
        wholes.append(rows[scene.whole])
    queries = queries_for(list({c.name: c for c in concepts}.values())[:12], rng, 36)
    answers = answers_for(concepts, queries)
    texts = encode_texts(model, tokenizer([*queries, *NEGATIVES]))
    asked, negatives = texts[: len(queries)], texts[len(queries) :]
    images = normalise(torch.stack([s.image for s in scenes]))
    whole, dense = dense_features(model.visual, images, "naclip")
    scale = model.logit_scale.float().exp()
    at_patch, at_whole = torch.stack(patches).flatten(), torch.stack(wholes)
    by_patch = evidence(dense.flatten(0, 2), asked, negatives, scale)
    patch_loss, shown = grouped_loss(by_patch, at_patch, answers)
    by_image = evidence(whole, asked, negatives, scale)
    image_loss, image_shown = grouped_loss(by_image, at_whole, answers)
    shown |= {f"whole_{k}": v for k, v in image_shown.items()}
    plain = _head(heads, "patches").loss(dense.flatten(0, 2), at_patch, concepts)
    plain = plain + 0.5 * _head(heads, "wholes").loss(whole, at_whole, concepts)
    shown |= {"plain": float(plain.detach()), "scale": float(scale.detach())}
    return patch_loss + 0.5 * image_loss + plain, shown


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
    out: Tensor = x[torch.arange(len(x)), tokens.argmax(dim=1)] @ model.text_projection
    return out
