"""The tracker and the official predictor side by side: one film, one set of weights, one script."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.build import build_sam2
from engines.features import Features
from engines.late import CatchUp
from engines.objects import ObjectMask, Prompt
from engines.tracker import Tracker
from tests.support.official import (
    Frame,
    Official,
    Result,
    build_official,
    encode,
    make_sensitive,
)

COUNT = 18
COVERED = frozenset({7, 8, 13})
"""Frames of a film of `COUNT` in which a shutter hides everything."""
# Logits spread over -20 to 20. What is remembered is rounded: memories to bfloat16, prompted masks
# to 0 or 1. There a last bit of float32 can tip a value to its neighbour; one pixel of a mask that
# tips moves the logits of later frames by up to 0.003.
ATOL, RTOL = 4e-3, 1e-3
CLEARLY = 10 * ATOL
"""A difference of logits that no rounding explains."""


def film(image_size: int, count: int = COUNT, covered: Collection[int] = COVERED) -> list[Frame]:
    """A textured disc that crosses a textured ground, uint8 RGB, under a shutter now and then."""
    rng = np.random.default_rng(5)
    ground, body, shutter = (_texture(rng, image_size) for _ in range(3))
    frames = []
    for index in range(count):
        inside = disc(image_size, index)[..., None]
        image = np.where(inside, 90 + 0.6 * np.roll(body, 3 * index, 1), 0.6 * ground)
        image = 255 - shutter if index in covered else image + rng.normal(0, 6, image.shape)
        frames.append(image.clip(0, 255).astype(np.uint8))
    return frames


def at(image_size: int, index: int) -> tuple[float, float]:
    """Centre of the disc of `film`, (x, y) in pixels."""
    return (0.3 + 0.02 * index) * image_size, (0.45 + 0.01 * index) * image_size


def disc(image_size: int, index: int) -> npt.NDArray[np.bool_]:
    """(H, W): where the disc of `film` is."""
    x, y = at(image_size, index)
    ys, xs = np.mgrid[:image_size, :image_size]
    inside: npt.NDArray[np.bool_] = np.hypot(xs - x, ys - y) < 0.15 * image_size
    return inside


def click(image_size: int, index: int = 0) -> Prompt:
    """A click on the disc."""
    return Prompt(points=[at(image_size, index)], labels=[1])


def box(image_size: int, index: int = 0) -> Prompt:
    """A box around the disc."""
    (x, y), radius = at(image_size, index), 0.15 * image_size
    return Prompt(box=(x - radius, y - radius, x + radius, y + radius))


def mask(image_size: int, index: int = 0) -> Prompt:
    """The disc as a mask."""
    return Prompt(mask=disc(image_size, index))


def _texture(rng: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    """(side, side, 3) in 0..255, the same picture at any size."""
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 16, 16)))
    fine = F.interpolate(coarse, size=(side, side), mode="bicubic")
    return fine[0].permute(1, 2, 0).numpy()


@dataclass(repr=False)
class Pair:
    """The official predictor, our model with the same weights, and a film encoded by each."""

    predictor: Any
    model: Any
    encoded: dict[int, Any]
    features: list[Features]

    @classmethod
    def of(
        cls, predictor: Any, name: str, frames: list[Frame], encoded: dict[int, Any], own: int
    ) -> Pair:
        """Give our model the predictor's weights.

        Args:
            predictor: The official one.
            name: Name of the model.
            frames: The film.
            encoded: The film as the predictor encoded it.
            own: How many frames our side encodes as well; the others are shared, to save time.
        """
        model = build_sam2(name, predictor.image_size)
        model.load_state_dict(predictor.state_dict())
        tracker = Tracker(model)
        features = [tracker.encode(frame) for frame in frames[:own]]
        for index in range(own, len(frames)):
            quarter, half, top = encoded[index][1]["backbone_fpn"]
            features.append(Features(top, half, quarter, frames[index].shape[:2]))
        return cls(predictor, model, encoded, features)

    def moved(self, image_size: int, count: int) -> Pair:
        """The same weights at another image size."""
        predictor = build_official("sam2.1-tiny", image_size)
        predictor.load_state_dict(self.predictor.state_dict())
        frames = film(image_size, count)
        return Pair.of(predictor, "sam2.1-tiny", frames, encode(predictor, frames), own=1)


def sensitive_pair(
    name: str,
    image_size: int,
    count: int,
    covered: Collection[int],
    *,
    rounds: int = 1,
    own: int = 1,
) -> Pair:
    """A pair with sensitive weights; see `make_sensitive` and `Pair.of`."""
    predictor = build_official(name, image_size)
    frames = film(image_size, count, covered)
    prompts = [make(image_size) for make in (click, box, mask)]
    encoded = make_sensitive(predictor, frames, covered, prompts, rounds=rounds)
    return Pair.of(predictor, name, frames, encoded, own)


@cache
def tiny() -> Pair:
    """`sam2.1-tiny` at 256 px, with the film of `COUNT` frames; made once."""
    return sensitive_pair("sam2.1-tiny", 256, COUNT, COVERED, rounds=2, own=COUNT)


@contextmanager
def changed(model: Any, name: str, value: torch.Tensor) -> Iterator[None]:
    """Put another value into one of a model's parameters for a while."""
    parameter = model.get_parameter(name)
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one core: layers this small gain nothing from two, and runs side by side lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(repr=False)
class Both:
    """One object in both, through the same script; every result is compared as it comes."""

    pair: Pair
    tracker: Tracker
    official: Official = field(init=False)
    visible: int = 0
    """Frames so far with a mask that is neither empty nor full."""
    hidden: int = 0
    """Frames so far in which the object was found to be absent."""

    def __post_init__(self) -> None:
        self.official = Official(self.pair.predictor, self.pair.encoded)

    def prompt(
        self,
        index: int,
        prompt: Prompt,
        *,
        clear_old_points: bool = True,
        catch_up: CatchUp = "jump",
    ) -> None:
        """Prompt in a frame: the next one, the last one, or one gone by."""
        theirs = self.official.prompt(index, prompt, clear_old_points=clear_old_points)
        last = self.tracker.last_frame
        late = last is not None and index < last
        ours = self.tracker.add_objects(
            index,
            None if late else self.pair.features[index],
            {1: prompt},
            clear_old_points=clear_old_points,
            catch_up=catch_up,
        )
        self.compare(ours[1], theirs, f"prompt in frame {index}")
        if late and catch_up == "replay":
            theirs = self.official.propagate(index, last)[-1]
            again = self.tracker.step(last, self.pair.features[last])
            self.compare(again[1], theirs, f"frame {last} after the replay")

    def track(self, first: int, last: int) -> None:
        """Step through frames `first` to `last`."""
        theirs = self.official.propagate(first, last)
        for index, result in zip(range(first, last + 1), theirs, strict=True):
            ours = self.tracker.step(index, self.pair.features[index])
            self.compare(ours[1], result, f"frame {index}")

    def compare(self, ours: ObjectMask, theirs: Result, where: str) -> None:
        """Compare all that a frame gives."""
        assert_same(ours, theirs, where)
        area = (theirs.logits > 0).float().mean().item()
        self.hidden += theirs.object_score < 0
        self.visible += 0.02 < area < 0.98


def assert_same(ours: ObjectMask, theirs: Result, where: str) -> None:
    """Compare logits, pointer, predicted IoU and object score."""
    for name, mine, other in (
        ("logits", ours.logits, theirs.logits),
        ("pointer", ours.pointer, theirs.pointer),
        ("iou", ours.iou, theirs.iou),
        ("object score", ours.object_score, theirs.object_score),
    ):
        torch.testing.assert_close(
            torch.as_tensor(mine),
            torch.as_tensor(other),
            atol=ATOL,
            rtol=RTOL,
            check_dtype=False,
            msg=lambda text, name=name: f"{where}, {name}: {text}",
        )
