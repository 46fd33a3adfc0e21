"""Train the micro CLIP.

``python -m train.micro.clip --data DIR --out DIR --minutes M [--resume]``
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.build import build_clip
from engines.micro_text import ByteTokenizer
from train.checkpoint import Average, export_weights, load_checkpoint, save_checkpoint
from train.micro.attributes import AttributeHead
from train.micro.clip_data import ClipPool, Scene, crop_anywhere, crop_object
from train.micro.clip_losses import clip_loss

#: Factor on the last block's key weights at birth.
KEY_GAIN = 2.0
#: Factor on the brightness-blind patch filters, and spread of the positions' common offset.
TEXTURE_GAIN = 3.0
COMMON_OFFSET = 0.5


def new_model() -> Any:
    """A micro CLIP with random weights, save for a few that a short training would not find.

    - Read densely, the last block gathers values by the likeness of keys. With keys of ordinary
      size all patches are about alike, the dense map is one blur, and nothing local is learnt.
    - The first normalisation leaves only a patch's direction. Most patch filters are made blind to
      plain brightness, and all positions share an offset against which brightness can be told.
    """
    model = build_clip("micro")
    visual = model.visual
    width = visual.conv1.out_channels
    with torch.no_grad():
        visual.transformer.resblocks[-1].attn.in_proj_weight[width : 2 * width].mul_(KEY_GAIN)
        texture = visual.conv1.weight[: width * 3 // 4]
        texture.sub_(texture.mean(dim=(2, 3), keepdim=True)).mul_(TEXTURE_GAIN)
        visual.positional_embedding.add_(torch.randn(width) * COMMON_OFFSET)
    return model


class Trainer:
    """Model, optimiser, average and step counter. Batches depend on ``(seed, step)`` alone."""

    def __init__(self, pool: ClipPool, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.pool, self.options = pool, options
        self.model = new_model()
        width = int(self.model.visual.output_dim)
        self.heads = nn.ModuleDict({n: AttributeHead(width) for n in ("patches", "wholes")})
        self.tokenizer = ByteTokenizer()
        parameters = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.05},
                {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=options.lr,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.average = Average(self.model, 0.995)
        self.step = 0

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average.shadow[name].copy_(value)

    def rate(self) -> float:
        """Learning rate: linear warm-up, then a half cosine."""
        o = self.options
        if self.step < o.warmup:
            return float(o.lr * (self.step + 1) / o.warmup)
        progress = min(1.0, (self.step - o.warmup) / max(1, o.steps - o.warmup))
        return float(o.lr * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))))

    def batch(self, rng: np.random.Generator) -> list[Scene]:
        """Whole scenes every fifth step; otherwise crops of scenes and of single objects."""
        if self.step % 5 == 4:
            return [self.pool.scene(rng) for _ in range(self.options.scenes)]
        out: list[Scene] = []
        while len(out) < self.options.crops:
            scene = self.pool.scene(rng)
            out.append(crop_anywhere(scene, rng))
            # Several objects of one scene share its decoding.
            for _ in range(2):
                single = crop_object(scene, rng)
                if single is not None and len(out) < self.options.crops and rng.random() < 0.35:
                    out.append(single)
        return out

    def advance(self) -> dict[str, float]:
        """One optimiser step; returns the parts of its loss."""
        rng = np.random.default_rng((self.options.seed, self.step))
        scenes = self.batch(rng)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast("cpu", torch.bfloat16):
                loss, shown = clip_loss(self.model, self.heads, self.tokenizer, scenes, rng)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            with torch.no_grad():
                self.model.logit_scale.clamp_(0.0, math.log(60.0))
            self.average.update(self.step)
        self.step += 1
        return {"loss": float(loss.detach()), "norm": float(norm), **shown}


def run(options: argparse.Namespace) -> None:
    """Train until the minutes or the steps are used up."""
    torch.set_num_threads(options.threads)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(ClipPool(options.data, False, options.frames, options.extra_shapes), options)
    if options.resume:
        trainer.restore(load_checkpoint(out / "last.pt"))
    began = saved = time.time()
    stopping: list[int] = []
    # A polite stop loses nothing: the step under way ends and is saved.
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    sums: dict[str, list[float]] = {}
    with (out / "log.jsonl").open("a") as log:
        while (
            time.time() < began + options.minutes * 60
            and trainer.step < options.steps
            and not stopping
        ):
            for name, value in trainer.advance().items():
                sums.setdefault(name, []).append(value)
            if trainer.step % 20 == 0:
                row: dict[str, float] = {k: round(float(np.mean(v)), 4) for k, v in sums.items()}
                row |= {"step": trainer.step, "lr": trainer.rate()}
                row["seconds"] = round(time.time() - began, 1)
                print(json.dumps(row), file=log, flush=True)
                sums = {}
            if time.time() - saved > options.save_every:
                save_checkpoint(out / "last.pt", trainer.state())
                saved = time.time()
    save_checkpoint(out / "last.pt", trainer.state())
    print("sha256", export_weights(trainer.average.shadow, out / "micro_clip.safetensors"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument(
        "--data", type=Path, required=True, help="folder with dsb2018_nuclei, bccd_blood"
    )
    p.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    p.add_argument("--minutes", type=float, default=40.0)
    p.add_argument("--steps", type=int, default=3000, help="end of the cosine")
    p.add_argument("--lr", type=float, default=4e-4)
    p.add_argument("--warmup", type=int, default=150)
    p.add_argument("--crops", type=int, default=12, help="256 px crops a step")
    p.add_argument("--scenes", type=int, default=3, help="512 px scenes every fifth step")
    p.add_argument("--frames", type=int, default=300, help="synthetic frames in memory")
    p.add_argument("--extra-shapes", type=float, default=0.0, help="further share of shapes")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--save-every", type=float, default=120.0, help="seconds between checkpoints")
    p.add_argument("--resume", action="store_true", help="continue from DIR/last.pt")
    return p


if __name__ == "__main__":
    run(parser().parse_args())
