"""Things that are shown rather than named: what they look like, and what they do not look like.

An exemplar is the mean dense CLIP vector of one object. Cosines of images with images are far
higher and closer together than those of images with texts, so that neither the negative texts nor
the model's `logit_scale` can serve. Its own frame gives the scale instead: an exemplar is weighed
against vectors of the same frame, as a text is weighed against the negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from engines.errors import ModelError

MOST_EXEMPLARS = 32
SURE = 0.95
"""Probability of the shown vector itself; what it is weighed against has 1 - SURE."""
LEAST_CONTRAST = 0.02
"""Least distance (1 - cosine) from an object to what surrounds it."""
FARTHEST_PART = 0.25
"""Part of the patches around it, least like it, that make its background."""
KIN = 0.85
"""Place from the background (0) to the object (1) above which a patch may be of its kind."""
INNER = 0.9
"""Share of the best covered patch's cover from which a patch is inside of the object."""
RIVALS = 8
ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Exemplar:
    """The look of one kind of thing."""

    like: torch.Tensor
    """(D,) unit vector of what was shown."""
    unlike: torch.Tensor
    """(K, D) unit vectors that it is weighed against: the background first, then its rivals."""
    times: int = 1
    """How often it was shown."""

    def heat(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return how far (..., D) unit vectors look like it, (...) probabilities.

        The lead over the nearest of `unlike`, scaled so that `like` itself has `SURE` and each of
        `unlike` has 1 - `SURE` or less. The vectors being of unit length, both are equally far from
        the point where the lead is 0.
        """
        lead = (vectors @ self.like)[..., None] - vectors @ self.unlike.T
        scale = math.log(SURE / (1 - SURE)) / (1 - self.unlike @ self.like)
        return torch.sigmoid((scale * lead).amin(-1))

    def joined(self, newer: Exemplar) -> Exemplar:
        """Return what the label means after it was shown again.

        The mean of both: a second showing tells what its kind has in common from what one object
        happens to be. Where the newer looks like nothing the old one knows, it takes its place,
        since a mean of unlike looks resembles neither.
        """
        if float(self.heat(newer.like)) < 0.5:
            return newer
        times = self.times + newer.times
        like = F.normalize(self.times * self.like + newer.times * newer.like, dim=0)
        back = F.normalize(self.times * self.unlike[0] + newer.times * newer.unlike[0], dim=0)
        rivals = torch.cat([newer.unlike[1:], self.unlike[1:]])
        rivals = rivals[_place(rivals, like, back) < KIN][:RIVALS]
        return Exemplar(like, torch.cat([back[None], rivals]), times)


def learn(vectors: torch.Tensor, cover: torch.Tensor) -> Exemplar:
    """Learn the look of an object from its frame.

    Other objects of its kind may be in the frame and must not become what it is weighed against.
    So the background is the mean of the patches least like it, and rivals (other things, which it
    must not be confused with) are means of patches that are less like it than most of its own.

    Args:
        vectors: (rows, columns, D) unit vectors of the frame's patches.
        cover: (rows, columns) how much of the object lies in each patch, any unit.

    Raises:
        ModelError: Nothing else is in the frame, or nothing that it could be told from.
    """
    like = F.normalize((vectors * cover[..., None]).sum((0, 1)), dim=0)
    near = F.max_pool2d((cover > 0).float()[None], kernel_size=3, stride=1, padding=1)[0]
    around = vectors[near == 0]
    if not len(around):
        raise ModelError("it fills the frame, so that there is nothing to tell it from")
    far = (around @ like).argsort()[: max(round(len(around) * FARTHEST_PART), 1)]
    back = F.normalize(around[far].mean(0), dim=0)
    if 1 - float(back @ like) < LEAST_CONTRAST:
        raise ModelError("it looks like everything around it")
    # Not all of its patches: a mask is seldom so exact that none lies on the background.
    own = _place(vectors[cover >= INNER * cover.max()], like, back)
    others = around[_place(around, like, back) < min(float(own.quantile(0.25)), KIN)]
    return Exemplar(like, torch.cat([back[None], _groups(others, RIVALS)]))


class ExemplarBook:
    """Exemplars by label; of too many, the one that was asked for longest ago is forgotten.

    Args:
        most: Exemplars kept.
    """

    def __init__(self, most: int = MOST_EXEMPLARS) -> None:
        self._most = most
        self._kept: dict[str, Exemplar] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        """What was shown, the one asked for last at the end."""
        return tuple(self._kept)

    def add(self, label: str, exemplar: Exemplar) -> None:
        """Keep an exemplar; a label that was shown before is joined with it."""
        old = self._kept.pop(label, None)
        self._kept[label] = exemplar if old is None else old.joined(exemplar)
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def find(self, labels: Sequence[str]) -> dict[str, Exemplar]:
        """Return those of the labels that are known."""
        found = {label: self._kept[label] for label in labels if label in self._kept}
        for label in found:
            self._kept[label] = self._kept.pop(label)
        return found

    def forget(self, label: str) -> None:
        """Forget one; a label that is not known changes nothing."""
        self._kept.pop(label, None)


def _place(vectors: torch.Tensor, like: torch.Tensor, back: torch.Tensor) -> torch.Tensor:
    """Return where (N, D) vectors lie between the background (0) and the object (1)."""
    floor = back @ like
    return (vectors @ like - floor) / (1 - floor)


def _groups(vectors: torch.Tensor, most: int) -> torch.Tensor:
    """Return (K, D) unit means of groups of (N, D) unit vectors; a group of one is left out.

    Spherical k-means (Dhillon and Modha 2001), begun with vectors far from each other.
    """
    if not len(vectors):
        return vectors
    middle = F.normalize(vectors.mean(0), dim=0)
    chosen = [vectors[(vectors @ middle).argmin()]]
    nearest = vectors @ chosen[0]
    while len(chosen) < min(most, len(vectors)):
        chosen.append(vectors[nearest.argmin()])
        nearest = torch.maximum(nearest, vectors @ chosen[-1])
    means = torch.stack(chosen)
    for _ in range(ROUNDS):
        group = (vectors @ means.T).argmax(1)
        sums = torch.zeros_like(means).index_add(0, group, vectors)
        counts = torch.bincount(group, minlength=len(means))
        means = F.normalize(torch.where((counts > 0)[:, None], sums, means), dim=-1)
    return means[counts > 1]
