"""One of two processes that train together: `python -m tests.train.sam2.one_rank FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from engines.build import build_sam2
from tests.train.sam2.scenes import small_recipe, stills
from train.ranks import join
from train.sam2.clips import Pool
from train.sam2.trainer import Trainer


def first_gradients(batch: int) -> dict[str, torch.Tensor]:
    """Gradients of the first step, and its loss."""
    torch.set_num_threads(1)
    ranks = join("cpu")
    # With this seed the two batches of the step are prompted differently.
    recipe = small_recipe(
        batch=batch, accumulate=2, animate=0.0, corrections=0, image_size=64, seed=2
    )
    torch.manual_seed(2)
    model = build_sam2("micro", 64)
    trainer = Trainer(model, Pool(stills(), [], recipe, 64), recipe, ranks)
    figures = trainer.advance()
    loss = ranks.total(figures["loss"]) / ranks.size
    ranks.leave()
    grads = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    return grads | {"loss": torch.tensor(loss)}


if __name__ == "__main__":
    torch.save(first_gradients(batch=1), Path(sys.argv[1]))
