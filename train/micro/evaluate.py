"""Measure micro weights.

``python -m train.micro.evaluate --data DIR --films DIR [--weights FILE] [--overlays DIR]``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from engines.build import build_sam2
from train.checkpoint import load_checkpoint, load_weights
from train.micro.data import Still, is_held_out, read_dsb2018, read_pairs
from train.micro.evaluate_sam2 import (
    film_tensors,
    measure_films,
    measure_stills,
    prompts_for,
    squeeze,
)
from train.micro.follow import follow
from train.micro.pool import read_films

SHIPPED = Path(__file__).resolve().parents[2] / "engines" / "weights"


def load_model(weights: Path) -> SAM2Base:
    """Micro SAM 2 from exported weights.

    Or from the average of a training checkpoint (``*.pt``).
    """
    model = build_sam2("micro")
    if weights.suffix == ".pt":
        model.load_state_dict(load_checkpoint(weights)["average"])
    else:
        load_weights(model, weights)
    return model


def overlay(images: Tensor, masks: Tensor) -> np.ndarray:
    """Objects drawn over a frame: (3, S, S) and (N, S, S) bool to (S, S, 3) uint8."""
    out = images.permute(1, 2, 0).numpy().copy()
    palette = np.random.default_rng(5).uniform(0.2, 1.0, (len(masks), 3))
    for mask, colour in zip(masks.numpy(), palette, strict=True):
        out[mask] = 0.55 * out[mask] + 0.45 * colour
    return (out * 255).astype(np.uint8)


def write_overlays(model: SAM2Base, films: list[tuple[Tensor, Tensor]], folder: Path) -> None:
    """One strip a film: box prompts in frame 0, then tracked frames 5, 20 and the last."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (images, ids) in enumerate(films):
        prompts = prompts_for(ids[0], 12, "box", np.random.default_rng(2))
        if prompts is None:
            continue
        seen = follow(model, images, prompts)
        shown = [i for i in (0, 5, 20, len(images) - 1) if i < len(images)]
        strip = np.concatenate([overlay(images[i], seen[i].masks) for i in shown], axis=1)
        Image.fromarray(strip).save(folder / f"film_{number}.png")


def measure(
    model: SAM2Base,
    options: argparse.Namespace,
    films: list[tuple[Tensor, Tensor]],
    held: list[Still],
    frames: int,
) -> dict[str, object]:
    """All figures of :func:`main`."""
    figures: dict[str, object] = {"weights": options.weights.name}
    figures["films_stills"] = measure_stills(
        model, [(i[t], d[t]) for i, d in films for t in (0, len(i) // 2)]
    )
    figures["dsb2018_stills"] = measure_stills(model, [squeeze(s) for s in held])
    for kind in ("box",) if options.quick else ("click", "box", "mask"):
        figures[f"films_tracking_{kind}"] = measure_films(model, films, kind, frames=frames)
    unseen = options.data / "ctc_fluo_n2dh_sim_01"
    if unseen.is_dir() and not options.quick:
        pairs = [squeeze(s) for s in read_pairs(unseen, "simulated", "ctc")]
        figures["ctc_sim_stills"] = measure_stills(model, pairs[::8])
        film = (torch.stack([i for i, _ in pairs]), torch.stack([d for _, d in pairs]))
        figures["ctc_sim_tracking_box"] = measure_films(model, [film], "box", most=24)
    return figures


def main() -> None:
    """Print one JSON object with all figures."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    p.add_argument(
        "--films", type=Path, required=True, help="films/ of a run of maskcast train micro"
    )
    p.add_argument("--weights", type=Path, default=SHIPPED / "micro_sam2.safetensors")
    p.add_argument("--overlays", type=Path, help="folder for pictures")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--quick", action="store_true", help="fewer images and films")
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.weights)
    films = [film_tensors(f) for f in read_films(options.films, held_out=True)]
    held = [s for s in read_dsb2018(options.data / "dsb2018_nuclei") if is_held_out(s.name)]
    if options.quick:
        held = held[::6]
    frames = 61
    films = films[:4] if options.quick else films
    # Plain attention is the faster one on CPU for heads this narrow.
    with sdpa_kernel(SDPBackend.MATH):
        figures = measure(model, options, films, held, frames)
    print(json.dumps(figures, indent=1, default=float))
    if options.overlays is not None:
        write_overlays(model, films, options.overlays)


if __name__ == "__main__":
    main()
