"""The way through a training: checkpoints, looks, ends, and going on."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from train.checkpoint import load_checkpoint
from train.micro.loop import Pace, train
from train.micro.trainer import Schedule, Trainer
from train.ranks import Ranks

PACE = Pace(save_every_s=1e9, look_every=2)


class Line(Trainer):
    """Fits one number to the step's own number."""

    def __init__(self, steps: int, stop_at: int = -1) -> None:
        schedule = Schedule(steps, 0.1, 0, 0.0, 0.5)
        alone = Ranks(0, 1, torch.device("cpu"))
        super().__init__(nn.Linear(1, 1, bias=False), nn.Identity(), schedule, 0, alone)
        self.drawn: list[int] = []
        self.stop_at = stop_at

    def draw(self, step: int) -> Tensor:
        self.drawn.append(step)
        if step == self.stop_at:
            signal.raise_signal(signal.SIGTERM)  # to this thread: at once
        return torch.tensor([[float(step)]])

    def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, float]]:
        return (self.model(batch).float() - 1.0).square().mean(), {"part": float(batch)}


def look(trainer: Trainer, folder: Path) -> Mapping[str, float]:
    return {"held_out_weight": float(trainer.average.shadow["weight"])}


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_whole_training(tmp_path: Path) -> None:
    assert train(Line(5), tmp_path, "line", PACE, look, resume=True)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 5
    assert (tmp_path / "weights.safetensors").is_file()
    assert (tmp_path / "loss.png").is_file()
    assert [row["step"] for row in rows(tmp_path) if "held_out_weight" in row] == [2, 4, 5]


def test_minutes_end_it_and_the_next_call_goes_on(tmp_path: Path) -> None:
    short = Pace(save_every_s=1e9, look_every=100, minutes=1e-9)
    assert not train(Line(3), tmp_path, "line", short, look, resume=True)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 1
    assert not (tmp_path / "weights.safetensors").exists()
    rest = Line(3)
    assert train(rest, tmp_path, "line", PACE, look, resume=True)
    assert rest.drawn == [1, 2]


def test_a_signal_ends_after_the_step_and_saves_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(Line(9, stop_at=2), tmp_path, "line", PACE, look, resume=True)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_checkpoints_on_the_way(tmp_path: Path) -> None:
    class Breaks(Line):
        def loss(self, batch: Tensor) -> tuple[Tensor, dict[str, float]]:
            if self.step == 3:
                raise RuntimeError("power cut")
            return super().loss(batch)

    always = Pace(save_every_s=0.0, look_every=100)
    with pytest.raises(RuntimeError, match="power cut"):
        train(Breaks(9), tmp_path, "line", always, look, resume=True)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 3
