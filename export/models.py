"""Which networks a model name means, what they are tried on, and how they are judged."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from engines.backends import Runner, Running
from engines.backends.torch_backend import TorchRunner
from engines.clip_models import crop_size_px, image_statistics
from engines.images import to_input
from engines.networks import clip_networks, sam2_networks
from engines.registry import Loaded
from engines.texts import text_bank
from export.film import Recorder, drawn_film, follow, reference_runners
from export.parity import compare_films, film_faults
from export.run import Order, Parity, export
from stream.synth import CellFilm, CellFilmSpec

Tick = Callable[[], None]
#: Cosine with torch's vectors below which CLIP would weigh texts in another way.
LEAST_COSINE = 0.99
_TEXTS = ("cell nucleus", "a big red dog", "紅色的大狗", "background")


def export_sam2(
    order: Order, loaded: Loaded, frames: int, objects: int, say: Callable[[str], None], tick: Tick
) -> tuple[Path, Parity]:
    """Export the networks of a tracker; see `export.run.export`.

    Args:
        order: What is wanted.
        loaded: The model.
        frames: Length of the film that masks are compared over.
        objects: Objects in it.
        say: Told what is being done.
        tick: Called after each of `2 * frames` frames.
    """
    side = int(loaded.model.image_size)
    networks = sam2_networks(loaded.model)
    film = drawn_film(side, frames, objects)
    recorded = reference_runners(networks)
    say("following a film in torch")
    truth = follow(loaded.name, copy.deepcopy(loaded.model), recorded, film, tick)

    def judge(runners: Mapping[str, Runner], parity: Parity) -> None:
        say("following it with what was exported")
        found = follow(loaded.name, copy.deepcopy(loaded.model), runners, film, tick)
        parity.film = compare_films(truth, found)
        parity.faults += film_faults(parity.film, parity.precisions)

    return export(order, "sam2", loaded, side, networks, recorded, judge, say)


def export_clip(
    order: Order, loaded: Loaded, side_px: int, mode: str, frames: int, say: Callable[[str], None]
) -> tuple[Path, Parity]:
    """Export the towers of a CLIP model; see `export.run.export`.

    Args:
        order: What is wanted.
        loaded: The model.
        side_px: Side of the square that it sees at once.
        mode: How its last block is read.
        frames: Pictures that vectors are compared on.
        say: Told what is being done.
    """
    networks = clip_networks(loaded.model, side_px, mode)
    how = Running()
    recorded = {n: Recorder(TorchRunner(net, "fp32", how)) for n, net in networks.items()}
    pictures = _pictures(loaded, side_px, frames)
    say("looking at pictures in torch")
    for picture in pictures[:4]:
        recorded["image_tower"]({"images": picture})
    own = crop_size_px(loaded.model.visual)
    for count in (1, 2, 4):
        crops = torch.cat([F.interpolate(p, (own, own), mode="bilinear") for p in pictures[:count]])
        recorded["crop_tower"]({"images": crops})
    tokens = text_bank(loaded.model, loaded.name, loaded.origin).tokenize(_TEXTS)
    recorded["text_tower"]({"tokens": tokens})

    def judge(runners: Mapping[str, Runner], parity: Parity) -> None:
        cosines = [
            _least_cosine(recorded["image_tower"].run, runners["image_tower"], {"images": picture})
            for picture in pictures
        ]
        cosines.append(
            _least_cosine(recorded["text_tower"].run, runners["text_tower"], {"tokens": tokens})
        )
        parity.film = {"least_cosine": min(cosines), "frames": len(pictures)}
        if min(cosines) < LEAST_COSINE:
            parity.faults.append(
                f"vectors have a cosine of {min(cosines):.4f} with torch's, accepted is "
                f"{LEAST_COSINE}"
            )

    return export(order, "clip", loaded, side_px, networks, recorded, judge, say, dense=mode)


def _pictures(loaded: Loaded, side_px: int, count: int) -> list[torch.Tensor]:
    film = CellFilm(CellFilmSpec(objects=8, width=side_px, height=side_px, fps=10.0, seed=3))
    mean, std = image_statistics(loaded.model.visual)
    device = torch.device("cpu")
    drawn = [film.frame().image.astype(np.uint8, copy=False) for _ in range(count)]
    return [to_input(image, (side_px, side_px), mean, std, device) for image in drawn]


def _least_cosine(reference: Runner, candidate: Runner, tensors: dict[str, torch.Tensor]) -> float:
    """Return how like the least like vectors are, of all outputs."""
    wanted, found = reference(tensors), candidate(tensors)
    return min(
        float(F.cosine_similarity(wanted[name], found[name], dim=-1).nan_to_num(-1.0).min())
        for name in wanted
    )
