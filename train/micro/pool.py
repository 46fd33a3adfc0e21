"""The pool of images and films that training draws clips from, held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stream.synth import draw_shapes
from train.micro.data import DataError, Still, is_held_out, read_dsb2018, read_laptrack
from train.micro.motion import Clip, clip_from_still, random_look

#: Side of the model input in pixels.
SIZE = 256
#: Side of the pictures of shapes that clips are cut from, and how large shapes are in them.
SHAPES_SIDE = 384
SHAPE_PX = (12.0, 140.0)


@dataclass(frozen=True)
class Film:
    """A drawn film: ``images`` (T, 256, 256, 3) uint8, ``ids`` (T, 256, 256) uint16.

    Consistent in time.
    """

    images: NDArray[np.uint8]
    ids: NDArray[np.uint16]


class Pool:
    """Stills by kind, and films.

    Args:
        stills: grouped by kind, so that rare kinds are drawn as often as common ones.
        films: drawn films; may be empty.
        film_share: probability that a clip comes from a film, if there are any.
        evenness: power of a kind's number of images that it is drawn by; 0: all kinds alike.
    """

    def __init__(
        self,
        stills: list[Still],
        films: list[Film],
        film_share: float = 0.35,
        evenness: float = 0.5,
    ) -> None:
        self.groups: dict[str, list[Still]] = {}
        for still in stills:
            self.groups.setdefault(still.kind, []).append(still)
        self.kinds = sorted(self.groups)
        weights = np.array([len(self.groups[k]) for k in self.kinds], np.float64) ** evenness
        self.weights = weights / weights.sum() if len(weights) else weights
        self.films, self.film_share = films, film_share

    def still(self, rng: np.random.Generator) -> Still:
        """A random still."""
        group = self.groups[self.kinds[int(rng.choice(len(self.kinds), p=self.weights))]]
        return group[int(rng.integers(len(group)))]

    def clip(self, frames: int, rng: np.random.Generator, shape_share: float = 0.0) -> Clip:
        """A random clip of ``frames`` frames.

        Args:
            frames: how many.
            rng: the only source of randomness.
            shape_share: probability that it shows drawn shapes.
        """
        if shape_share > 0 and rng.random() < shape_share:
            donor = shapes_still(rng) if rng.random() < 0.3 else None
            return clip_from_still(shapes_still(rng), frames, SIZE, rng, donor, SHAPE_PX)
        if self.films and (not self.groups or rng.random() < self.film_share):
            return self._from_film(frames, rng)
        still = self.still(rng)
        donor = self.still(rng) if rng.random() < (0.5 if frames > 1 else 0.25) else None
        return clip_from_still(still, frames, SIZE, rng, donor)

    def picture(self, rng: np.random.Generator, shape_share: float = 0.0) -> Still:
        """A random picture as it is: real, drawn shapes, or a frame of a drawn film.

        Args:
            rng: the only source of randomness.
            shape_share: probability that it shows drawn shapes.
        """
        if shape_share > 0 and rng.random() < shape_share:
            return shapes_still(rng)
        if self.films and (not self.groups or rng.random() < self.film_share):
            film = self.films[int(rng.integers(len(self.films)))]
            at = int(rng.integers(len(film.ids)))
            return Still("film", film.images[at], film.ids[at], "film")
        return self.still(rng)

    def _from_film(self, frames: int, rng: np.random.Generator) -> Clip:
        film = self.films[int(rng.integers(len(self.films)))]
        step = int(rng.integers(1, 4))
        step = max(1, min(step, (len(film.ids) - 1) // max(1, frames - 1)))
        start = int(rng.integers(0, len(film.ids) - step * (frames - 1)))
        pick = slice(start, start + step * (frames - 1) + 1, step)
        images = torch.from_numpy(film.images[pick]).permute(0, 3, 1, 2).float() / 255.0
        ids = torch.from_numpy(film.ids[pick].astype(np.int32))
        turn, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)
        images, ids = torch.rot90(images, turn, (2, 3)), torch.rot90(ids, turn, (1, 2))
        if mirror:
            images, ids = images.flip(3), ids.flip(2)
        if rng.random() < 0.3:
            images, ids = images.flip(0), ids.flip(0)
        if rng.random() < 0.5:
            images = random_look(images, rng)
        return Clip(images.contiguous(), ids.contiguous())


def shapes_still(rng: np.random.Generator) -> Still:
    """Coloured shapes, few and large or many and small."""
    picture, ids, _ = draw_shapes(rng, SHAPES_SIDE, SHAPES_SIDE, int(rng.integers(2, 14)))
    return Still("shapes", picture, ids, "shapes")


def load_pool(
    data: Path,
    films: Path | None,
    held_out: bool,
    percent: int,
    film_share: float = 0.35,
    evenness: float = 0.5,
) -> Pool:
    """Read the training (or the held-out) part of all sources.

    Args:
        data: folder with ``dsb2018_nuclei`` and, if there, ``laptrack_crops``.
        films: folder of ``*.npz`` drawn by ``train.micro.films``, or None.
        held_out: which side of the split.
        percent: size of the side that is never trained on.
        film_share: of what is drawn from the pool.
        evenness: as for `Pool`.
    """
    nuclei = read_dsb2018(data / "dsb2018_nuclei")
    stills = [s for s in nuclei if is_held_out(s.name, percent) == held_out]
    if not held_out and (data / "laptrack_crops").is_dir():
        stills += read_laptrack(data / "laptrack_crops")
    return Pool(stills, read_films(films, held_out) if films else [], film_share, evenness)


def read_films(folder: Path, held_out: bool) -> list[Film]:
    """Read drawn films: ``train_*.npz`` or ``val_*.npz`` with ``images`` and ``ids``."""
    paths = sorted(folder.glob("val_*.npz" if held_out else "train_*.npz"))
    if not paths:
        raise DataError(f"{folder}: no films; maskcast train micro draws them into its folder")
    films = []
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            films.append(Film(file["images"], file["ids"]))
    return films
