"""The training pass: prompts, corrections, what vanishes, and that it learns."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from tests.train.sam2.scenes import SIDE, film, random_model, small_recipe, stills
from train.sam2.clips import Clip, Pool
from train.sam2.following import Batch, FollowingLoss, Plan, choose_plan, collate
from train.sam2.parts import choose_parts
from train.sam2.recipe import Recipe

PLAIN = {"reverse": 0.0, "objects": 3, "max_stride": 1, "least_crop": 1.0, "rotate_deg": 0.0,
         "flip": "none", "colour": 0.0}  # fmt: skip


@cache
def clip(kind: str = "film") -> Clip:
    recipe = small_recipe(**PLAIN)
    frames = 1 if kind == "still" else 3
    return Pool(stills(), [film(frames=3)], recipe, SIDE).clip(
        kind, frames, np.random.default_rng(0)
    )


def rngs(count: int = 1) -> list[np.random.Generator]:
    return [np.random.default_rng((9, i)) for i in range(count)]


def follow(
    loss: FollowingLoss, batch: Batch, prompt: str, prompted: tuple[int, ...] = (0,)
) -> tuple[torch.Tensor, dict[str, tuple[float, int]]]:
    plan = Plan("film", len(batch.masks), prompt, prompted, 1)
    value, shown = loss(batch, plan, rngs(batch.valid.shape[1]), float(batch.objects))
    assert bool(torch.isfinite(value))
    return value, shown


@pytest.mark.parametrize("prompt", ["click", "box", "mask"])
def test_a_step_reaches_what_is_trained_and_nothing_else(prompt: str) -> None:
    model = random_model()
    trained = choose_parts(model, small_recipe(train="memory"))
    loss = FollowingLoss(model, small_recipe(train="memory"))
    value, shown = follow(loss, collate([clip()]), prompt, (0, 1))
    value.backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached <= set(trained)
    heads = {name.split(".")[0] for name in reached}
    assert {"sam_mask_decoder", "memory_attention", "memory_encoder"} <= heads
    assert ("mask_downsample" in heads) == (prompt == "mask")
    assert "iou_track" in shown
    assert (f"iou_{prompt}" in shown) == (prompt != "mask")
    assert ("iou_correct_1" in shown) == (prompt != "mask")


def test_what_vanishes_has_a_score_and_no_mask() -> None:
    shown = clip()
    gone = ~shown.masks.flatten(2).any(-1)
    assert gone.any()
    assert not gone[0].any()
    one = int(gone.any(0).int().argmax())
    alone = Clip(shown.images, shown.masks[:, one : one + 1], shown.valid, shown.name)
    model = random_model()
    recipe = small_recipe(weight_iou=0.0)
    tail = [t for t in range(3) if gone[t, one]]
    kept = Plan("film", 3, "mask", (0,), 0)
    value, figures = FollowingLoss(model, recipe)(collate([alone]), kept, rngs(), 1.0)
    count = sum(n for name, (_, n) in figures.items() if name == "iou_track")
    assert count == 2 - len(tail)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(50.0)
    sure, figures = FollowingLoss(model, recipe)(collate([alone]), kept, rngs(), 1.0)
    # To be sure of an object that is gone costs its score's cross-entropy.
    assert figures["loss_score"][0] > 30.0 * len(tail)
    assert sure > value


def test_ignored_pixels_change_nothing() -> None:
    shown = clip("still")
    loss = FollowingLoss(random_model(), small_recipe())
    free = torch.zeros_like(shown.valid)
    free[:, :, :100] = True
    masks = shown.masks & free[:, None]
    keep = masks[0].flatten(1).any(1)
    one = Clip(shown.images, masks[:, keep], free, "one")
    other = Clip(shown.images, (masks | ~free[:, None])[:, keep], free, "other")
    plan = Plan("still", 1, "box", (0,), 1)
    values = [loss(collate([c]), plan, rngs(), 1.0)[0].detach() for c in (one, other)]
    assert torch.equal(values[0], values[1])
    known = Clip(shown.images, other.masks, torch.ones_like(free), "known")
    assert not torch.equal(values[0], loss(collate([known]), plan, rngs(), 1.0)[0])


def test_a_batch_is_the_sum_of_its_clips() -> None:
    loss = FollowingLoss(random_model(), small_recipe())
    plan = Plan("still", 1, "box", (0,), 0)
    clips = [clip("still"), clip("still")]
    clips[1] = Clip(clips[1].images.flip(-1), clips[1].masks.flip(-1), clips[1].valid, "other")
    together = loss(collate(clips), plan, rngs(2), 1.0)[0]
    apart = [loss(collate([c]), plan, [rng], 1.0)[0] for c, rng in zip(clips, rngs(2), strict=True)]
    assert torch.allclose(together, apart[0] + apart[1], rtol=1e-4)


def test_a_few_steps_lower_the_loss_of_a_batch() -> None:
    model = random_model()
    recipe = small_recipe(train="all")
    choose_parts(model, recipe)
    loss = FollowingLoss(model, recipe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    batch, values = collate([clip()]), []
    for _ in range(6):
        value, _ = follow(loss, batch, "box")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.9 * values[0]


def plans(recipe: Recipe, images: bool, videos: bool) -> list[Plan]:
    return [choose_plan(recipe, images, videos, np.random.default_rng(seed)) for seed in range(300)]


def test_plans_follow_the_recipe() -> None:
    recipe = small_recipe(frames=4, prompted_frames=2, video=0.5, animate=0.5)
    found = plans(recipe, images=True, videos=True)
    assert {p.source for p in found} == {"still", "moved", "film"}
    assert {p.prompt for p in found} == {"box", "click", "mask"}
    for plan in found:
        assert plan.frames == (1 if plan.source == "still" else 4)
        assert plan.prompted[0] == 0
        assert len(plan.prompted) <= min(2, plan.frames)
        assert list(plan.prompted) == sorted(set(plan.prompted))
        assert plan.source != "still" or plan.prompt != "mask"
    share = np.mean([p.prompt == "mask" for p in found if p.frames > 1])
    assert 0.35 < share < 0.65
    assert {p.source for p in plans(recipe, images=True, videos=False)} == {"still", "moved"}
    assert {p.source for p in plans(recipe, images=False, videos=True)} == {"film"}
