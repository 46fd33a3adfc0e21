"""The whole fine-tuning: look at the data, measure, train, measure again, write the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engines.errors import ModelError
from engines.registry import Loaded, load_sam2
from stream.errors import UsageError
from train.checkpoint import load_checkpoint, save_checkpoint
from train.folder import LAST, prepare_folder
from train.progress import Reporter
from train.ranks import Ranks, join
from train.readers import Dataset
from train.sam2.clips import Pool
from train.sam2.material import Material
from train.sam2.measure import live_tracker, measure, score_of
from train.sam2.pictures import draw_samples
from train.sam2.recipe import Recipe
from train.sam2.result import blend, draw_log, write_result
from train.sam2.trainer import Trainer

BEST = "best.pt"
#: What a resumed training may have otherwise; where the data lies is compared by name.
_FREE_TO_CHANGE = (
    "data", "test", "replay", "minutes", "patience", "wise", "device", "checkpointing", "threads",
    "cache_mb", "save_every_s",
)  # fmt: skip


@dataclass
class Outcome:
    """How a fine-tuning ended.

    Attributes:
        folder: where the result is.
        finished: False where it was asked to stop; `--resume` goes on.
        steps: optimiser steps so far.
        before: figures of the weights it began with.
        after: of the result; empty where it did not finish.
        passed_over: samples that could not be read while training.
    """

    folder: Path
    finished: bool
    steps: int
    before: dict[str, dict[str, float]] = field(default_factory=dict)
    after: dict[str, dict[str, float]] = field(default_factory=dict)
    passed_over: int = 0


def fine_tune(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    show: bool = True,
    told: Callable[[Dataset], None] = lambda _: None,
) -> Outcome:
    """Fine-tune a SAM2 model.

    Args:
        recipe: What to do.
        folder: Where the result, the log and the checkpoints go.
        resume: Go on from the folder's checkpoint.
        stop: Asked after each step; when it says so, a checkpoint is written and the training ends.
        show: Whether progress is shown, on stderr.
        told: Told of the data set, once it was looked through.

    Raises:
        UsageError: The recipe, the data set, the model or the folder cannot be used.
    """
    recipe = recipe.resolved()
    ranks = join(recipe.device)
    try:
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        prepare_folder(folder, resume, "samples")
        data = Material(recipe)
        if ranks.first:
            told(data.dataset)
        loaded = _load(recipe)
        recipe = recipe.model_copy(update={"image_size": int(loaded.model.image_size)})
        run = _Run(recipe, folder, ranks, data, loaded, show=show and ranks.first)
        return run(resume, stop)
    finally:
        ranks.leave()


def _load(recipe: Recipe) -> Loaded:
    try:
        return load_sam2(recipe.model, recipe.weights, recipe.image_size)
    except ModelError as error:
        raise UsageError(str(error)) from error


class _Run:
    """One fine-tuning, from its first figures to its last."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        ranks: Ranks,
        data: Material,
        loaded: Loaded,
        *,
        show: bool,
    ) -> None:
        self.recipe, self.folder, self.ranks, self.data = recipe, folder, ranks, data
        self.origin, self.show = loaded.origin, show
        self.start = {k: v.detach().cpu().clone() for k, v in loaded.model.state_dict().items()}
        self.model = loaded.model.to(ranks.device)
        self.reporter: Reporter | None = None
        side = int(self.model.image_size)
        pool = Pool(data.images, data.videos, recipe, side, self._note, data.replay)
        self.trainer = Trainer(self.model, pool, recipe, ranks)
        self.before: dict[str, dict[str, float]] = {}
        self.best, self.best_step, self.worse = -1.0, 0, 0
        self.looked_at = -1

    def __call__(self, resume: bool, stop: Callable[[], bool]) -> Outcome:
        """Train and write the result."""
        if resume:
            self._restore()
        with self._report() as self.reporter:
            if self.ranks.first and not self.before:
                self.reporter.note("measuring the model as it is")
                self.before = self._figures(self.start, "before")
                (self.folder / "before.json").write_text(json.dumps(self.before, indent=2))
            self.ranks.wait()
            finished = self._train(stop)
            outcome = Outcome(
                self.folder,
                finished,
                self.trainer.step,
                self.before,
                passed_over=self.trainer.pool.draws.failed,
            )
            if finished and self.ranks.first:
                outcome.after = self._finish()
            self.ranks.wait()
        return outcome

    def _report(self) -> Reporter:
        return Reporter(
            self.folder if self.ranks.first else _elsewhere(self.folder, self.ranks.rank),
            f"train sam2 {self.recipe.model}",
            resume_at=self.trainer.step,
            show=self.show,
        )

    def _note(self, text: str) -> None:
        if self.reporter is not None:
            self.reporter.note(text)
            self.reporter.row({"step": self.trainer.step, "note": text})

    # -- training -------------------------------------------------------------------------------

    def _train(self, stop: Callable[[], bool]) -> bool:
        """Advance until all is done; False where it was asked to stop before."""
        trainer, recipe = self.trainer, self.recipe
        assert self.reporter is not None
        shares = [(i + 1) / 10 for i in range(9)]
        saved_s = trainer.elapsed_s
        while (was := trainer.done()) < 1.0:
            began = time.monotonic()
            figures = trainer.advance()
            self._pass_time(began)
            now = trainer.done()
            self.reporter.step(trainer.step, now, figures)
            if self.ranks.any(stop()):
                self._save()
                return False
            if recipe.eval_every:
                due = trainer.step % recipe.eval_every == 0
            else:
                due = any(was < share <= now for share in shares)
            began = time.monotonic()
            if due and self.ranks.any(self._look()):
                self._note(f"no better since step {self.best_step}: ending early")
                break
            self._pass_time(began)
            if trainer.elapsed_s - saved_s > recipe.save_every_s:
                self._save()
                saved_s = trainer.elapsed_s
        self._look()
        self._save()
        return True

    def _pass_time(self, began: float) -> None:
        """Count time that went by; all processes count the same."""
        passed = self.ranks.total(time.monotonic() - began) / self.ranks.size
        self.trainer.elapsed_s += passed

    def _look(self) -> bool:
        """Look at held-out samples, keep the best weights; True where it is time to end."""
        step = self.trainer.step
        if not self.ranks.first or self.data.held.empty or step == self.looked_at:
            return False
        self.looked_at = step
        recipe = self.recipe
        weights = self.trainer.weights()
        tracker = self._tracker(weights)
        score = score_of(measure(tracker, self.data.held, recipe))
        assert self.reporter is not None
        self.reporter.row({"step": step, "held_out": score})
        self.reporter.note(f"step {step}: held-out IoU {score:.3f}")
        sheet = self.folder / "samples" / f"step_{step:06d}.png"
        draw_samples(tracker, self.data.held, sheet)
        draw_log(self.folder)
        if score > self.best:
            self.best, self.best_step, self.worse = score, step, 0
            save_checkpoint(self.folder / BEST, {"step": step, "model": weights})
            return False
        self.worse += 1
        return bool(recipe.patience) and self.worse >= recipe.patience

    # -- what is kept ---------------------------------------------------------------------------

    def _save(self) -> None:
        if self.ranks.first:
            state = self.trainer.state() | {
                "best": [self.best, float(self.best_step), float(self.worse)],
                "fits": _fits(self.recipe, self.ranks),
            }
            save_checkpoint(self.folder / LAST, state)
        self.ranks.wait()

    def _restore(self) -> None:
        state = load_checkpoint(self.folder / LAST)
        fits = _fits(self.recipe, self.ranks)
        for key, value in state["fits"].items():
            if value != fits.get(key):
                raise UsageError(
                    f"{self.folder}: was trained with {key} {value}, not {fits.get(key)}; "
                    "go on with the same recipe, or begin in another --out"
                )
        self.trainer.restore(state)
        self.best, self.best_step = state["best"][0], int(state["best"][1])
        self.worse = int(state["best"][2])
        figures = self.folder / "before.json"
        self.before = json.loads(figures.read_text()) if figures.is_file() else {}

    # -- figures --------------------------------------------------------------------------------

    def _tracker(self, weights: dict[str, Tensor]) -> Any:
        return live_tracker(self.recipe, weights, str(self.ranks.device))

    def _figures(self, weights: dict[str, Tensor], name: str) -> dict[str, dict[str, float]]:
        tracker = self._tracker(weights)
        measured = self.data.measured()
        if measured:
            draw_samples(tracker, measured[0], self.folder / "samples" / f"{name}.png")
        return {one.name: measure(tracker, one, self.recipe) for one in measured}

    def _finish(self) -> dict[str, dict[str, float]]:
        """Write the best weights and their figures."""
        weights, step = self.trainer.weights(), self.trainer.step
        if (self.folder / BEST).is_file() and not self.data.held.empty:
            kept = load_checkpoint(self.folder / BEST)
            weights, step = kept["model"], int(kept["step"])
        weights = blend(self.start, weights, self.recipe.wise)
        assert self.reporter is not None
        self.reporter.note(f"measuring the result (step {step})")
        after = self._figures(weights, "after")
        write_result(
            self.folder,
            weights,
            self.recipe,
            base=self.origin,
            data=self.data.facts(self.recipe, step),
            before=self.before,
            after=after,
        )
        draw_log(self.folder)
        return after


def _fits(recipe: Recipe, ranks: Ranks) -> dict[str, Any]:
    """What a resumed training has to have in common with the one before."""
    values = recipe.model_dump(mode="json", exclude=set(_FREE_TO_CHANGE))
    # Data may have moved; its folder's name is what a run is told by.
    moved = {name: [path.name for path in getattr(recipe, name)] for name in ("test", "replay")}
    return values | moved | {"data": recipe.data.name, "processes": ranks.size}


def _elsewhere(folder: Path, rank: int) -> Path:
    """A folder for the log of a process that is not the first."""
    path = folder / f"rank_{rank}"
    path.mkdir(parents=True, exist_ok=True)
    return path
