"""Held-out samples drawn with their true contours and what was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from engines.tracker import Tracker
from train.micro.sampling import box_of
from train.readers.samples import LabelledImage
from train.sam2.clicks import Region, deepest_in
from train.sam2.measure import HeldOut, found_in, prompted_objects, readable

TILE_PX = 192
_TRUE = np.array([255, 255, 255], np.uint8)


def draw_samples(
    tracker: Tracker, held: HeldOut, path: Path, images: int = 6, objects: int = 4
) -> None:
    """Draw what is found from one click, above, and from a box, below, in some held-out images.

    The true contour is white, what was found is coloured.

    Args:
        tracker: The model.
        held: The samples; those that cannot be read are left out.
        path: The PNG.
        images: At most.
        objects: Of an image, at most.
    """
    columns = []
    for sample in _some(held, images):
        columns.append(_column(tracker, sample, objects))
    if columns:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(columns, axis=1)).save(path)


def _some(held: HeldOut, images: int) -> list[LabelledImage]:
    found: list[LabelledImage] = []
    loads: list[Callable[[], list[LabelledImage]]] = [
        *(lambda one=image: [one.load()] for image in held.images),
        *(lambda one=video: one.load([0]) for video in held.videos),
    ]
    for load in loads:
        if len(found) == images:
            break
        found += [one for one in readable(load) if prompted_objects(_ids(one), 1)]
    return found


def _column(tracker: Tracker, sample: LabelledImage, objects: int) -> NDArray[np.uint8]:
    ids = _ids(sample)
    size = (int(ids.shape[0]), int(ids.shape[1]))
    tracker.reset()
    features = tracker.encode(sample.image)
    chosen = prompted_objects(ids, objects)
    found: dict[str, list[Region]] = {"click": [], "box": []}
    for obj_id in chosen:
        truth = ids == obj_id
        result = tracker.add_object(obj_id, 0, features, points=[deepest_in(truth)], labels=[1])
        found["click"].append(found_in(result, size))
        tracker.remove_object(obj_id)
        result = tracker.add_object(obj_id, 0, features, box=box_of(truth))
        found["box"].append(found_in(result, size))
        tracker.remove_object(obj_id)
    tracker.reset()
    tiles = [
        _tile(sample.image, [ids == obj_id for obj_id in chosen], masks) for masks in found.values()
    ]
    return np.concatenate(tiles, axis=0)


def _ids(sample: LabelledImage) -> NDArray[np.uint16]:
    assert sample.ids is not None
    return sample.ids


def _tile(image: NDArray[np.uint8], truths: list[Region], found: list[Region]) -> NDArray[np.uint8]:
    shape = (TILE_PX, TILE_PX)
    canvas = np.array(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR))
    colours = np.random.default_rng(5).uniform(60, 255, (len(found), 3))
    for mask, colour in zip(found, colours, strict=True):
        inside = _small(mask, shape)
        canvas[inside] = (0.5 * canvas[inside] + 0.5 * colour).astype(np.uint8)
    for truth in truths:
        inside = _small(truth, shape)
        canvas[inside & ~binary_erosion(inside)] = _TRUE
    canvas[:, :2] = canvas[:2] = 30
    return canvas


def _small(mask: Region, shape: tuple[int, int]) -> Region:
    return np.array(Image.fromarray(mask).resize(shape, Image.Resampling.NEAREST))
