"""What the refiner learns: windows of its objects, poor masks in them, and that it gets better."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.closeups import SIDE_PX, WIDER_PX
from engines.eight_bit import unpacked
from engines.refiner import WIDER_CHANNELS, Refiner
from tests.train.micro.microscenes import discs
from train.micro.again import seen_again
from train.micro.patches import patches_of
from train.micro.pool import Pool
from train.micro.recipe import RefinerPart
from train.micro.refiner import RefinerLook, RefinerTrainer, _order
from train.micro.refining import BOXED, CLICKED, DISCS, Examples, examples_of
from train.ranks import Ranks

SMALL = RefinerPart(steps=40, warmup=2, pictures=2, objects=4, shape_share=0.0, average=0.5)


def some(seed: int = 3, pictures: int = 2) -> Examples:
    """Windows of discs of 25 px, as they are or nearly."""
    rng = np.random.default_rng(seed)
    patches = [one for n in range(pictures) for one in patches_of(discs(seed=n), 4, rng)]
    return examples_of(patches, rng)


@cache
def many() -> Examples:
    return some(0, 80)


def test_windows_show_their_object() -> None:
    drawn = many()
    inputs, target = drawn.inputs, drawn.target
    assert inputs.shape == (320, 6, SIDE_PX, SIDE_PX)
    assert drawn.wider.shape == (320, WIDER_CHANNELS, WIDER_PX, WIDER_PX)
    inside = target > 0.5
    # The discs are bright, and half as wide as the window where their box was given.
    # In most: some are shown as negatives.
    grey = inputs[:, :3].mean(1)
    pairs = zip(grey, inside, strict=True)
    brighter = [bool(one[mask].mean() > one[~mask].mean() + 0.5) for one, mask in pairs]
    assert 0.6 < np.mean(brighter) < 0.95
    boxed = inputs[:, 4].flatten(1).any(1)
    wide = target[boxed].amax(1).round().sum(1) / SIDE_PX
    assert float(wide.median()) == pytest.approx(0.5, abs=0.05)


def test_ways_come_as_often_as_they_should() -> None:
    inputs = many().inputs
    boxed, clicked = (inputs[:, place].flatten(1).any(1) for place in (4, 5))
    assert float(boxed.float().mean()) == pytest.approx(BOXED, abs=0.08)
    assert float((clicked & ~boxed).float().mean()) > CLICKED


def test_a_given_box_holds_its_object() -> None:
    drawn = many()
    inputs, target = drawn.inputs, drawn.target
    boxed = inputs[:, 4].flatten(1).any(1)
    held = ((target > 0.5) & (inputs[:, 4] > 0.5)).flatten(1).sum(1)
    share = held[boxed] / (target > 0.5).flatten(1).sum(1)[boxed]
    assert float(share.min()) > 0.8
    assert float(share.median()) > 0.97


def test_clicks_lie_on_their_object() -> None:
    drawn = many()
    inputs, target = drawn.inputs, drawn.target
    clicked = inputs[:, 5].flatten(1).amax(1) > 0
    at = inputs[:, 5].flatten(1).argmax(1)
    under = target.flatten(1).gather(1, at[:, None])[:, 0]
    assert float((under[clicked] > 0.3).float().mean()) > 0.95


def test_masks_are_like_the_object_but_not_the_same() -> None:
    drawn = many()
    inputs, target = drawn.inputs, drawn.target
    masked = ~drawn.given[:, 0].isnan() | drawn.clicks[:, 0].isnan()
    mask, true = inputs[masked, 3] > 0, target[masked] > 0.5
    iou = (mask & true).flatten(1).sum(1) / (mask | true).flatten(1).sum(1)
    assert 0.4 < float(iou.mean()) < 0.9


def test_most_clicks_begin_with_a_disc_around_them() -> None:
    drawn = many()
    rows = drawn.clicked()
    mask, at = drawn.inputs[rows, 3] > 0, drawn.inputs[rows, 5].flatten(1).argmax(1)
    area = mask.flatten(1).sum(1)
    reach = (mask.any(1).sum(1), mask.any(2).sum(1))
    round_ = (area - torch.pi / 4 * reach[0] * reach[1]).abs() < 0.04 * area
    middle = torch.full_like(at, SIDE_PX // 2)
    central = ((at // SIDE_PX - middle).abs() <= 1) & ((at % SIDE_PX - middle).abs() <= 1)
    assert float((round_ & central).float().mean()) == pytest.approx(DISCS, abs=0.1)


def test_areas_are_of_the_whole_object_also_where_the_window_shows_a_part() -> None:
    drawn = many()
    seen = drawn.target.flatten(1).sum(1)
    assert bool((drawn.areas > seen - 0.05 * drawn.areas).all())
    assert bool((drawn.areas > 1.5 * seen).any())
    whole = (drawn.target[:, [0, -1]] == 0).flatten(1).all(1)
    whole &= (drawn.target[:, :, [0, -1]] == 0).flatten(1).all(1)
    torch.testing.assert_close(drawn.areas[whole], seen[whole], rtol=0.05, atol=2.0)


def test_the_same_step_draws_the_same() -> None:
    trainer = RefinerTrainer(Pool([discs(seed=1)], []), SMALL, 0, Ranks(0, 1, torch.device("cpu")))
    assert torch.equal(trainer.draw(3).inputs, trainer.draw(3).inputs)
    assert trainer.draw(3).inputs.shape != trainer.draw(4).inputs.shape or not torch.equal(
        trainer.draw(3).inputs, trainer.draw(4).inputs
    )


def test_masks_come_nearer_to_the_truth() -> None:
    pool = Pool([discs(seed=1), discs(seed=2)], [])
    trainer = RefinerTrainer(pool, SMALL, 0, Ranks(0, 1, torch.device("cpu")))
    first = [trainer.advance(trainer.draw(step))["loss"] for step in range(3)]
    last = [trainer.advance(trainer.draw(trainer.step))["loss"] for _ in range(37)][-3:]
    assert np.mean(last) < 0.6 * np.mean(first)


def test_a_look_measures_each_way(tmp_path: Path) -> None:
    pool = Pool([discs(seed=1)], [])
    trainer = RefinerTrainer(pool, SMALL, 0, Ranks(0, 1, torch.device("cpu")))
    found = RefinerLook(pool, pictures=12)(trainer, tmp_path)
    ways = [f"held_out_{way}_iou" for way in ("before", "box", "click", "mask")]
    assert set(found) == {*ways, "held_out_judge_error"}
    assert (tmp_path / "samples" / "step_000000.png").is_file()


def test_what_is_kept_is_in_eight_bits_and_draws_the_same() -> None:
    trainer = RefinerTrainer(Pool([discs()], []), SMALL, 0, Ranks(0, 1, torch.device("cpu")))
    kept = trainer.kept()
    assert kept["stem.weight"].dtype == torch.int8
    again = Refiner()
    again.load_state_dict(unpacked(kept))
    batch = trainer.draw(0)
    with torch.inference_mode():
        own, other = (one(batch.inputs, batch.wider).logits for one in (trainer.model, again))
    torch.testing.assert_close(own, other, atol=0.03 * float(own.abs().max()), rtol=0.0)


def test_the_second_look_is_around_what_was_drawn() -> None:
    """Drawn half as wide as it is, an object is seen twice as large, by the same click."""
    drawn = some(pictures=16)
    rows = drawn.clicked()
    assert 0 < len(rows) < len(drawn.inputs)
    true = drawn.target[rows] > 0.5
    # Those seen whole, and large enough to be drawn well: discs show a part of some, others small.
    within = true[:, 1:-1, 1:-1].sum(dim=(1, 2)) == true.sum(dim=(1, 2))
    fit = within & (true.any(1).sum(1) > 20)
    assert int(fit.sum()) > 3
    rows, true = rows[fit], true[fit]
    exact = seen_again(drawn, rows, true.float() - 0.5)
    inside = exact.target > 0.5
    wide = torch.maximum(inside.any(1).sum(1), inside.any(2).sum(1)) / SIDE_PX
    assert float(wide.min()) > 0.4
    assert float(wide.max()) < 0.6
    own = exact.inputs[:, 3] > 0
    assert float((own == (exact.target > 0.5)).float().mean()) > 0.98
    assert torch.equal(exact.clicks, drawn.clicks[rows])
    at_click = (exact.target > 0.5)[exact.inputs[:, 5] > 0.95]
    assert bool(at_click.all())
    half = torch.zeros_like(true)
    for mask, kept in zip(true, half, strict=True):
        lines, columns = mask.nonzero().T
        y, x = int(lines.float().mean()), int(columns.float().mean())
        reach = int((columns.amax() - columns.amin() + 1) // 4)
        kept[y - reach : y + reach, x - reach : x + reach] = True
    closer = seen_again(drawn, rows, half.float() - 0.5)
    assert float((closer.target > 0.5).float().mean()) > 0.6


def test_where_nothing_was_drawn_the_window_stays() -> None:
    drawn = some()
    rows = drawn.clicked()
    again = seen_again(drawn, rows, torch.full_like(drawn.target[rows], -1.0))
    torch.testing.assert_close(again.windows, drawn.windows[rows])
    torch.testing.assert_close(again.target, drawn.target[rows])
    assert bool((again.inputs[:, 3] == -1).all())


def test_after_some_steps_it_learns_from_its_own_drawings() -> None:
    pool = Pool([discs()], [])
    part = SMALL.model_copy(update={"steps": 4, "own_from": 2})
    trainer = RefinerTrainer(pool, part, 0, Ranks(0, 1, torch.device("cpu")))
    batch = trainer.draw(0)
    assert trainer._with_own(batch) is batch
    trainer.step = 2
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.zero_()
        trainer.model.last.bias.fill_(1.0)  # draws everything
    own = trainer._with_own(batch)
    rows = batch.clicked()[::2]
    assert bool((own.inputs[rows, 3] > 0).float().mean() > 0.2)
    others = [row for row in range(len(batch.inputs)) if row not in rows.tolist()]
    assert torch.equal(own.inputs[others], batch.inputs[others])
    assert not torch.equal(own.target[rows], batch.target[rows])


def test_each_look_at_a_patch_has_the_same_click_and_another_mask() -> None:
    rng = np.random.default_rng(5)
    patches = patches_of(discs(seed=1), 8, rng) * 3
    drawn = examples_of(patches, rng, looks=2)
    count = len(patches)
    assert len(drawn.inputs) == 2 * count
    rows = drawn.clicked()
    assert torch.equal(rows[rows < count] + count, rows[rows >= count])
    assert len(rows) > 0
    for row in rows[rows < count].tolist():
        assert torch.equal(drawn.clicks[row], drawn.clicks[row + count])
        assert drawn.patches[row] is drawn.patches[row + count]
        # Two discs look the same, each in a window of its own size.
        assert not torch.equal(drawn.windows[row], drawn.windows[row + count])


def test_the_judge_is_told_which_drawing_of_an_object_is_better() -> None:
    quality = torch.tensor([1.0, 0.0, 0.0, -1.0, 0.0, 0.0], requires_grad=True)
    better = torch.tensor([0.9, 0.5, 0.4, 0.5, 0.5, 0.8])
    clicked = torch.tensor([0, 2, 3, 5])
    right = _order(quality, better, clicked)
    turned = _order(-quality, better, clicked)
    assert bool(right.detach() < turned.detach())
    right.backward()
    assert quality.grad is not None
    # What is better rises, the more so the more it is; drawings without a click stay out.
    assert quality.grad[0] < 0 < quality.grad[3]
    assert quality.grad[2] > 0 > quality.grad[5]
    assert quality.grad[1] == quality.grad[4] == 0
    assert _order(quality, better, clicked[:0]).item() == 0.0


def test_the_rate_rises_and_falls_a_second_time() -> None:
    part = SMALL.model_copy(update={"restarts": (20,), "later_rate": 1e-3})
    pool, ranks = Pool([discs()], []), Ranks(0, 1, torch.device("cpu"))
    schedule = RefinerTrainer(pool, part, 0, ranks).schedule
    assert schedule.rate_at(19) < 1e-4 < schedule.rate_at(22)
    assert schedule.rate_at(22) <= 1e-3
    once = part.model_copy(update={"restarts": (40,)})
    assert RefinerTrainer(pool, once, 0, ranks).schedule.restarts == ()


def test_what_is_kept_lies_between_the_ends_of_the_last_two_rounds() -> None:
    part = SMALL.model_copy(update={"restarts": (3,), "later_rate": 1e-3})
    pool, ranks = Pool([discs(seed=1)], []), Ranks(0, 1, torch.device("cpu"))
    trainer = RefinerTrainer(pool, part, 0, ranks)
    for step in range(3):
        trainer.advance(trainer.draw(step))
    first = {name: value.clone() for name, value in trainer.average.shadow.items()}
    assert all(torch.equal(value, first[name]) for name, value in trainer.between().items())
    trainer.advance(trainer.draw(3))
    again = RefinerTrainer(pool, part, 1, ranks)
    again.restore(trainer.state())
    for one in (trainer, again):
        name, now = "stem.weight", one.average.shadow["stem.weight"]
        assert not torch.equal(now, first[name])
        torch.testing.assert_close(one.between()[name], (now + first[name]) / 2)
    kept, between = unpacked(trainer.kept()), trainer.between()
    drift = {name: float((kept[name] - between[name]).abs().max()) for name in between}
    assert max(drift.values()) < 0.02
    again.restore({key: value for key, value in trainer.state().items() if key != "round_began"})
    assert torch.equal(again.between()["stem.weight"], trainer.average.shadow["stem.weight"])
