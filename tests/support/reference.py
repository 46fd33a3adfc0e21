"""One object, tracked by the plainest code there can be: SAM2's own step and two dictionaries.

Nothing is batched, bounded, cached or precomputed; a late prompt is followed by running the frames
since then again. Rules are those of `SAM2VideoPredictor` and, for what is remembered, `Limits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from engines.objects import Prompt
from engines.settings import Limits
from tests.support.official import NO_END, Result, noting_ious


@dataclass
class Reference:
    """One object.

    Attributes:
        model: A `SAM2Base` whose `memory_temporal_stride_for_eval` is that of `limits`.
        frames: Frame index -> (planes, what `forward_image` gave).
        limits: Only `conditioning` is looked at.
        correct_as_conditioning: As the tracker's.
    """

    model: Any
    frames: dict[int, Any]
    limits: Limits
    correct_as_conditioning: bool = True
    _conditioning: dict[int, Any] = field(default_factory=dict)
    _others: dict[int, Any] = field(default_factory=dict)
    _fresh: dict[int, tuple[Any, bool]] = field(default_factory=dict)
    """Prompted since the last step: frame index -> (output, whether it is a correction only)."""
    _points: dict[int, Any] = field(default_factory=dict)
    _tracked: set[int] = field(default_factory=set)

    @torch.inference_mode()
    def step(self, index: int) -> Result:
        """Track one frame, or one frame again."""
        self._settle()
        if index not in self._conditioning:
            self._others[index] = self._run(index, run_mem_encoder=True)
        self._tracked |= {index, *(i for i in self._conditioning if i < index)}
        return _result(self._output(index))

    @torch.inference_mode()
    def prompt(
        self,
        index: int,
        prompt: Prompt,
        *,
        clear_old_points: bool = True,
        replay: Sequence[int] = (),
    ) -> Result:
        """Prompt in a frame and run the frames of `replay`, which follow it, again."""
        correction = index in self._tracked
        out = self._prompted(index, prompt, clear_old_points, initial=not correction)
        self._fresh.pop(index, None)  # the last prompt is the last to settle
        self._fresh[index] = (out, correction and not self.correct_as_conditioning)
        for later in replay:
            self.step(later)
        return _result(out)

    def is_prompted(self, index: int) -> bool:
        """Whether a frame has a prompt."""
        return index in self._conditioning or index in self._fresh

    def _settle(self) -> None:
        """Let prompts be memories; until then they are none, not even of one another."""
        for index, (out, correction_only) in self._fresh.items():
            if correction_only and index not in self._conditioning:
                self._others[index] = out
                continue
            self._others.pop(index, None)
            self._conditioning[index] = out
            limit = self.limits.conditioning
            if limit is not None and len(self._conditioning) > limit:
                # The oldest but the first given is a conditioning frame no more.
                first = next(iter(self._conditioning))
                gone = min(set(self._conditioning) - {first, index})
                self._others[gone] = self._conditioning.pop(gone)
        self._fresh.clear()

    def _output(self, index: int) -> Any:
        fresh = {i: out for i, (out, _) in self._fresh.items()}
        return (self._others | self._conditioning | fresh).get(index)

    def _prompted(self, index: int, prompt: Prompt, clear: bool, *, initial: bool) -> Any:
        inputs: dict[str, Any] = {}
        if prompt.mask is not None:
            self._points.pop(index, None)
            inputs["mask_inputs"] = torch.from_numpy(prompt.mask)[None, None].float()
        else:
            inputs["point_inputs"] = self._gathered(index, prompt, clear)
            before = self._output(index)
            if before is not None:
                inputs["prev_sam_mask_logits"] = before["pred_masks"].clamp(-32.0, 32.0)
        out = self._run(index, run_mem_encoder=False, initial=initial, **inputs)
        side = self.model.image_size
        high = F.interpolate(out["pred_masks"], (side, side), mode="bilinear", align_corners=False)
        _, features, _, sizes = self._seen(index)
        memory, place = self.model._encode_new_memory(
            features, sizes, high, out["object_score_logits"], is_mask_from_pts=True
        )
        return out | {"maskmem_features": memory.bfloat16(), "maskmem_pos_enc": place}

    def _gathered(self, index: int, prompt: Prompt, clear: bool) -> dict[str, torch.Tensor]:
        points, labels = list(prompt.points), list(prompt.labels)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            points, labels = [(x0, y0), (x1, y1), *points], [2, 3, *labels]
        told = torch.tensor([points]), torch.tensor([labels], dtype=torch.int32)
        if not clear and index in self._points:
            pairs = zip(self._points[index], told, strict=True)
            told = tuple(torch.cat(pair, 1) for pair in pairs)
        self._points[index] = told
        return {"point_coords": told[0], "point_labels": told[1]}

    def _run(
        self, index: int, *, run_mem_encoder: bool, initial: bool = False, **inputs: Any
    ) -> dict[str, Any]:
        _, features, places, sizes = self._seen(index)
        everything: dict[str, Any] = {"point_inputs": None, "mask_inputs": None} | inputs
        remembered = {
            "cond_frame_outputs": self._conditioning,
            "non_cond_frame_outputs": self._others,
        }
        ious: dict[int, float] = {}
        with noting_ious(self.model, ious):
            out: dict[str, Any] = self.model.track_step(
                index,
                initial,
                features,
                places,
                sizes,
                output_dict=remembered,
                num_frames=NO_END,
                run_mem_encoder=run_mem_encoder,
                **everything,
            )
        out["iou"] = ious[index]
        if run_mem_encoder:
            out["maskmem_features"] = out["maskmem_features"].bfloat16()
        return out

    def _seen(self, index: int) -> Any:
        _, encoded = self.frames[index]
        return self.model._prepare_backbone_features(encoded)


def _result(out: dict[str, Any]) -> Result:
    return Result(
        out["pred_masks"][0, 0],
        out["iou"],
        out["object_score_logits"].item(),
        out["obj_ptr"][0],
    )
