"""The streaming tracker: SAM2's own modules, a predictor of ours around them.

The official predictor loads a whole clip and steps object by object. This one takes frames as they
come, keeps a bounded memory per object (`engines.memory`), and steps together all objects that
attend to equally many memories. Paper: SAM 2, Ravi et al. 2024, arXiv 2408.00714.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sam2.modeling.sam2_utils import get_1d_sine_pe

from engines.attention import MemoryAttention, Projected
from engines.features import Features
from engines.images import IMAGENET_MEAN, IMAGENET_STD, to_input
from engines.memory import Limits, Memory, Output, Spatial
from engines.objects import ObjectMask, Prompt
from engines.pieces import one_piece
from engines.precision import PRECISIONS, choose_precision
from engines.prompts import render_prompt

# Above this, keys and values of all layers would take hundreds of megabytes an object.
KEEP_PROJECTED_UP_TO_PX = 512


class Tracker:
    """Tracks objects through frames that come one by one.

    `frame_index` counts the frames given to the tracker, without gaps; a frame that was dropped
    before the tracker has no index here.
    """

    def __init__(
        self,
        model: Any,
        *,
        precision: str = "fp32",
        device: str = "cpu",
        rendered_prompts: bool = False,
        limits: Limits | None = None,
        non_overlap: bool = False,
        one_piece: bool = False,
    ) -> None:
        """Wrap a model.

        Args:
            model: A `SAM2Base` in eval mode.
            precision: `fp32`, `bf16`, `fp16` or `auto`; below fp32 the modules run under autocast.
            device: A torch device.
            rendered_prompts: Whether the model wants prompts drawn as well (`engines.prompts`).
            limits: How much an object remembers; None for what SAM2.1 attends to.
            non_overlap: Give a pixel that several objects claim to the surest of them, in the
                masks and in the memories; the official predictor's default is not to.

            one_piece: Keep the largest connected piece of a mask only, for objects such as cells.

        Raises:
            ValueError: An unknown precision.
        """
        self.precision = choose_precision(precision, device)
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.rendered_prompts = rendered_prompts
        self._dtype = PRECISIONS[self.precision]
        self._limits = limits or Limits()
        self._non_overlap = non_overlap
        self._one_piece = one_piece
        self._memories: dict[int, Memory] = {}
        self._attention = MemoryAttention(self.model.memory_attention, self._dtype)
        self._place: torch.Tensor | None = None
        self._distances: torch.Tensor | None = None
        self._top_pos: torch.Tensor | None = None

    @property
    def image_size(self) -> int:
        """Side of the square model input in pixels."""
        return int(self.model.image_size)

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects that are tracked."""
        return list(self._memories)

    @torch.inference_mode()
    def encode(self, image: npt.NDArray[np.uint8]) -> Features:
        """Run the image encoder, once a frame.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        side = self.image_size
        planes = to_input(image, (side, side), IMAGENET_MEAN, IMAGENET_STD, self.device)
        with self._autocast():
            out = self.model.forward_image(planes)
        quarter, half, top = (level.float() for level in out["backbone_fpn"])
        # The position code of the top level depends on nothing but its size.
        self._top_pos = out["vision_pos_enc"][-1].float()
        return Features(top=top, half=half, quarter=quarter, frame_size=image.shape[:2])

    @torch.inference_mode()
    def add_object(
        self,
        obj_id: int,
        frame_index: int,
        features: Features,
        *,
        box: tuple[float, float, float, float] | None = None,
        points: Sequence[tuple[float, float]] | None = None,
        labels: Sequence[int] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> ObjectMask:
        """Prompt an object in this frame or in one gone by; a live object is conditioned anew.

        Args:
            obj_id: Id of the object; an unknown one is added.
            frame_index: Index of the frame that the prompt is about.
            features: That frame's features.
            box: x0, y0, x1, y1 in frame pixels.
            points: (x, y) in frame pixels.
            labels: 1 or 0 for each point.
            mask: (h, w) bool covering the whole frame.

        Returns:
            The mask in that frame, which is now the object's memory of it.
        """
        prompt = Prompt(mask, box, tuple(points or ()), tuple(labels or ()))
        return self.add_objects(frame_index, features, {obj_id: prompt})[obj_id]

    @torch.inference_mode()
    def add_objects(
        self, frame_index: int, features: Features, prompts: dict[int, Prompt]
    ) -> dict[int, ObjectMask]:
        """Prompt several objects in one frame; see `add_object`."""
        results: dict[int, ObjectMask] = {}
        masked = {i: p.mask for i, p in prompts.items() if p.mask is not None}
        if masked:
            results |= self._prompt_masks(frame_index, features, masked)
        for obj_id, prompt in prompts.items():
            if prompt.mask is None:
                results |= self._prompt_points(frame_index, features, obj_id, prompt)
        return results

    @torch.inference_mode()
    def step(self, frame_index: int, features: Features) -> dict[int, ObjectMask]:
        """Find every object in the next frame and remember it.

        Args:
            frame_index: One more than at the last call.
            features: The frame's features.

        Returns:
            The mask of each object by id; of an object prompted in this very frame, the prompt's.
        """
        results: dict[int, ObjectMask] = {}
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for obj_id, memory in self._memories.items():
            prompted = memory.prompted.get(frame_index)
            memory.prompted.clear()
            if prompted is not None:
                results[obj_id] = _as_mask(prompted)
            else:
                spatial, pointers = memory.attended(frame_index, self._conditioning_row)
                alike[len(spatial), len(pointers)].append(obj_id)
        if alike:
            results |= self._track(frame_index, features, list(alike.values()))
        return {obj_id: results[obj_id] for obj_id in self._memories}

    def remove_object(self, obj_id: int) -> None:
        """Forget an object; an unknown id is not an error."""
        self._memories.pop(obj_id, None)

    def reset(self) -> None:
        """Forget all objects."""
        self._memories.clear()

    # -- prompts ---------------------------------------------------------------------------------

    def _prompt_masks(
        self,
        frame_index: int,
        features: Features,
        masks: dict[int, npt.NDArray[np.bool_]],
    ) -> dict[int, ObjectMask]:
        side = (self.image_size, self.image_size)
        full = torch.cat([_resize_mask(mask, side, self.device) for mask in masks.values()])
        count = len(full)
        with self._autocast():
            out = self.model._use_mask_as_output(
                features.top.expand(count, -1, -1, -1), _expand(features.high_res, count), full
            )
        return self._remember_prompts(frame_index, features, list(masks), out)

    def _prompt_points(
        self, frame_index: int, features: Features, obj_id: int, prompt: Prompt
    ) -> dict[int, ObjectMask]:
        coords, labels = self._point_tokens(prompt, features.frame_size)
        memory = self._memories.get(obj_id)
        with self._autocast():
            if memory is not None and memory.conditioning:
                pix = self._attend(frame_index, features, [obj_id])
            else:
                pix = features.top + self.model.no_mem_embed.view(1, -1, 1, 1)
            out = self.model._forward_sam_heads(
                backbone_features=pix,
                point_inputs={"point_coords": coords, "point_labels": labels},
                mask_inputs=self._drawn(prompt, features.frame_size),
                high_res_features=features.high_res,
                multimask_output=self.model._use_multimask(True, {"point_labels": labels}),
            )
        return self._remember_prompts(frame_index, features, [obj_id], out)

    def _point_tokens(
        self, prompt: Prompt, frame_size: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        points = list(prompt.points)
        labels = list(prompt.labels)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            points = [(x0, y0), (x1, y1), *points]
            labels = [2, 3, *labels]
        coords = self._scale(torch.tensor(points, dtype=torch.float32), frame_size)
        kinds = torch.tensor(labels, dtype=torch.int32, device=self.device)
        return coords[None], kinds[None]

    def _drawn(self, prompt: Prompt, frame_size: tuple[int, int]) -> torch.Tensor | None:
        if not self.rendered_prompts:
            return None
        box = points = labels = None
        if prompt.box is not None:
            corners = torch.tensor(prompt.box, dtype=torch.float32).view(2, 2)
            box = self._scale(corners, frame_size).view(1, 4)
        if len(prompt.points):
            points = self._scale(torch.tensor(prompt.points, dtype=torch.float32), frame_size)[None]
            labels = torch.tensor(prompt.labels, device=self.device)[None]
        return render_prompt(self.image_size, points, labels, box)

    def _scale(self, points: torch.Tensor, frame_size: tuple[int, int]) -> torch.Tensor:
        height, width = frame_size
        factor = torch.tensor([self.image_size / width, self.image_size / height])
        return (points * factor).to(self.device)

    def _remember_prompts(
        self, frame_index: int, features: Features, ids: list[int], out: tuple[Any, ...]
    ) -> dict[int, ObjectMask]:
        _, _, ious, low, _, pointers, scores = out
        # As the official predictor: what is remembered is the low-resolution mask, enlarged.
        side = (self.image_size, self.image_size)
        full = F.interpolate(low.float(), size=side, mode="bilinear", align_corners=False)
        memories = self._encode_memory(features, full, scores, prompted=True)
        results = {}
        for row, obj_id in enumerate(ids):
            memory = self._memories.setdefault(obj_id, Memory(self._limits))
            memory.write_conditioning(frame_index, memories[row], pointers[row].float())
            output = _output(low[row, 0], ious[row], scores[row])
            memory.prompted[frame_index] = output
            results[obj_id] = _as_mask(output)
        return results

    # -- frames without a prompt -----------------------------------------------------------------

    def _track(
        self, frame_index: int, features: Features, groups: list[list[int]]
    ) -> dict[int, ObjectMask]:
        """Step all objects; those of one group attend to equally many memories."""
        outs = [self._decode(frame_index, features, ids) for ids in groups]
        low, high, ious, pointers, scores = (torch.cat(part) for part in zip(*outs, strict=True))
        if self._non_overlap:
            low = self.model._apply_non_overlapping_constraints(low)
        if self._one_piece:
            low = one_piece(low[:, 0])[:, None]
        if self._non_overlap or self._one_piece:
            side = (self.image_size, self.image_size)
            high = F.interpolate(low, size=side, mode="bilinear", align_corners=False)
        memories = self._encode_memory(features, high, scores, prompted=False)
        results = {}
        for row, obj_id in enumerate(obj_id for ids in groups for obj_id in ids):
            self._memories[obj_id].write(frame_index, memories[row], pointers[row])
            results[obj_id] = _as_mask(_output(low[row, 0], ious[row], scores[row]))
        return results

    def _decode(
        self, frame_index: int, features: Features, ids: list[int]
    ) -> tuple[torch.Tensor, ...]:
        """Return low- and high-resolution logits, best IoUs, pointers and object scores."""
        with self._autocast():
            pix = self._attend(frame_index, features, ids)
            _, _, ious, low, high, pointers, scores = self.model._forward_sam_heads(
                backbone_features=pix,
                high_res_features=_expand(features.high_res, len(ids)),
                multimask_output=self.model._use_multimask(False, None),
            )
        return low.float(), high.float(), ious.amax(1), pointers.float(), scores.float()

    def _attend(self, frame_index: int, features: Features, ids: list[int]) -> torch.Tensor:
        """Condition the frame's features on the memories of objects with equally many of them."""
        assert self._top_pos is not None, "frames are encoded before they are attended from"
        row = self._conditioning_row
        attended = [self._memories[i].attended(frame_index, row) for i in ids]
        parts = [self._spatial_keys([s for s, _ in attended])]
        if attended[0][1]:
            parts.append(self._pointer_keys([p for _, p in attended]))
        memories = parts[0]
        if len(parts) > 1:
            memories = Projected(
                torch.cat([p.keys for p in parts], dim=2),
                torch.cat([p.values for p in parts], dim=2),
            )
        top = features.top[0].flatten(1).T
        out = self._attention(top, self._top_pos[0].flatten(1).T, memories)
        return out.transpose(1, 2).reshape(len(ids), *features.top.shape[1:])

    def _spatial_keys(self, objects: list[list[tuple[int, Spatial]]]) -> Projected:
        """Return keys and values (L, B, K*S*S, D) of K spatial memories of each of B objects."""
        place, distances = self._codes()
        keys, values = [], []
        for memories in objects:
            projected = [
                m.projected or _only(self._attention.project(m.raw[None], place))
                for _, m in memories
            ]
            rows = [row for row, _ in memories]
            keys.append(torch.stack([p.keys for p in projected], 1) + distances[:, rows])
            values.append(torch.stack([p.values for p in projected], 1))
        return Projected(torch.stack(keys, 1).flatten(2, 3), torch.stack(values, 1).flatten(2, 3))

    def _pointer_keys(self, objects: list[list[tuple[int, torch.Tensor]]]) -> Projected:
        """Return keys and values (L, B, P, D) of the object pointers of each of B objects."""
        model, count = self.model, len(objects)
        tokens = torch.stack([torch.stack([p for _, p in q]) for q in objects])
        away = torch.tensor([[float(d) for d, _ in q] for q in objects], device=self.device)
        width = model.hidden_dim if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
        codes = get_1d_sine_pe(away.flatten() / (model.max_obj_ptrs_in_encoder - 1), dim=width)
        codes = model.obj_ptr_tpos_proj(codes).view(count, -1, model.mem_dim)
        # A pointer is wider than a memory and becomes several tokens.
        codes = codes.repeat_interleave(model.hidden_dim // model.mem_dim, dim=1)
        return self._attention.project_pointers(tokens.view(count, -1, model.mem_dim), codes)

    def _encode_memory(
        self, features: Features, masks: torch.Tensor, scores: torch.Tensor, *, prompted: bool
    ) -> list[Spatial]:
        """Return the memories of (B, 1, image_size, image_size) mask logits."""
        count = len(masks)
        top = features.top.flatten(2).permute(2, 0, 1).expand(-1, count, -1)
        with self._autocast():
            memory, pos = self.model._encode_new_memory(
                current_vision_feats=[top],
                feat_sizes=[tuple(features.top.shape[-2:])],
                pred_masks_high_res=masks,
                object_score_logits=scores,
                is_mask_from_pts=prompted,
            )
        if self._place is None:
            self._place = pos[-1][0].float().flatten(1).T
        # The official predictor keeps memories in bfloat16; equal results need the same rounding.
        raw = memory.to(torch.bfloat16).flatten(2).transpose(1, 2)
        if self.image_size > KEEP_PROJECTED_UP_TO_PX:
            return [Spatial(row) for row in raw]
        kept = self._attention.project(raw, self._place)
        return [
            Spatial(raw[row], Projected(kept.keys[:, row], kept.values[:, row]))
            for row in range(count)
        ]

    @property
    def _conditioning_row(self) -> int:
        return int(self.model.num_maskmem) - 1

    def _codes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return place codes (S*S, M), and what each distance adds to keys (L, 7, S*S, D)."""
        assert self._place is not None, "a memory is attended to only after one was written"
        if self._distances is None:
            codes = self.model.maskmem_tpos_enc.view(-1, self.model.mem_dim)
            self._distances = self._attention.distances(codes)
        return self._place, self._distances

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
        )


def _only(projected: Projected) -> Projected:
    """Take the one object of a batch of one."""
    return Projected(projected.keys[:, 0], projected.values[:, 0])


def _expand(levels: list[torch.Tensor], count: int) -> list[torch.Tensor]:
    return [level.expand(count, -1, -1, -1) for level in levels]


def _resize_mask(
    mask: npt.NDArray[np.bool_], size: tuple[int, int], device: torch.device
) -> torch.Tensor:
    planes = torch.from_numpy(np.ascontiguousarray(mask)).to(device)[None, None].float()
    if tuple(planes.shape[-2:]) == size:
        return planes
    planes = F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)
    inside: torch.Tensor = planes >= 0.5
    return inside.float()


def _output(low: torch.Tensor, ious: torch.Tensor, score: torch.Tensor) -> Output:
    return Output(low.float(), float(ious.max()), float(score))


def _as_mask(output: Output) -> ObjectMask:
    return ObjectMask(output.logits.cpu().numpy(), output.iou, output.object_score)
