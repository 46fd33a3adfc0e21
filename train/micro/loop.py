"""Run a trainer to its end: checkpoints, log, curves, looks at held-out data, polite stops."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.finder import MADE_FOR
from train.checkpoint import export_weights, load_checkpoint, save_checkpoint
from train.interrupts import asked_to_stop
from train.micro.trainer import Trainer
from train.progress import Reporter, curve_of, draw_curves, read_log

CHECKPOINT = "last.pt"
#: Measures the averaged weights, may draw pictures into a folder, returns figures for the log.
Look = Callable[[Trainer, Path], Mapping[str, float]]


@dataclass(frozen=True)
class Pace:
    """When a training writes, looks and ends.

    Attributes:
        save_every_s: seconds between two checkpoints.
        look_every: steps between two looks at held-out data.
        minutes: of wall clock after which it ends although steps are left; None for no such end.
        workers: processes that draw batches ahead.
    """

    save_every_s: float
    look_every: int
    minutes: float | None = None
    workers: int = 0


def train(
    trainer: Trainer, folder: Path, title: str, pace: Pace, look: Look, *, resume: bool
) -> bool:
    """Train until the steps or the minutes are used up, or someone stops it.

    The folder gets `last.pt`, `log.jsonl`, `loss.png` and the pictures of `look`; once all steps
    are done also `weights.safetensors`, the averaged weights in fp16, and the heads that the
    trainer keeps, which say what weights they are for.

    Args:
        trainer: at its start; a checkpoint in the folder is continued.
        folder: where everything goes.
        title: what is shown beside the bar.
        pace: when to write, look and end.
        look: measures held-out data.
        resume: whether a checkpoint in the folder is continued.

    Returns:
        Whether all steps are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if resume and (folder / CHECKPOINT).is_file():
        trainer.restore(load_checkpoint(folder / CHECKPOINT))
    first, steps = trainer.ranks.first, trainer.schedule.steps
    end = time.monotonic() + pace.minutes * 60 if pace.minutes is not None else None
    saved = time.monotonic()
    with (
        asked_to_stop() as stopping,
        Reporter(folder, title, resume_at=trainer.step, show=first) as reporter,
    ):
        for batch in trainer.batches(pace.workers):
            figures = trainer.advance(batch)
            if first:
                reporter.step(trainer.step, trainer.step / steps, figures)
            if first and (trainer.step % pace.look_every == 0 or trainer.step == steps):
                reporter.row({"step": trainer.step, **look(trainer, folder)})
                _draw(folder)
            now = time.monotonic()
            if first and now - saved > pace.save_every_s:
                save_checkpoint(folder / CHECKPOINT, trainer.state())
                saved = now
            late = end is not None and now > end
            if trainer.ranks.any(stopping() or late):
                break
    if first:
        save_checkpoint(folder / CHECKPOINT, trainer.state())
        _draw(folder)
    done = trainer.step >= steps
    if first and done:
        digest = export_weights(trainer.kept(), folder / "weights.safetensors")
        for name, weights in trainer.kept_heads().items():
            export_weights(weights, folder / f"{name}.safetensors", {MADE_FOR: digest})
    trainer.ranks.wait()
    if stopping():
        raise KeyboardInterrupt
    return done


def _draw(folder: Path) -> None:
    """Curves of everything in the log: what is minimised above, what is measured below."""
    rows = read_log(folder / "log.jsonl")
    names = sorted({name for row in rows for name in row} - {"step", "norm"})
    measured = [name for name in names if name.startswith("held_out_")]
    parts = [name for name in names if name not in measured and not name.startswith("log_")]
    panels = {
        "loss": {name: curve_of(rows, name) for name in parts if name == "loss"},
        "parts": {name: curve_of(rows, name) for name in parts if name != "loss"},
        "held out": {n.removeprefix("held_out_"): curve_of(rows, n) for n in measured},
    }
    draw_curves(folder / "loss.png", panels)
