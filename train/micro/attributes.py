"""Auxiliary attribute heads for the micro CLIP (training only).

Contrast with texts alone teaches a vision tower from scratch too little at first: the text tower
has to tell words apart before patches hear anything. Plain classification of what is there starts
at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.micro.words import COLOURS, SHAPES, SIZES, Concept

_FAMILIES = ("background", "cell", "red blood cell", "white blood cell", "platelet", "shape")
_GROUPS: dict[str, tuple[str, ...]] = {
    "family": _FAMILIES,
    "colour": tuple(COLOURS),
    "shape": tuple(SHAPES),
    "size": tuple(SIZES),
}


def attributes_of(concept: Concept) -> dict[str, int]:
    """Index of each attribute of a concept, -1 where it has none."""
    words = concept.name.split()
    found = {name: -1 for name in _GROUPS}
    if concept.name in _FAMILIES:
        found["family"] = _FAMILIES.index(concept.name)
        return found
    found["family"] = _FAMILIES.index("shape")
    for name in ("colour", "shape", "size"):
        for word in words:
            if word in _GROUPS[name]:
                found[name] = _GROUPS[name].index(word)
    return found


class AttributeHead(nn.Module):
    """Linear classifiers of family, colour, shape and size on embeddings of a width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({n: nn.Linear(width, len(c)) for n, c in _GROUPS.items()})

    def loss(self, features: Tensor, concept: Tensor, concepts: list[Concept]) -> Tensor:
        """Cross-entropy in which every class of an attribute weighs the same.

        Args:
            features: (N, D).
            concept: (N,) index into ``concepts``; -1 is left out.
            concepts: what the rows show.
        """
        known = concept >= 0
        # Only the direction of an embedding means anything later on.
        features = F.normalize(features[known].float(), dim=-1) * 10.0
        concept = concept[known]
        total = features.sum() * 0.0
        if not len(concept):
            return total
        for name, head in self.heads.items():
            index = torch.tensor([attributes_of(c)[name] for c in concepts], device=concept.device)
            truth = index[concept]
            there = truth >= 0
            if not bool(there.any()):
                continue
            each = F.cross_entropy(head(features[there]), truth[there], reduction="none")
            classes = torch.unique(truth[there]).tolist()
            total = total + torch.stack([each[truth[there] == c].mean() for c in classes]).mean()
        return total
