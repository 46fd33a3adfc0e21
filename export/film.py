"""What exported networks are tried on: a drawn film with objects that are followed through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engines.backends import Network, Runner, Running
from engines.backends.face import Tensors
from engines.backends.torch_backend import TorchRunner
from engines.build import RENDERED_PROMPTS
from engines.engine_folder import Engines
from engines.registry import default_cleanup, default_limits
from engines.tracker import Tracker
from stream.synth import CellFilm, CellFilmSpec

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
#: A prompt halfway: memory attention and the decoder then see corrections too.
CORRECTED_AT = 5


@dataclass
class Recorder:
    """Runs a network and keeps some of what it was given."""

    run: Runner
    most: int = 6
    seen: list[dict[str, torch.Tensor]] = field(default_factory=list)
    calls: int = 0

    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Run once, and keep the inputs of the first, second, fourth, eighth ... call."""
        self.calls += 1
        if self.calls & (self.calls - 1) == 0 and len(self.seen) < self.most:
            self.seen.append({name: tensor.clone() for name, tensor in tensors.items()})
        return self.run(tensors)


@dataclass(frozen=True)
class Film:
    """Pictures and boxes of objects in the first."""

    frames: list[Pixels]
    boxes: list[Box]

    def to_json(self) -> dict[str, int]:
        """Return what a report says of it."""
        return {"frames": len(self.frames), "objects": len(self.boxes)}


def drawn_film(side_px: int, frames: int, objects: int) -> Film:
    """Draw cells that move.

    Args:
        side_px: Side of the square pictures.
        frames: How many.
        objects: How many of the largest cells are followed.
    """
    spec = CellFilmSpec(objects=objects + 4, width=side_px, height=side_px, fps=10.0, seed=3)
    film = CellFilm(spec)
    drawn = [film.frame() for _ in range(frames)]
    ids, areas = np.unique(drawn[0].ids, return_counts=True)
    largest = sorted(zip(areas[ids > 0], ids[ids > 0], strict=True))[::-1][:objects]
    return Film(
        [frame.image.astype(np.uint8, copy=False) for frame in drawn],
        [_box(drawn[0].ids == i) for _, i in largest],
    )


def _box(mask: npt.NDArray[np.bool_]) -> Box:
    ys, xs = np.nonzero(mask)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def reference_runners(networks: Mapping[str, Network]) -> dict[str, Recorder]:
    """Return the networks in torch, float32, each with a recorder around it."""
    how = Running()
    return {name: Recorder(TorchRunner(net, "fp32", how)) for name, net in networks.items()}


def follow(
    name: str,
    model: Any,
    runners: Mapping[str, Runner] | None,
    film: Film,
    tick: Callable[[], None],
    precision: str = "fp32",
) -> list[dict[int, npt.NDArray[np.float32]]]:
    """Follow the objects of a film; all but the first get a box, it a click.

    Args:
        name: The model's.
        model: A `SAM2Base`.
        runners: What runs its networks; None for its own modules.
        film: The film.
        tick: Called after each frame.
        precision: What the model's own modules compute in.

    Returns:
        For each frame the logits (h, w) by object.
    """
    tracker = Tracker(
        model,
        precision=precision,
        rendered_prompts=name in RENDERED_PROMPTS,
        limits=default_limits(name),
        cleanup=default_cleanup(name),
        engines=Engines("", runners, "", {}) if runners is not None else None,
    )
    out = []
    for index, image in enumerate(film.frames):
        features = tracker.encode(image)
        if index == 0:
            _prompt(tracker, features, film.boxes)
        if index == CORRECTED_AT:
            tracker.add_object(len(film.boxes) - 1, index, features, box=film.boxes[-1])
        found = tracker.step(index, features)
        out.append({i: result.logits for i, result in found.items()})
        tick()
    return out


def _prompt(tracker: Tracker, features: Any, boxes: list[Box]) -> None:
    for number, box in enumerate(boxes):
        if number == 0:
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            tracker.add_object(number, 0, features, points=[middle], labels=[1])
        else:
            tracker.add_object(number, 0, features, box=box)
