"""Train the micro SAM 2.

``python -m train.micro.sam2 --data DIR --out DIR --minutes M [--resume]``.
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
from sam2.modeling.sam2_base import SAM2Base
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.build import build_sam2
from train.checkpoint import Average, export_weights, load_checkpoint, save_checkpoint
from train.micro.motion import Clip
from train.micro.pool import Pool, load_pool
from train.micro.segmenter import FINER_PROMPT_CODE, DenseHead
from train.micro.steps import StepOptions, training_loss

#: Rotary pairs an axis, the fastest ones, that make memory reading local, and their strength.
LOCAL_PAIRS = 10
LOCAL_STRENGTH = 2.8


def new_model(seed: int) -> SAM2Base:
    """A micro model with random weights, save for a few that a short training would not find."""
    torch.manual_seed(seed)
    model = build_sam2("micro")
    prime(model)
    return model


@torch.no_grad()
def prime(model: SAM2Base) -> None:
    """Start some weights where they are useful.

    - The Fourier code of prompts is made finer: objects are small in the frame.
    - A mask prompt enters the decoder like a drawn prompt, from -4 to 4.
    - Memory is read from about the same place: a constant part in queries and keys, turned by the
      rotary code, makes attention fall off with distance. From uniform attention, hundreds of steps
      pass before any memory is read.
    """
    model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.mul_(FINER_PROMPT_CODE)
    model.mask_downsample.weight.fill_(8.0 / model.mask_downsample.weight.numel())
    model.mask_downsample.bias.fill_(-4.0)
    for layer in model.memory_attention.layers:
        for projection in (layer.cross_attn_image.q_proj, layer.cross_attn_image.k_proj):
            # The rotary code turns pairs of channels, those of x first, from fast to slow.
            axes = projection.bias.view(2, -1, 2)
            axes.zero_()
            axes[:, :LOCAL_PAIRS, 0] = LOCAL_STRENGTH


class Trainer:
    """Model, optimiser, average and step counter; everything that a resumed run needs.

    Batches are drawn from ``(seed, step)`` alone, so a resumed run sees what an uninterrupted one
    would have seen.
    """

    def __init__(self, pool: Pool, options: argparse.Namespace) -> None:
        self.pool, self.options = pool, options
        self.model = new_model(options.seed)
        self.dense = DenseHead(self.model.hidden_dim)
        self.parameters = [*self.model.parameters(), *self.dense.parameters()]
        plain = [p for p in self.parameters if p.ndim < 2]
        matrices = [p for p in self.parameters if p.ndim >= 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
            lr=options.lr,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.average = Average(self.model, 0.99)
        self.step = 0

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain values."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "dense": self.dense.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow,
            "torch_rng": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.dense.load_state_dict(state["dense"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average.shadow[name].copy_(value)
        torch.set_rng_state(state["torch_rng"])

    def rate(self) -> float:
        """Learning rate of the present step: linear warm-up, then a half cosine."""
        o = self.options
        if self.step < o.warmup:
            return float(o.lr * (self.step + 1) / o.warmup)
        progress = min(1.0, (self.step - o.warmup) / max(1, o.steps - o.warmup))
        return float(o.lr * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))))

    def batch(self) -> tuple[list[Clip], np.random.Generator]:
        """Stills before ``track_from``; afterwards stills and clips by turns."""
        rng = np.random.default_rng((self.options.seed, self.step))
        o = self.options
        if self.step < o.track_from or self.step % 3 == 0:
            return [self.pool.clip(1, rng) for _ in range(o.stills)], rng
        frames = int(rng.integers(o.frames[0], o.frames[1] + 1))
        return [self.pool.clip(frames, rng) for _ in range(o.clips)], rng

    def advance(self) -> dict[str, float]:
        """One optimiser step; returns the parts of its loss."""
        clips, rng = self.batch()
        weight = 10.0 - 8.0 * min(1.0, self.step / self.options.sharpen_by)
        options = StepOptions(
            foreground_weight=weight,
            prompts_per_frame=self.options.prompts if len(clips[0].ids) == 1 else 5,
            dense_weight=0.3 if self.step > self.options.sharpen_by else 1.0,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        # Plain attention: on CPU it is a third faster than the fused one for heads this narrow.
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast("cpu", torch.bfloat16, enabled=not self.options.fp32):
                loss, parts = training_loss(self.model, self.dense, clips, options, rng)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.step)
        self.step += 1
        return {"loss": float(loss.detach()), "norm": float(norm), **parts}


def run(options: argparse.Namespace) -> None:
    """Train until the minutes or the steps are used up."""
    torch.set_num_threads(options.threads)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(load_pool(options.data, options.films, held_out=False), options)
    if options.resume:
        trainer.restore(load_checkpoint(out / "last.pt"))
    end, saved, began = time.time() + options.minutes * 60, time.time(), time.time()
    stopping: list[int] = []
    # A polite stop loses nothing: the step under way ends and is saved.
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    sums: dict[str, list[float]] = {}
    with (out / "log.jsonl").open("a") as log:
        while time.time() < end and trainer.step < options.steps and not stopping:
            for name, value in trainer.advance().items():
                sums.setdefault(name, []).append(value)
            if trainer.step % 20 == 0:
                row: dict[str, float] = {k: round(float(np.mean(v)), 4) for k, v in sums.items()}
                row |= {"step": trainer.step, "lr": trainer.rate()}
                row["seconds"] = round((time.time() - began), 1)
                print(json.dumps(row), file=log, flush=True)
                sums = {}
            if time.time() - saved > options.save_every:
                save_checkpoint(out / "last.pt", trainer.state())
                saved = time.time()
    save_checkpoint(out / "last.pt", trainer.state())
    print("sha256", export_weights(trainer.average.shadow, out / "micro_sam2.safetensors"))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument(
        "--data", type=Path, required=True, help="folder with dsb2018_nuclei, laptrack_crops"
    )
    p.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    p.add_argument("--films", type=Path, help="folder with drawn films (*.npz)")
    p.add_argument("--minutes", type=float, default=60.0)
    p.add_argument("--steps", type=int, default=5000, help="end of the cosine")
    p.add_argument("--lr", type=float, default=4e-4)
    p.add_argument("--warmup", type=int, default=150)
    p.add_argument("--stills", type=int, default=4, help="images of a step of stills")
    p.add_argument("--prompts", type=int, default=20, help="prompts an image of a step of stills")
    p.add_argument("--clips", type=int, default=2, help="clips of a step of clips")
    p.add_argument("--frames", type=int, nargs=2, default=(3, 4), help="shortest and longest clip")
    p.add_argument("--track-from", type=int, default=600, help="first step with clips")
    p.add_argument("--sharpen-by", type=int, default=1500, help="step at which weights are final")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--save-every", type=float, default=120.0, help="seconds between checkpoints")
    p.add_argument("--fp32", action="store_true", help="no bf16 autocast")
    p.add_argument("--resume", action="store_true", help="continue from DIR/last.pt")
    return p


if __name__ == "__main__":
    run(parser().parse_args())
