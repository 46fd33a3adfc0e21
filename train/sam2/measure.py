"""How good a segmenter is on samples it was not trained on, through the tracker that runs live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from engines.build import RENDERED_PROMPTS, build_sam2
from engines.images import mask_in_frame
from engines.objects import ObjectMask, Prompt
from engines.registry import default_cleanup, default_limits
from engines.tracker import Tracker
from train.micro.sampling import box_of
from train.readers.samples import IGNORE, ImageSample, LabelledImage, VideoSample
from train.sam2.clicks import Region, correction, deepest_in
from train.sam2.recipe import Recipe
from train.sam2.warp import choose_motion, squeeze, warp

#: Corrective clicks after the first one at which IoU is taken.
CORRECTIONS = (1, 3)
#: Objects below this area in pixels of the image are not measured.
LEAST_PX = 16

Film = list[tuple[NDArray[np.uint8], NDArray[np.uint16]]]


@dataclass(frozen=True)
class HeldOut:
    """What is measured on.

    Attributes:
        name: shown in tables.
        images: single images.
        videos: films.
    """

    name: str
    images: Sequence[ImageSample] = ()
    videos: Sequence[VideoSample] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing."""
        return not self.images and not self.videos


@dataclass
class Means:
    """Values by name, and their means."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Take one value."""
        self.values.setdefault(name, []).append(value)

    def result(self) -> dict[str, float]:
        """Return name -> mean."""
        return {name: round(float(np.mean(v)), 4) for name, v in self.values.items()}


def live_tracker(recipe: Recipe, weights: dict[str, Tensor], device: str = "cpu") -> Tracker:
    """Put weights into a model of their own, wrapped as `maskcast run` wraps it.

    The model in training is left alone: what is cached in inference cannot be trained through.
    """
    model: SAM2Base = build_sam2(recipe.model, recipe.image_size)
    model.load_state_dict(weights)
    return Tracker(
        model,
        precision=recipe.precision,
        device=device,
        rendered_prompts=recipe.model in RENDERED_PROMPTS,
        limits=default_limits(recipe.model),
        cleanup=default_cleanup(recipe.model),
    )


def measure(tracker: Tracker, held: HeldOut, recipe: Recipe) -> dict[str, float]:
    """Measure IoU from prompts in single images, and J of followed objects over films.

    Without films, images that are moved stand in for them. Samples that cannot be read are left
    out.

    Returns:
        `objects`; `click`, `click+1`, `click+3` and `box`: mean IoU over objects; `films`, `J mask`
        and `J box`: mean IoU over the frames after the prompt, then over objects.
    """
    means = Means()
    objects = 0
    for image in _stills(held, recipe.eval_images):
        objects += _measure_image(tracker, image, recipe, means)
    films = 0
    for film in _films(held, recipe, tracker.image_size):
        films += 1
        for kind in ("mask", "box"):
            _measure_film(tracker, film, kind, recipe, means)
    return {"objects": float(objects), "films": float(films), **means.result()}


def score_of(figures: dict[str, float]) -> float:
    """What early stopping goes by: the mean of all IoUs, but the corrected ones."""
    names = [n for n in ("click", "box", "J mask", "J box") if n in figures]
    return float(np.mean([figures[n] for n in names])) if names else 0.0


def prompted_objects(ids: NDArray[np.uint16], most: int) -> list[int]:
    """Choose up to `most` objects of an image, always the same ones and of all sizes."""
    values, counts = np.unique(ids, return_counts=True)
    known = values[(values != 0) & (values != IGNORE) & (counts >= LEAST_PX)]
    order = np.random.default_rng(0).permutation(len(known))[:most]
    return sorted(int(known[i]) for i in order)


def found_in(result: ObjectMask, size: tuple[int, int]) -> Region:
    """Return a result as a (H, W) mask of the frame; nothing where the score says absent."""
    full = np.zeros(size, np.bool_)
    if result.object_score > 0:
        part, (x0, y0, x1, y1) = mask_in_frame(result.logits, size)
        full[y0:y1, x0:x1] = part
    return full


def iou_of(found: Region, truth: Region, valid: Region) -> float:
    """IoU over pixels that are known; two empty masks count as 1."""
    either = int(((found | truth) & valid).sum())
    return 1.0 if not either else float(((found & truth) & valid).sum() / either)


def _stills(held: HeldOut, most: int) -> Iterator[LabelledImage]:
    """Images, or the first and the middle frames of films where there are no images."""
    number = 0
    for image in held.images[:most]:
        yield from readable(lambda one=image: [one.load()])  # type: ignore[misc]
        number += 1
    for video in held.videos if not held.images else ():
        picks = sorted({0, video.frames // 2})
        if number + len(picks) > most:
            return
        yield from readable(lambda v=video, p=picks: v.load(p))  # type: ignore[misc]
        number += len(picks)


def readable(load: Callable[[], list[LabelledImage]]) -> list[LabelledImage]:
    """Load images with masks; none where a file went bad."""
    try:
        loaded = load()
    # A file that went bad is the training's to report; a measurement goes on without it.
    except Exception:
        return []
    return [image for image in loaded if image.ids is not None]


def _measure_image(tracker: Tracker, image: LabelledImage, recipe: Recipe, means: Means) -> int:
    ids = image.ids
    assert ids is not None
    valid, size = ids != IGNORE, (int(ids.shape[0]), int(ids.shape[1]))
    chosen = prompted_objects(ids, recipe.eval_objects)
    if not chosen:
        return 0
    tracker.reset()
    features = tracker.encode(image.image)
    for obj_id in chosen:
        truth = ids == obj_id
        result = tracker.add_object(obj_id, 0, features, box=box_of(truth))
        means.add("box", iou_of(found_in(result, size), truth, valid))
        tracker.remove_object(obj_id)
        x, y = deepest_in(truth)
        result = tracker.add_object(obj_id, 0, features, points=[(x, y)], labels=[1])
        means.add("click", iou_of(found_in(result, size), truth, valid))
        for number in range(1, max(CORRECTIONS) + 1):
            x, y, label = correction(truth, found_in(result, size), valid, None)
            if label >= 0:
                result = tracker.add_object(
                    obj_id, 0, features, points=[(x, y)], labels=[label], clear_old_points=False
                )
            if number in CORRECTIONS:
                means.add(f"click+{number}", iou_of(found_in(result, size), truth, valid))
        tracker.remove_object(obj_id)
    tracker.reset()
    return len(chosen)


def _films(held: HeldOut, recipe: Recipe, side: int) -> Iterator[Film]:
    if held.videos:
        for video in held.videos[: recipe.eval_films]:
            picks = list(range(min(video.frames, recipe.eval_frames)))
            frames = readable(lambda v=video, p=picks: v.load(p))  # type: ignore[misc]
            yield [(f.image, f.ids) for f in frames if f.ids is not None]
        return
    for number, image in enumerate(held.images[: recipe.eval_films]):
        for one in readable(lambda one=image: [one.load()]):  # type: ignore[misc]
            yield _moved(one, number, recipe.eval_frames, side)


def _moved(image: LabelledImage, seed: int, frames: int, side: int) -> Film:
    """Move an image, always in the same way."""
    assert image.ids is not None
    height, width = image.ids.shape
    picture, ids = squeeze(image.image, image.ids, (0, 0, width, height), side)
    rng = np.random.default_rng((97, seed))
    motion = choose_motion(rng, rotate_deg=0.0, flip="none", moves=True)
    images, marks = warp(picture.expand(frames, -1, -1, -1), ids.expand(frames, -1, -1), motion)
    pixels = (images * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return list(zip(pixels, marks.numpy().astype(np.uint16), strict=True))


def _measure_film(tracker: Tracker, film: Film, kind: str, recipe: Recipe, means: Means) -> None:
    if len(film) < 2:
        return
    size = (int(film[0][1].shape[0]), int(film[0][1].shape[1]))
    chosen = prompted_objects(film[0][1], recipe.eval_objects)
    if not chosen:
        return
    ious: dict[int, list[float]] = {obj_id: [] for obj_id in chosen}
    tracker.reset()
    for index, (image, ids) in enumerate(film):
        features = tracker.encode(image)
        if index == 0:
            truths = {obj_id: ids == obj_id for obj_id in chosen}
            tracker.add_objects(0, features, {i: _prompt(t, kind) for i, t in truths.items()})
        results = tracker.step(index, features)
        if index == 0:
            continue
        for obj_id in chosen:
            found = found_in(results[obj_id], size)
            ious[obj_id].append(iou_of(found, ids == obj_id, ids != IGNORE))
    tracker.reset()
    for values in ious.values():
        means.add(f"J {kind}", float(np.mean(values)))


def _prompt(truth: Region, kind: str) -> Prompt:
    return Prompt(mask=truth) if kind == "mask" else Prompt(box=box_of(truth))
