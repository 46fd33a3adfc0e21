"""Measurements of the micro segmenter on held-out images and films."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from train.micro.data import Still
from train.micro.follow import follow, mask_iou, segment
from train.micro.pool import SIZE, Film
from train.micro.sampling import (
    PromptBatch,
    background_click,
    box_of,
    click_in,
    make_prompts,
    masks_of,
    visible_objects,
)

#: Frames after the prompt at which tracking is measured.
HORIZONS = (1, 5, 10, 20, 40, 60)


def squeeze(still: Still) -> tuple[Tensor, Tensor]:
    """An image as the model's square input: (3, 256, 256) in [0, 1] and (256, 256) int32 ids."""
    image = Image.fromarray(still.image).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    ids = Image.fromarray(still.ids.astype(np.int32)).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    return (
        torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255.0,
        torch.from_numpy(np.array(ids)).int(),
    )


def film_tensors(film: Film) -> tuple[Tensor, Tensor]:
    """A film as (T, 3, 256, 256) in [0, 1] and (T, 256, 256) int32."""
    images = torch.from_numpy(film.images).permute(0, 3, 1, 2).float() / 255.0
    return images, torch.from_numpy(film.ids.astype(np.int32))


def prompts_for(ids: Tensor, most: int, kind: str, rng: np.random.Generator) -> PromptBatch | None:
    """Prompt up to ``most`` objects of one frame, by exact boxes or by clicks near the middle."""
    marks = ids.numpy()
    objects = visible_objects(marks, 24)
    if objects.size == 0:
        return None
    chosen = rng.permutation(objects)[:most]
    masks = [marks == o for o in chosen]
    rows = [(0, int(o)) for o in chosen]
    clicks = [click_in(m, rng, True) for m in masks] if "click" in kind else None
    boxes = [box_of(m) for m in masks] if "box" in kind else None
    return make_prompts(rows, clicks, boxes)


def measure_stills(
    model: SAM2Base, pictures: Iterable[tuple[Tensor, Tensor]], most: int = 24
) -> dict[str, float]:
    """IoU from one click, from a box and from both.

    How well objects and background are told apart.
    """
    rng = np.random.default_rng(0)
    found: dict[str, list[Tensor]] = {"click": [], "box": [], "click+box": []}
    scores: dict[bool, list[Tensor]] = {True: [], False: []}
    ious: dict[bool, list[Tensor]] = {True: [], False: []}
    for image, ids in pictures:
        for kind, values in found.items():
            prompts = prompts_for(ids, most, kind, rng)
            if prompts is None:
                continue
            seen = segment(model, image[None], prompts)
            truth, _ = masks_of(ids[None], prompts.frame, prompts.object_id)
            values.append(mask_iou(seen.masks, truth > 0.5))
            if kind == "click":
                scores[True].append(seen.score)
                ious[True].append(seen.iou)
        places = [p for p in (background_click(ids.numpy(), rng) for _ in range(most)) if p]
        if places:
            prompts = make_prompts([(0, 0)] * len(places), places, None)
            seen = segment(model, image[None], prompts)
            scores[False].append(seen.score)
            ious[False].append(seen.iou)
    result = {f"{kind}_iou": float(torch.cat(v).mean()) for kind, v in found.items() if v}
    yes, no = torch.cat(scores[True]), torch.cat(scores[False])
    result["click_over_half"] = float((torch.cat(found["click"]) > 0.5).float().mean())
    result["object_score_right"] = float(((yes > 0).float().mean() + (no <= 0).float().mean()) / 2)
    result["predicted_iou_on_objects"] = float(torch.cat(ious[True]).mean())
    result["predicted_iou_on_background"] = float(torch.cat(ious[False]).mean())
    result["objects"] = float(len(yes))
    return result


def measure_films(
    model: SAM2Base,
    films: Iterable[tuple[Tensor, Tensor]],
    kind: str,
    most: int = 8,
    frames: int = 61,
) -> dict[str, float]:
    """Tracking IoU of objects that are still visible, so many frames after the prompt.

    And the score's accuracy.
    """
    rng = np.random.default_rng(1)
    at: dict[int, list[Tensor]] = {h: [] for h in HORIZONS}
    right: list[Tensor] = []
    for images, ids in films:
        prompts = prompts_for(ids[0], most, "box" if kind == "mask" else kind, rng)
        if prompts is None:
            continue
        first, _ = masks_of(ids[:1], prompts.frame, prompts.object_id)
        seen = follow(model, images[:frames], prompts, first if kind == "mask" else None)
        for index, one in enumerate(seen[1:], 1):
            truth, _ = masks_of(ids[index : index + 1], prompts.frame, prompts.object_id)
            area = truth.flatten(1).sum(dim=1)
            clear = (area == 0) | (area >= 24)
            right.append(((one.score > 0) == (area > 0))[clear].float())
            if index in at:
                visible = area >= 24
                at[index].append(mask_iou(one.masks, truth > 0.5)[visible])
    result = {
        f"iou_at_{h}": float(torch.cat(v).mean())
        for h, v in at.items()
        if v and torch.cat(v).numel()
    }
    result["score_right"] = float(torch.cat(right).mean())
    return result
