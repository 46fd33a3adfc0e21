"""Clips drawn from images and films, and what is done to them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from stream.errors import UsageError
from tests.train.sam2.scenes import SIDE, film, picture, small_recipe, stills
from train.readers.samples import IGNORE, ImageSample, LabelledImage
from train.sam2.clips import Clip, Pool, TooManyBadError, choose_frames, choose_objects
from train.sam2.recipe import Recipe
from train.sam2.warp import Motion, choose_crop, choose_motion, cover, recolour, squeeze, warp


def pool(recipe: Recipe | None = None, images: list[ImageSample] | None = None) -> Pool:
    found = stills() if images is None else images
    return Pool(found, [film()], recipe or small_recipe(), SIDE)


def same(one: Clip, other: Clip) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.masks, other.masks)


@pytest.mark.parametrize(("kind", "frames"), [("still", 1), ("moved", 3), ("film", 3)])
def test_a_clip_depends_on_the_generator_alone(kind: str, frames: int) -> None:
    first = pool().clip(kind, frames, np.random.default_rng(5))
    assert first.images.shape == (frames, 3, SIDE, SIDE)
    assert first.images.dtype == torch.uint8
    assert first.masks.shape[2:] == first.valid.shape[1:] == (SIDE, SIDE)
    assert 1 <= first.masks.shape[1] <= 2
    assert bool((first.masks[0].flatten(1).sum(1) >= 16).all())
    assert not bool((first.masks & ~first.valid[:, None]).any())
    # What is bright is the object, wherever it was moved to.
    inside = first.images.float().mean(1)[first.masks.any(1)]
    assert float(inside.mean()) > float(first.images.float().mean())
    again = pool()
    again.clip("still", 1, np.random.default_rng(6))
    assert same(first, again.clip(kind, frames, np.random.default_rng(5)))


def test_an_object_that_vanishes_stays_in_the_clip() -> None:
    recipe = small_recipe(reverse=0.0, objects=3, max_stride=1, least_crop=1.0, rotate_deg=0)
    clip = Pool([], [film(frames=3)], recipe, SIDE).clip("film", 3, np.random.default_rng(0))
    areas = clip.masks.flatten(2).sum(-1)
    assert areas.shape == (3, 3)
    assert int((areas[1:] == 0).all(0).sum()) == 1


def bad() -> LabelledImage:
    raise OSError("the disk is gone")


def test_a_bad_sample_is_passed_over_and_counted() -> None:
    notes: list[str] = []
    images = [*stills(), ImageSample("broken", bad)]
    recipe = small_recipe()
    drawn = Pool(images, [], recipe, SIDE, notes.append)
    drawn.draws.count = 10_000
    for seed in range(12):
        assert drawn.clip("still", 1, np.random.default_rng(seed)).name != "broken"
    assert drawn.draws.failed == drawn.draws.names["broken"] > 1
    assert drawn.draws.count == 10_012 + drawn.draws.failed
    assert len(notes) == 1
    assert "broken: passed over" in notes[0]
    assert "the disk is gone" in notes[0]


def test_too_many_bad_samples_end_it() -> None:
    drawn = Pool([ImageSample("broken", bad)], [], small_recipe(), SIDE)
    with pytest.raises(TooManyBadError, match=r"6 of 6 draws failed .*--resume"):
        drawn.clip("still", 1, np.random.default_rng(0))


def test_images_without_objects_are_an_error_in_the_end() -> None:
    empty = ImageSample("empty", partial(picture, 0, 0, (1, 2, 3)))
    drawn = Pool([empty], [], small_recipe(), SIDE)
    with pytest.raises(UsageError, match="no object of at least 16 pixels at 128 px"):
        drawn.clip("still", 1, np.random.default_rng(0))
    assert drawn.draws.failed == 0


@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_frames_of_a_film(length: int) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        picks = choose_frames(length, 4, 3, 0.0, rng)
        assert len(picks) == 4
        assert all(0 <= p < length for p in picks)
        if length >= 4:
            steps = set(np.diff(picks))
            assert len(steps) == 1
            assert 1 <= steps.pop() <= 3
    turned = choose_frames(30, 4, 3, 1.0, np.random.default_rng(1))
    assert turned == sorted(turned, reverse=True)


def test_ignored_pixels_are_no_object() -> None:
    ids = torch.zeros(SIDE, SIDE, dtype=torch.int32)
    ids[:40], ids[50:53, 50:53], ids[60:90, 60:90] = IGNORE, 1, 2
    assert choose_objects(ids, 5, 16, np.random.default_rng(0)) == [2]


def test_crops_hold_an_object_and_squeezing_keeps_ids_in_place() -> None:
    shown = picture()
    assert shown.ids is not None
    for seed in range(20):
        box = choose_crop(shown.ids, 0.4, np.random.default_rng(seed))
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= SIDE
        assert 0 <= y0 < y1 <= SIDE
        assert shown.ids[y0:y1, x0:x1].any()
        image, ids = squeeze(shown.image, shown.ids, box, 64)
        assert image.shape == (3, 64, 64)
        assert float(image.mean(0)[ids > 0].mean()) > 0.6


def test_a_motion_takes_ids_along_and_ignores_what_lies_beyond() -> None:
    shown = picture()
    assert shown.ids is not None
    image, ids = squeeze(shown.image, shown.ids, (0, 0, SIDE, SIDE), SIDE)
    images, marks = (x.expand(3, *x.shape) for x in (image, ids))
    still, same_ids = warp(images, marks, Motion())
    assert torch.allclose(still, images, atol=1e-3)
    assert torch.equal(same_ids, marks.int())
    moved, moved_ids = warp(images, marks, Motion(drift=(0.25, 0.0)))
    # A quarter of half a side a frame: 16 pixels, to the left as the view goes right.
    assert torch.equal(moved_ids[1, :, :-16], ids[:, 16:].int())
    assert torch.allclose(moved[1, :, :, :-16], image[:, :, 16:], atol=1e-3)
    assert bool((moved_ids[1, :, -15:] == IGNORE).all())
    mirrored, mirrored_ids = warp(images, marks, Motion(mirror=(-1.0, 1.0)))
    assert torch.equal(mirrored_ids[0], ids.flip(-1).int())
    motion = choose_motion(np.random.default_rng(3), rotate_deg=40, flip="both", moves=True)
    bent, _ = warp(images, marks, motion)
    assert float(bent.min()) >= 0.0
    assert mirrored.shape == bent.shape == images.shape


def test_a_cover_hides_one_object_for_a_while() -> None:
    shown = picture()
    assert shown.ids is not None
    image, ids = squeeze(shown.image, shown.ids, (0, 0, SIDE, SIDE), SIDE)
    images, marks = image.expand(4, -1, -1, -1), ids.expand(4, -1, -1)
    for seed in range(8):
        _, found = cover(images, marks, np.random.default_rng(seed))
        assert torch.equal(found[0], ids)
        areas = {i: [(f == i).sum() / (ids == i).sum() for f in found] for i in (1, 2, 3)}
        hidden = [i for i, a in areas.items() if min(a) < 0.5]
        assert len(hidden) == 1
    assert torch.equal(marks[1], ids)


def test_colours_change_alike_in_all_frames() -> None:
    images = torch.rand(1, 3, 16, 16).expand(3, -1, -1, -1)
    out = recolour(images, 0.2, np.random.default_rng(1))
    assert not torch.allclose(out, images, atol=0.02)
    assert float((out[0] - out[1]).abs().mean()) < 0.1
    assert torch.equal(recolour(images, 0.0, np.random.default_rng(1)), images)


def test_what_is_not_to_be_forgotten_is_drawn_as_well() -> None:
    old = [ImageSample("circle0", partial(picture, 9))]
    recipe = small_recipe(replay_share=0.4)
    mixed = Pool(stills(1), [film()], recipe, SIDE, replay=(old, ()))
    # Names may be equal in two sets; the pictures are not.
    news = {id(s) for s in mixed.images}
    picks = [mixed._sample("still", np.random.default_rng(seed)) for seed in range(200)]
    share = np.mean([id(sample) not in news for sample in picks])
    assert 0.25 < share < 0.55
    assert mixed._sample("film", np.random.default_rng(0)).name == "film"
    bright = Pool(stills(1), [], small_recipe(replay_share=1.0), SIDE, replay=(old, ()))
    bright.clip("still", 1, np.random.default_rng(0))
    assert set(bright._cache._kept) == {(id(old[0]), 0)}
