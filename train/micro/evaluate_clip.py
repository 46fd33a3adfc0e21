"""Measure the micro CLIP: ``python -m train.micro.evaluate_clip --data DIR [--weights FILE]``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from engines.build import build_clip
from engines.dense import dense_features
from engines.micro_text import ByteTokenizer
from train.checkpoint import load_checkpoint, load_weights
from train.micro.clip_data import (
    ClipPool,
    Scene,
    crop_object,
    patch_targets,
    shapes_scene,
    smear_scene,
)
from train.micro.clip_losses import evidence, normalise
from train.micro.words import COLOURS, HELD_OUT_UNRELATED, NEGATIVES, SHAPES

SHIPPED = Path(__file__).resolve().parents[2] / "engines" / "weights"
#: Unrelated words of the training vocabulary that are watched beside the held-out ones.
SEEN_UNRELATED = ("dog", "car", "person", "tree", "汽车")


def load_model(weights: Path) -> Any:
    """Micro CLIP from exported weights, or from the average of a training checkpoint (``*.pt``)."""
    model = build_clip("micro")
    if weights.suffix == ".pt":
        model.load_state_dict(load_checkpoint(weights)["average"])
    else:
        load_weights(model, weights)
    return model


class Reader:
    """A micro CLIP and what it makes of texts."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.tokenizer = ByteTokenizer()
        self.negatives = self.texts(NEGATIVES)
        self.scale = self.model.logit_scale.detach().exp()

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) embeddings."""
        embedded: Tensor = self.model.encode_text(self.tokenizer(texts))
        return embedded

    @torch.inference_mode()
    def dense(self, image: Tensor) -> Tensor:
        """Patch embeddings of (3, H, W) in [0, 1]: (rows, columns, D)."""
        return dense_features(self.model.visual, normalise(image[None]), "naclip")[1][0]

    @torch.inference_mode()
    def whole(self, image: Tensor) -> Tensor:
        """Class embedding of (3, 256, 256) in [0, 1]: (1, D)."""
        embedded: Tensor = self.model.encode_image(normalise(image[None]))
        return embedded

    def probability(self, features: Tensor, texts: Sequence[str]) -> Tensor:
        """softmax([text, negatives])[text] for each text by itself: (..., D) to (..., texts)."""
        flat = features.reshape(-1, features.shape[-1])
        logits = evidence(flat, self.texts(texts), self.negatives, self.scale)
        return logits.sigmoid().view(*features.shape[:-1], len(texts))


def area_under_curve(score: Tensor, truth: Tensor) -> float:
    """Chance that a random true patch scores above a random false one."""
    order = torch.cat([score[truth], score[~truth]]).argsort().argsort().float() + 1
    yes, no = int(truth.sum()), int((~truth).sum())
    return float((order[:yes].sum() - yes * (yes + 1) / 2) / max(1, yes * no))


def measure_heat(reader: Reader, scenes: list[Scene], word: str) -> dict[str, float]:
    """The heatmap of a word on scenes of cells, and of words for which there is nothing."""
    scores, truths, unseen, seen = [], [], [], []
    for scene in scenes:
        dense = reader.dense(scene.image)
        target = patch_targets(scene.regions)
        known = target >= 0
        scores.append(reader.probability(dense, [word])[..., 0][known])
        truths.append(target[known] > 0)
        on_cells = dense[target > 0]
        unseen.append(reader.probability(on_cells, HELD_OUT_UNRELATED))
        seen.append(reader.probability(on_cells, SEEN_UNRELATED))
    score, truth = torch.cat(scores), torch.cat(truths)
    hit = score > 0.5
    return {
        "auc": area_under_curve(score, truth),
        "patch_iou": float((hit & truth).sum() / (hit | truth).sum().clamp_min(1)),
        "p_on_cells": float(score[truth].mean()),
        "p_on_background": float(score[~truth].mean()),
        "p_unrelated_held_out": float(torch.cat(unseen).mean()),
        "p_unrelated_over_half": float((torch.cat(unseen) > 0.5).float().mean()),
        "p_unrelated_seen": float(torch.cat(seen).mean()),
    }


def measure_shapes(reader: Reader, count: int) -> dict[str, float]:
    """Colour and shape of drawn shapes from their pooled patches, among all pairs of words."""
    rng = np.random.default_rng(77)
    pairs = [(c, s) for c in COLOURS for s in SHAPES]
    english = F.normalize(reader.texts([f"a {c} {s}" for c, s in pairs]), dim=-1)
    chinese = F.normalize(
        reader.texts([f"{COLOURS[c][0]}{SHAPES[s][0]}" for c, s in pairs]), dim=-1
    )
    right: dict[str, list[bool]] = {"pair": [], "colour": [], "shape": [], "pair_chinese": []}
    for _ in range(count):
        scene = shapes_scene(rng)
        dense, target = reader.dense(scene.image), patch_targets(scene.regions)
        for region in torch.unique(target).tolist():
            if region < 1:
                continue
            pooled = F.normalize(dense[target == region].mean(dim=0), dim=-1)
            _, colour, shape = scene.concepts[region].name.split()
            found = pairs[int((english @ pooled).argmax())]
            right["pair"].append(found == (colour, shape))
            right["colour"].append(found[0] == colour)
            right["shape"].append(found[1] == shape)
            right["pair_chinese"].append(pairs[int((chinese @ pooled).argmax())] == (colour, shape))
    return {name: float(np.mean(values)) for name, values in right.items()} | {
        "shapes": float(len(right["pair"]))
    }


def measure_blood(reader: Reader, pool: ClipPool) -> dict[str, float]:
    """Kind of blood cells from pooled patches of the whole smear, and from enlarged crops."""
    words = ["red blood cell", "white blood cell", "platelet"]
    texts = F.normalize(reader.texts(words), dim=-1)
    rng = np.random.default_rng(78)
    found: dict[str, list[bool]] = {f"{k} {w}": [] for k in ("dense", "crop") for w in words}
    for smear in pool.smears:
        scene = smear_scene(smear, rng, plain=True)
        dense, target = reader.dense(scene.image), patch_targets(scene.regions)
        for number in torch.unique(scene.objects)[1:].tolist():
            share = F.avg_pool2d((scene.objects == number).float()[None], 16)[0]
            mask = (share > 0.5) & (target > 0)
            if mask.any():
                name = scene.concepts[int(target[mask].mode().values)].name
                pooled = F.normalize(dense[mask].mean(dim=0), dim=-1)
                found[f"dense {name}"].append(words[int((texts @ pooled).argmax())] == name)
        for _ in range(6):
            crop = crop_object(scene, rng)
            if crop is not None:
                whole = F.normalize(reader.whole(crop.image)[0], dim=-1)
                name = crop.concepts[1].name
                found[f"crop {name}"].append(words[int((texts @ whole).argmax())] == name)
    return {name: float(np.mean(v)) for name, v in found.items() if v}


def write_heatmaps(reader: Reader, scenes: list[Scene], folder: Path, words: list[str]) -> None:
    """One strip a scene: the image, then one heatmap a word."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(scenes):
        heat = reader.probability(reader.dense(scene.image), words).permute(2, 0, 1)
        grown = F.interpolate(heat[None], size=scene.image.shape[-2:], mode="bilinear")[0]
        panels = [scene.image, *(g.expand(3, -1, -1) for g in grown)]
        strip = (torch.cat(panels, dim=2).permute(1, 2, 0) * 255).clamp(0, 255).byte().numpy()
        Image.fromarray(strip).save(folder / f"heat_{index}.png")


def main() -> None:
    """Print one JSON object with all figures."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--weights", type=Path, default=SHIPPED / "micro_clip.safetensors")
    p.add_argument("--count", type=int, default=24, help="scenes of each kind")
    p.add_argument("--overlays", type=Path, help="folder for heatmaps")
    p.add_argument("--threads", type=int, default=2)
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    reader = Reader(load_model(options.weights))
    pool = ClipPool(options.data, True, options.count)
    rng = np.random.default_rng(76)
    drawn = [pool.film_scene(i) for i in range(options.count)]
    real = [pool.nuclei(rng) for _ in range(options.count)]
    figures: dict[str, object] = {"weights": options.weights.name, "scale": float(reader.scale)}
    for word in ("cell", "细胞", "nucleus"):
        figures[f"films_{word}"] = measure_heat(reader, drawn, word)
    figures["dsb2018_cell"] = measure_heat(reader, real, "cell")
    figures["shapes"] = measure_shapes(reader, options.count)
    figures["blood"] = measure_blood(reader, pool)
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if options.overlays is not None:
        shapes = [shapes_scene(rng) for _ in range(3)]
        words = ["cell", "dog", "giraffe", "a red circle", "紅色圓形"]
        write_heatmaps(reader, [*drawn[:6], *real[:4], *shapes], options.overlays, words)


if __name__ == "__main__":
    main()
