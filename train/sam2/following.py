"""The loss of a batch of clips: prompts, corrections, and following through the real memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from train.micro.segmenter import Features, encode, normalise, without_memory
from train.sam2.clicks import (
    Click,
    Points,
    any_in,
    correction,
    first_boxes,
    first_clicks,
    jittered_box,
)
from train.sam2.clips import Clip
from train.sam2.losses import LossOptions, Truth, decode_losses, score_loss, truth_of
from train.sam2.passes import (
    Decoded,
    Memory,
    attend,
    decode,
    decode_points,
    narrow_heads,
    remember,
    remember_mask,
    use_several,
)
from train.sam2.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """What happens in a batch; the same in every process.

    Attributes:
        source: `still`, `moved` or `film`.
        frames: of each clip.
        prompt: `box`, `click` or `mask`.
        prompted: indices of the prompted frames, 0 first.
        corrections: clicks after each prompt that is no mask.
    """

    source: str
    frames: int
    prompt: str
    prompted: tuple[int, ...]
    corrections: int


def choose_plan(recipe: Recipe, images: bool, videos: bool, rng: np.random.Generator) -> Plan:
    """Choose what a batch is: of what, how long, and how it is prompted.

    Args:
        recipe: Resolved.
        images: Whether there are images.
        videos: Whether there are films.
        rng: The only source of randomness.
    """
    film = videos and (not images or rng.random() < recipe.video)
    moved = not film and rng.random() < (recipe.animate or 0.0)
    source = "film" if film else "moved" if moved else "still"
    frames = 1 if source == "still" else int(recipe.frames or 1)
    chances = np.array([recipe.box, recipe.click, recipe.mask if frames > 1 else 0.0])
    prompt = str(rng.choice(["box", "click", "mask"], p=chances / chances.sum()))
    count = int(rng.integers(1, min(recipe.prompted_frames, frames) + 1))
    later = rng.permutation(np.arange(1, frames))[: count - 1]
    prompted = (0, *sorted(int(t) for t in later))
    return Plan(source, frames, prompt, prompted, int(recipe.corrections or 0))


@dataclass(frozen=True)
class Batch:
    """Clips of equal length on a device; N objects of all clips together.

    Attributes:
        images: (T * B, 3, S, S) uint8, all clips of a frame side by side.
        masks: (T, N, S, S) bool.
        valid: (T, B, S, S) bool.
        clip: (N,) int64, the clip of each object.
    """

    images: Tensor
    masks: Tensor
    valid: Tensor
    clip: Tensor

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return len(self.clip)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(*(x.to(device) for x in (self.images, self.masks, self.valid, self.clip)))


def collate(clips: list[Clip]) -> Batch:
    """Put clips of equal length side by side."""
    counts = torch.tensor([clip.masks.shape[1] for clip in clips])
    return Batch(
        torch.stack([clip.images for clip in clips], dim=1).flatten(0, 1),
        torch.cat([clip.masks for clip in clips], dim=1),
        torch.stack([clip.valid for clip in clips], dim=1),
        torch.repeat_interleave(torch.arange(len(clips)), counts),
    )


@dataclass
class Sums:
    """Loss so far, and what is shown of it.

    Attributes:
        parts: (4,) sums over objects, weighted, of all decodings.
        shown: name -> sum over objects and their number.
    """

    parts: Tensor
    shown: dict[str, tuple[float, int]]

    def add(self, parts: Tensor) -> None:
        """Add a decoding's losses."""
        self.parts = self.parts + parts

    def show(self, name: str, value: float, count: int) -> None:
        """Add to a figure that is shown."""
        before, number = self.shown.get(name, (0.0, 0))
        self.shown[name] = (before + value, number + count)


class FollowingLoss:
    """SAM 2's training pass.

    Args:
        model: Some of its parameters may be frozen.
        recipe: Resolved.
    """

    def __init__(self, model: SAM2Base, recipe: Recipe) -> None:
        self.model = model
        self.recipe = recipe
        self.options = LossOptions(
            kind=recipe.mask_loss or "focal",
            weights=(
                20.0 if recipe.weight_mask is None else recipe.weight_mask,
                recipe.weight_dice,
                recipe.weight_iou,
                recipe.weight_score,
            ),
            foreground_weight=recipe.foreground_weight,
            stride=recipe.loss_stride or 1,
        )

    def __call__(
        self, batch: Batch, plan: Plan, rngs: list[np.random.Generator], objects: float
    ) -> tuple[Tensor, dict[str, tuple[float, int]]]:
        """Follow the objects through their clips.

        Args:
            batch: On the model's device.
            plan: What is prompted when.
            rngs: One for each clip, for its prompts.
            objects: What sums over objects are divided by.

        Returns:
            The loss, and name -> sum and number of what is shown.
        """
        sums = Sums(torch.zeros(4, device=batch.images.device), {})
        with narrow_heads(batch.images.device):
            features = self._encode(batch)
            self._follow(batch, plan, rngs, features, sums)
        for name, value in zip(("mask", "dice", "iou", "score"), sums.parts.detach(), strict=True):
            sums.show(f"loss_{name}", float(value) / objects, 1)
        return sums.parts.sum() / objects, sums.shown

    def _encode(self, batch: Batch) -> Features:
        planes = normalise(batch.images.float() / 255.0)
        learns = any(p.requires_grad for p in self.model.image_encoder.parameters())
        if learns:
            return encode(self.model, planes)
        with torch.no_grad():
            out = self.model.image_encoder(planes)
        fine, middle, top = out["backbone_fpn"]
        decoder = self.model.sam_mask_decoder
        high = [decoder.conv_s0(fine), decoder.conv_s1(middle)]
        return Features(top, high, out["vision_pos_enc"][-1][:1])

    def _follow(
        self,
        batch: Batch,
        plan: Plan,
        rngs: list[np.random.Generator],
        features: Features,
        sums: Sums,
    ) -> None:
        clips = batch.valid.shape[1]
        conditioning: dict[int, Memory] = {}
        others: dict[int, Memory] = {}
        for t in range(plan.frames):
            here = features.take(batch.clip + t * clips)
            frame = _Frame(self, batch, t, rngs, here)
            prompted = t in plan.prompted
            last = t + 1 == plan.frames
            if prompted and plan.prompt == "mask":
                memory, decoded = remember_mask(self.model, here, frame.masks & frame.valid)
                # Live, a mask's pointer passes this score's gate, so it has to be right.
                weight = self.options.weights[3]
                score = weight * score_loss(decoded.score, frame.truth.present)
                sums.add(torch.stack([*[score.new_zeros(())] * 3, score]))
                conditioning[t] = memory
                continue
            top = without_memory(self.model, here.top)
            if t > 0:
                top = attend(self.model, here, t, conditioning, others)
            decoded = frame.find(top, plan, sums, prompted=prompted)
            if not last:
                memory = remember(self.model, here, decoded, prompted=prompted)
                (conditioning if prompted else others)[t] = memory


class _Frame:
    """One frame of a batch: what should be found, and the rounds of looking for it."""

    def __init__(
        self,
        loss: FollowingLoss,
        batch: Batch,
        index: int,
        rngs: list[np.random.Generator],
        features: Features,
    ) -> None:
        self.loss, self.index, self.features = loss, index, features
        self.masks = batch.masks[index]
        self.valid = batch.valid[index][batch.clip]
        self.truth: Truth = truth_of(self.masks, self.valid, loss.options.stride)
        self.rngs = [rngs[clip] for clip in batch.clip.tolist()]

    def find(self, top: Tensor, plan: Plan, sums: Sums, *, prompted: bool) -> Decoded:
        """Decode the frame, and correct what was found where it is a prompted one."""
        model, high, initial = self.loss.model, self.features.high, self.index == 0
        points: Points | None = None
        if initial:
            points = self._first(plan.prompt).to(top.device)
        if points is None:
            several = use_several(model, None, initial=False)
            decoded = decode(model, top, high, None, None, several=several)
        else:
            decoded = self._decode(top, points, None)
        self._add(decoded, sums, "track" if points is None else plan.prompt)
        for number in range(plan.corrections if prompted else 0):
            clicks = self._corrections(decoded)
            points = points.plus(clicks) if points else first_clicks(clicks).to(top.device)
            decoded = self._decode(top, points, decoded)
            self._add(decoded, sums, "correct" if number else "correct_1")
        return decoded

    def _decode(self, top: Tensor, points: Points, before: Decoded | None) -> Decoded:
        return decode_points(
            self.loss.model,
            top,
            self.features.high,
            points,
            before,
            initial=self.index == 0,
            rendered=self.loss.recipe.rendered,
        )

    def _add(self, decoded: Decoded, sums: Sums, name: str) -> None:
        parts, iou = decode_losses(
            decoded.logits, decoded.iou, decoded.score, self.truth, self.loss.options
        )
        sums.add(parts)
        seen = self.truth.present
        sums.show(f"iou_{name}", float(iou[seen].sum()), int(seen.sum()))

    def _first(self, kind: str) -> Points:
        masks = (self.masks & self.valid).cpu().numpy()
        pairs = zip(masks, self.rngs, strict=True)
        if kind == "box":
            return first_boxes([jittered_box(mask, rng) for mask, rng in pairs])
        return first_clicks([(*any_in(mask, rng), 1) for mask, rng in pairs])

    def _corrections(self, decoded: Decoded) -> list[Click]:
        side = self.masks.shape[-1]
        shown = nn.functional.interpolate(
            decoded.gated().detach(), (side, side), mode="bilinear", align_corners=False
        )
        found, truth, valid = (x.cpu().numpy() for x in (shown[:, 0] > 0, self.masks, self.valid))
        clicks = []
        for row, rng in enumerate(self.rngs):
            blank = np.zeros_like(found[row])
            # Now and then the object is simply clicked on, as SAM 2 does.
            anywhere = rng.random() < self.loss.recipe.from_truth
            clicks.append(
                correction(truth[row], blank if anywhere else found[row], valid[row], rng)
            )
        return clicks
