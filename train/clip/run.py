"""The whole fine-tuning: look at the data, measure, train, mix, measure again, write the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from engines.errors import ModelError
from engines.precision import choose_precision
from engines.registry import Loaded, check_device, load_clip
from engines.texts import text_bank
from engines.trained import trained_of
from stream.errors import UsageError
from train.checkpoint import load_checkpoint, save_checkpoint
from train.clip.attributes import Swapper
from train.clip.data import Open, SplitData, split_data
from train.clip.draws import Draws
from train.clip.measure import Figures, measure, read_held_out, relation_of, similarities
from train.clip.pictures import eye_of
from train.clip.recipe import ClipRecipe
from train.clip.result import draw_log, rounded, write_result
from train.clip.retention import answer, drawn_pictures, retention, unrelated_texts
from train.clip.retrieval import recalls
from train.clip.sheets import draw_sheet
from train.clip.towers import Towers, at_rest, towers_of
from train.clip.trainer import Trainer
from train.clip.wise import Mixed, State, alphas, choose, mix
from train.folder import LAST, prepare_folder
from train.progress import Reporter
from train.readers import Dataset, open_dataset


@dataclass
class Outcome:
    """How a fine-tuning ended.

    Attributes:
        folder: Where the result is.
        finished: False where it was asked to stop; `--resume` goes on.
        steps: Optimiser steps so far.
        before: Figures of the weights it began with.
        table: Figures of all shares of the trained weights; empty where it did not finish.
        kept: The one that was written.
        passed_over: Samples that could not be read while training.
    """

    folder: Path
    finished: bool
    steps: int
    before: Figures = field(default_factory=dict)
    table: list[Mixed] = field(default_factory=list)
    kept: Mixed | None = None
    passed_over: int = 0


def fine_tune(
    recipe: ClipRecipe,
    folder: Path,
    *,
    dense_px: Callable[[object], int] | None = None,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    show: bool = True,
    told: Callable[[Dataset], None] = lambda _: None,
    open_: Open = open_dataset,
) -> Outcome:
    """Fine-tune a CLIP model.

    Args:
        recipe: What to do.
        folder: Where the result, the log and the checkpoint go.
        dense_px: The side in pixels at which runs look with an image tower, where the recipe does
            not say; None for the tower's own side.
        resume: Go on from the folder's checkpoint.
        stop: Asked after each step; when it says so, a checkpoint is written and training ends.
        show: Whether progress is shown, on stderr.
        told: Told of the data set, once it was looked through.
        open_: Looks through a data set.

    Raises:
        UsageError: The recipe, the data set, the model or the folder cannot be used.
        MaskcastError: Too many samples cannot be read.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    prepare_folder(folder, resume)
    data = split_data(recipe, open_)
    told(data.dataset)
    loaded, towers = _load(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    return _Run(recipe, folder, data, loaded, towers, dense_px, show)(resume, stop)


def _load(recipe: ClipRecipe) -> tuple[Loaded, Towers]:
    device = recipe.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        check_device(device)
        trained_of("clip", recipe.model, recipe.weights)
        loaded = load_clip(recipe.model, recipe.weights)
        bank = text_bank(loaded.model, recipe.model, loaded.origin)
    except ModelError as error:
        raise UsageError(str(error)) from error
    bf16 = choose_precision(recipe.precision, device) != "fp32"
    return loaded, towers_of(loaded.model, bank, torch.device(device), bf16)


class _Run:
    """One fine-tuning, from its first figures to its last."""

    def __init__(
        self,
        recipe: ClipRecipe,
        folder: Path,
        data: SplitData,
        loaded: Loaded,
        towers: Towers,
        dense_px: Callable[[object], int] | None,
        show: bool,
    ) -> None:
        self.recipe, self.folder, self.data, self.show = recipe, folder, data, show
        self.origin, self.towers = loaded.origin, towers
        visual = towers.model.visual
        side = recipe.dense_size or (dense_px(visual) if dense_px is not None else 0)
        self.eye = eye_of(visual, side)
        self.reporter: Reporter | None = None
        self.swapper = Swapper(data.captions)
        weight = recipe.dense_weight
        weight = float(data.masks) if weight is None else weight
        draws = Draws(
            data.training, self.eye, recipe,
            dense=weight > 0, swapper=self.swapper, say=self._note,
        )  # fmt: skip
        self.trainer = Trainer(towers, draws, recipe, weight)
        self.start: State = self.trainer.weights()
        self.held = read_held_out(data.held, self.eye, recipe.eval_images, self._note)
        if not self.held.seens:
            raise UsageError(
                f"{recipe.data}: none of its {len(data.held)} held-out images has a caption or a "
                "labelled object that can be read; raise held_out, or add texts"
            )
        self.relation = relation_of(self.held)
        self.unrelated = unrelated_texts(data.captions)
        self.drawn = drawn_pictures(self.eye)
        with at_rest(towers.model):
            self.as_it_was = answer(towers, self.unrelated, self.drawn)

    def __call__(self, resume: bool, stop: Callable[[], bool]) -> Outcome:
        """Train and write the result."""
        if resume:
            self.trainer.restore(load_checkpoint(self.folder / LAST))
        title = f"train clip {self.recipe.model}"
        step = self.trainer.step
        with Reporter(self.folder, title, every=5, resume_at=step, show=self.show) as self.reporter:
            if self.trainer.stop.best_step < 0:
                self._look()  # the model as it is has to be beaten
            finished = self._train(stop)
            outcome = Outcome(
                self.folder, finished, self.trainer.step,
                passed_over=self.trainer.draws.failed,
            )  # fmt: skip
            if finished:
                self._finish(outcome)
        return outcome

    def _note(self, text: str) -> None:
        if self.reporter is not None:
            self.reporter.note(text)
            self.reporter.row({"step": self.trainer.step, "note": text})

    # -- training --------------------------------------------------------------------------------

    def _train(self, stop: Callable[[], bool]) -> bool:
        """Advance until all is done; False where it was asked to stop before."""
        trainer, recipe = self.trainer, self.recipe
        assert self.reporter is not None
        began = saved = time.monotonic()
        while trainer.step < recipe.steps and not trainer.stop.over:
            if recipe.minutes is not None and time.monotonic() - began > 60 * recipe.minutes:
                break
            figures = trainer.advance()
            self.reporter.step(trainer.step, trainer.step / recipe.steps, figures)
            if stop():
                self._save()
                return False
            if trainer.step % recipe.eval_every == 0:
                self._look()
            if time.monotonic() - saved > recipe.save_every_s:
                self._save()
                saved = time.monotonic()
        if trainer.step % recipe.eval_every:
            self._look()
        self._save()
        if trainer.stop.over:
            self._note(f"no better since step {trainer.stop.best_step}: ending early")
        return True

    def _look(self) -> None:
        """Look at the held-out samples and keep the best weights."""
        assert self.reporter is not None
        with at_rest(self.towers.model):
            figures = recalls(similarities(self.towers, self.held), self.relation)
        self.trainer.look(figures["recall"])
        self.reporter.row({"step": self.trainer.step, **figures})
        self.reporter.note(f"step {self.trainer.step}: held-out recall {figures['recall']:.3f}")
        draw_log(self.folder)

    def _save(self) -> None:
        save_checkpoint(self.folder / LAST, self.trainer.state())

    # -- the result ------------------------------------------------------------------------------

    def _finish(self, outcome: Outcome) -> None:
        """Mix the best weights with the first ones, keep the best mixture, write it."""
        model, recipe = self.towers.model.eval(), self.recipe
        self._note(f"mixing the weights of step {self.trainer.stop.best_step} with the first ones")
        for alpha in alphas(recipe.wise_steps, recipe.wise):
            outcome.table.append(Mixed(alpha, self._figures(alpha)))
        outcome.kept = choose(outcome.table, recipe.wise)
        outcome.before = dict(outcome.table[0].figures)
        model.load_state_dict(self.start)
        first = similarities(self.towers, self.held)
        weights = self._mixed(outcome.kept.alpha)
        model.load_state_dict(weights)
        last = similarities(self.towers, self.held)
        path = self.folder / "held_out.png"
        draw_sheet(path, self.held, self.eye, self.relation, first, last)
        write_result(
            self.folder, model, weights, recipe,
            base=self.origin, data=self.data.facts(self.trainer.stop.best_step),
            before=outcome.before, table=outcome.table, kept=outcome.kept,
        )  # fmt: skip
        draw_log(self.folder)

    def _mixed(self, alpha: float) -> State:
        return rounded(mix(self.start, self.trainer.best, alpha))

    def _figures(self, alpha: float) -> Figures:
        self.towers.model.load_state_dict(self._mixed(alpha))
        figures = measure(self.towers, self.held, self.swapper)
        now = answer(self.towers, self.unrelated, self.drawn)
        return figures | retention(self.as_it_was, now)
