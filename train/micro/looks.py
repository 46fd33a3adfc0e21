"""Looks at held-out data while the micro models are trained: a few figures, a few pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.build import build_clip, build_sam2
from train.micro.clip_data import ClipPool, shapes_scene
from train.micro.evaluate import overlay
from train.micro.evaluate_clip import Reader, measure_heat, measure_shapes, write_heatmaps
from train.micro.evaluate_sam2 import measure_stills, prompts_for, squeeze
from train.micro.follow import segment
from train.micro.pool import Pool
from train.micro.trainer import Trainer

#: Words whose heatmaps are drawn.
WORDS = ("cell", "dog", "a red circle", "紅色圓形")


class SegmenterLook:
    """IoU from clicks and boxes on held-out images, and overlays of what a box gives.

    Args:
        pool: held-out images.
        images: how many of them are looked at, of all kinds alike.
    """

    def __init__(self, pool: Pool, images: int = 12) -> None:
        rng = np.random.default_rng(3)
        self._pictures = [squeeze(pool.still(rng)) for _ in range(images)] if pool.kinds else []
        self._model = build_sam2("micro")

    def __call__(self, trainer: Trainer, folder: Path) -> Mapping[str, float]:
        """Measure and draw the averaged weights."""
        if not self._pictures:
            return {}
        self._model.load_state_dict({k: v.cpu() for k, v in trainer.average.shadow.items()})
        found = measure_stills(self._model, self._pictures, 12)
        strips = [self._strip(image, ids) for image, ids in self._pictures[:4]]
        path = folder / "samples" / f"step_{trainer.step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.concatenate(strips, axis=1)).save(path)
        names = ("click_iou", "box_iou", "object_score_right")
        return {f"held_out_{name}": found[name] for name in names}

    def _strip(self, image: Tensor, ids: Tensor) -> np.ndarray:
        """The image, and below it what boxes around its objects give."""
        plain = overlay(image, torch.zeros(0, *ids.shape, dtype=torch.bool))
        prompts = prompts_for(ids, 16, "box", np.random.default_rng(2))
        if prompts is None:
            return np.concatenate([plain, plain])
        seen = segment(self._model, image[None], prompts)
        return np.concatenate([plain, overlay(image, seen.masks)])


class ClipLook:
    """How well held-out cells, colours and shapes are told, and heatmaps.

    Args:
        pool: held-out scenes.
        scenes: how many of each kind.
    """

    def __init__(self, pool: ClipPool, scenes: int = 6) -> None:
        rng = np.random.default_rng(4)
        self._scenes = [pool.nuclei(rng) for _ in range(scenes)] if pool.stills else []
        self._shapes = [shapes_scene(np.random.default_rng(5)) for _ in range(2)]
        self._count = scenes
        self._model = build_clip("micro")

    def __call__(self, trainer: Trainer, folder: Path) -> Mapping[str, float]:
        """Measure and draw the averaged weights."""
        self._model.load_state_dict({k: v.cpu() for k, v in trainer.average.shadow.items()})
        reader = Reader(self._model)
        shapes = measure_shapes(reader, 2 * self._count)
        figures = {f"held_out_{name}": shapes[name] for name in ("colour", "shape", "pair")}
        if self._scenes:
            heat = measure_heat(reader, self._scenes, "cell")
            figures |= {"held_out_patch_iou": heat["patch_iou"], "held_out_auc": heat["auc"]}
        shown = [*self._scenes[:2], *self._shapes]
        where = folder / "samples" / f"step_{trainer.step:06d}"
        write_heatmaps(reader, shown, where, list(WORDS))
        return figures
