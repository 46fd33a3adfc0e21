"""Steps that depend on seed and number alone, over interruptions and over processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.train.sam2.one_rank import first_gradients
from tests.train.sam2.scenes import SIDE, film, random_model, small_recipe, stills
from train.checkpoint import load_checkpoint, save_checkpoint
from train.ranks import Ranks
from train.sam2.clips import Pool
from train.sam2.recipe import Recipe
from train.sam2.trainer import Trainer

ROOT = Path(__file__).parents[3]


def trainer(recipe: Recipe) -> Trainer:
    pool = Pool(stills(), [film()], recipe, SIDE)
    return Trainer(random_model(), pool, recipe, Ranks(0, 1, torch.device("cpu")))


def test_resume_is_exact(tmp_path: Path) -> None:
    recipe = small_recipe(train="memory", ema=0.9, objects=1, frames=2, animate=0.3, corrections=0)
    whole = trainer(recipe)
    figures = []
    for number in range(6):
        figures.append(whole.advance())
        if number == 2:
            save_checkpoint(tmp_path / "last.pt", whole.state())
    rest = trainer(recipe)
    rest.restore(load_checkpoint(tmp_path / "last.pt"))
    assert rest.step == 3
    assert [rest.advance() for _ in range(3)] == figures[3:]
    assert len({f["loss"] for f in figures}) == 6
    assert whole.done() == rest.done() == 1.0
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
    for name, value in whole.weights().items():
        assert torch.equal(value, rest.weights()[name]), name


def test_the_rate_rises_and_falls() -> None:
    run = trainer(small_recipe(warmup=4, steps=100, lr=1e-3, final_lr=0.1))
    rates = []
    for run.step in range(101):
        rates.append(run.rate())
    assert rates[0] < rates[3] < rates[4]
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)
    timed = trainer(small_recipe(steps=None, minutes=2.0, warmup=0))
    timed.elapsed_s = 60.0
    assert timed.done() == 0.5


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    run = trainer(small_recipe())
    with torch.no_grad():
        run.model.sam_mask_decoder.iou_token.weight[0, 0] = float("nan")
    before = run.weights()
    run.advance()
    assert run.skipped == 1
    for name, value in run.weights().items():
        assert torch.equal(value.isnan(), before[name].isnan())
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num())


def test_computing_twice_changes_nothing() -> None:
    values = []
    for again in (True, False):
        recipe = small_recipe(train="all", frames=2, corrections=0, checkpointing=again)
        run = trainer(recipe)
        values.append([run.advance() for _ in range(2)])
    for one, other in zip(*values, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_equal_one_with_a_doubled_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.train.sam2.one_rank"]
    both = [
        subprocess.Popen(
            [*command, str(tmp_path / f"{rank}.pt")],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
        )
        for rank in (0, 1)
    ]
    alone = first_gradients(batch=2)
    try:
        assert [one.wait(timeout=280) for one in both] == [0, 0]
    finally:
        for one in both:
            one.kill()
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    largest = max(float(g.abs().max()) for g in alone.values())
    for name, value in alone.items():
        for one in found:
            assert torch.allclose(one[name], value, rtol=1e-3, atol=1e-5 * largest), name
    assert found[0].keys() == alone.keys()
