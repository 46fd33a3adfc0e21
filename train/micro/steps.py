"""One training step of the micro segmenter: prompts on every frame, and tracking through memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from engines.finder import Finder
from train.micro.finding import Goal, finding_loss, goal_of
from train.micro.losses import candidates_loss, iou_loss, mask_loss, score_loss
from train.micro.motion import Clip
from train.micro.sampling import (
    PromptBatch,
    box_of,
    click_in,
    make_prompts,
    masks_of,
    sample_prompts,
    visible_objects,
)
from train.micro.segmenter import (
    Decoded,
    DenseHead,
    Features,
    attend,
    decode,
    decode_prompts,
    encode,
    normalise,
    remember,
    remember_mask,
)

#: Masks are compared at this stride; the decoder's own is 4, and objects of 10 pixels need the
#: finer one.
LOSS_STRIDE = 2


@dataclass(frozen=True)
class StepOptions:
    """Weights and counts of one step.

    Attributes:
        foreground_weight: of object pixels in the cross-entropy.
        prompts_per_frame: first-frame prompts on each encoded frame.
        objects_per_clip: tracked objects; 0 turns tracking off.
        dense_weight: of the auxiliary dense loss.
    """

    foreground_weight: float = 10.0
    prompts_per_frame: int = 16
    objects_per_clip: int = 8
    dense_weight: float = 1.0


@dataclass(frozen=True)
class Heads:
    """What is trained beside the model; without a finder it is left alone."""

    dense: DenseHead
    finder: Finder | None = None


def training_loss(
    model: SAM2Base,
    heads: Heads,
    clips: list[Clip],
    options: StepOptions,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch of clips of equal length, and its parts for the log."""
    frames, device = len(clips[0].ids), next(model.parameters()).device
    # Frame-major: rows t * clips + v, so that one frame of all clips is a slice.
    images = torch.stack([c.images for c in clips], dim=1).flatten(0, 1).to(device)
    drawn_ids = torch.stack([c.ids for c in clips], dim=1).flatten(0, 1)
    ids = drawn_ids.to(device)
    parts: dict[str, list[Tensor]] = {}
    features = encode(model, normalise(images))
    parts["dense"] = [options.dense_weight * heads.dense.loss(features, ids)]
    if heads.finder is not None:
        goal = goal_of(drawn_ids.numpy())
        goal = Goal(goal.heat.to(device), goal.sides.to(device))
        centres, boxes = finding_loss(heads.finder, features, goal)
        parts["find_centre"], parts["find_box"] = [0.3 * centres], [0.5 * boxes]
    kinds = ("click", "box" if rng.random() < 0.75 else "click+box")
    for kind in kinds:
        count = max(1, round(options.prompts_per_frame * (0.6 if kind == "click" else 0.4)))
        prompts = sample_prompts(drawn_ids.numpy(), count, kind, rng)
        if prompts is not None:
            prompts = prompts.to(device)
            decoded = decode_prompts(model, features, prompts)
            target, present = masks_of(ids, prompts.frame, prompts.object_id, LOSS_STRIDE)
            tag = "click" if kind == "click" else "box"
            _decoded_losses(decoded, target, present, options, parts, tag)
    if frames > 1 and options.objects_per_clip > 0:
        _tracking_losses(model, features, ids, len(clips), options, rng, parts)
    means = {name: torch.stack(values).mean() for name, values in parts.items()}
    shown = {name: float(value.detach()) for name, value in means.items()}
    total = torch.stack([v for k, v in means.items() if not k.startswith("log_")]).sum()
    return total, shown


def _decoded_losses(
    decoded: Decoded,
    target: Tensor,
    present: Tensor,
    options: StepOptions,
    parts: dict[str, list[Tensor]],
    tag: str,
) -> None:
    """Add mask, IoU and score losses of decoded prompts against (N, s, s) targets."""

    def add(name: str, value: Tensor) -> None:
        parts.setdefault(name, []).append(value)

    # SAM 2 reads the single mask after boxes and masks, the three others after a click or memory.
    used = slice(0, 1) if tag in ("box", "maskprompt") else slice(1, 4)
    guessed = decoded.iou[:, used]
    true_iou = torch.zeros_like(guessed)
    if present.any():
        logits = F.interpolate(
            decoded.logits[present][:, used],
            scale_factor=4 / LOSS_STRIDE,
            mode="bilinear",
            align_corners=False,
        )
        losses = mask_loss(logits, target[present], options.foreground_weight)
        per_object = candidates_loss(losses.bce + losses.dice)
        add(f"mask_{tag}", per_object.mean())
        index = guessed[present].argmax(dim=1, keepdim=True)
        add(f"log_iou_{tag}", losses.iou.gather(1, index).mean())
        true_iou[present] = losses.iou
    add(f"iou_{tag}", iou_loss(guessed, true_iou, present))
    add(f"score_{tag}", score_loss(decoded.score, present))


def _first_prompts(
    ids: Tensor, per_clip: int, kind: str, rng: np.random.Generator
) -> PromptBatch | None:
    """Choose objects of each clip's first frame and prompt them."""
    rows, clicks, boxes = [], [], []
    for clip, marks in enumerate(ids.cpu().numpy()):
        objects = visible_objects(marks, 30)
        if objects.size == 0:
            continue
        rng.shuffle(objects)
        for chosen in objects[:per_clip]:
            mask = marks == chosen
            rows.append((clip, int(chosen)))
            clicks.append(click_in(mask, rng, bool(rng.random() < 0.7)))
            boxes.append(box_of(mask, rng))
    if not rows:
        return None
    if kind == "mask":
        return make_prompts(rows, clicks, None)
    return make_prompts(rows, clicks if "click" in kind else None, boxes if "box" in kind else None)


def _tracking_losses(
    model: SAM2Base,
    features: Features,
    ids: Tensor,
    clips: int,
    options: StepOptions,
    rng: np.random.Generator,
    parts: dict[str, list[Tensor]],
) -> None:
    frames = len(ids) // clips
    kind = str(rng.choice(["mask", "box", "click", "click+box"], p=[0.35, 0.3, 0.25, 0.1]))
    prompts = _first_prompts(ids[:clips], options.objects_per_clip, kind, rng)
    if prompts is None:
        return
    prompts = prompts.to(ids.device)
    here = features.take(prompts.frame)
    truth, _ = masks_of(ids[:clips], prompts.frame, prompts.object_id)
    if kind == "mask":
        memory, decoded = remember_mask(model, here, truth)
        target = F.avg_pool2d(truth[:, None], LOSS_STRIDE)[:, 0]
        _decoded_losses(
            decoded,
            target,
            torch.ones_like(truth[:, 0, 0], dtype=torch.bool),
            options,
            parts,
            "maskprompt",
        )
    else:
        decoded = decode_prompts(model, features, prompts)
        index = decoded.best(multimask=kind == "click")
        memory = _remember_decoded(
            model, here, decoded, index, torch.ones_like(index, dtype=torch.bool), prompts, rng
        )
    # The conditioning frame may lie far back, as it does after minutes of live video.
    start = int(rng.integers(20, 2000)) if rng.random() < 0.4 else 1
    conditioning = {0: memory}
    others: dict[int, dict[str, object]] = {}
    now = start
    for t in range(1, frames):
        rows = prompts.frame + t * clips
        here = features.take(rows)
        truth, present = masks_of(ids, rows, prompts.object_id)
        target = F.avg_pool2d(truth[:, None], LOSS_STRIDE)[:, 0]
        if start > 1 and t == 1:
            # What the tracker would remember of a moment ago, long after the prompt.
            moment, _ = remember_mask(model, here, truth)
            (conditioning if rng.random() < 0.4 else others)[now] = moment
        else:
            top = attend(model, here, now, conditioning, others)
            decoded = decode(model, top, here.high, None, None, None)
            _decoded_losses(decoded, target, present, options, parts, "track")
            index = decoded.best(multimask=True)
            seen = present if rng.random() < 0.5 else decoded.score.detach()[:, 0] > 0
            if t + 1 < frames and rng.random() < 0.1:
                # A detection that is confirmed becomes a second conditioning frame.
                conditioning[now], _ = remember_mask(model, here, truth)
            elif t + 1 < frames:
                others[now] = _remember_decoded(model, here, decoded, index, seen, prompts, rng)
        # Gaps train the time codes of memories that a short clip would never reach.
        now += 1 if rng.random() < 0.6 else int(rng.integers(2, 4))


def _remember_decoded(
    model: SAM2Base,
    here: Features,
    decoded: Decoded,
    index: Tensor,
    present: Tensor,
    prompts: PromptBatch,
    rng: np.random.Generator,
) -> dict[str, object]:
    rows = torch.arange(len(index), device=index.device)
    chosen = spoil(decoded.logits[rows, index], prompts.frame, rng)[:, None]
    return remember(model, here, chosen, decoded.tokens[rows, index], present)


def spoil(logits: Tensor, clip: Tensor, rng: np.random.Generator, share: float = 0.25) -> Tensor:
    """Damage some masks before they are remembered, (N, s, s), as long tracking would.

    A neighbour is swallowed, a patch of nothing is added, or a part is lost. What is to be found
    in the next frame stays the true object, so one bad frame need not lead to the next.

    Args:
        logits: chosen masks.
        clip: (N,) clip of each object; neighbours are of the same one.
        rng: the only source of randomness.
        share: of the masks that are damaged.
    """
    side = logits.shape[-1]
    out = logits
    for row in np.nonzero(rng.random(len(logits)) < share)[0].tolist():
        kind = int(rng.integers(3))
        others = torch.nonzero(clip == clip[row])[:, 0].tolist()
        other = int(rng.choice(others))
        height, width = (int(v) for v in rng.integers(side // 16, side // 4, 2))
        y, x = int(rng.integers(side - height)), int(rng.integers(side - width))
        patch = torch.zeros(side, side, dtype=torch.bool, device=logits.device)
        patch[y : y + height, x : x + width] = True
        if kind == 0:
            damaged = torch.maximum(logits[row], logits[other].detach())
        elif kind == 1:
            damaged = logits[row].masked_fill(patch, 4.0)
        else:
            inside = torch.nonzero(logits[row].detach() > 0)
            if len(inside) == 0:
                continue
            y, x = inside[int(rng.integers(len(inside)))].tolist()
            patch.zero_()
            patch[max(0, y - height // 2) : y + 2, max(0, x - width // 2) : x + 2] = True
            damaged = logits[row].masked_fill(patch, -4.0)
        chosen = torch.zeros(len(logits), 1, 1, dtype=torch.bool, device=logits.device)
        chosen[row] = True
        out = torch.where(chosen, damaged[None], out)
    return out
