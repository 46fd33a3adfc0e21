"""Prompts: clicks, boxes and masks become masks, and the memory of the frame they are about.

The rules are the official predictor's: a prompt on a frame that the object was not tracked through
starts from the frame alone; on one that was, it is a correction and attends to memory. Points on a
frame that has a mask start from that mask. Boxes come before points.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from engines.features import Features
from engines.heads import Decoded
from engines.memory import Memory
from engines.objects import ObjectMask, Prompt
from engines.pending import Pending
from engines.prompts import render_prompt
from engines.state import State
from engines.window import Crop

# As the official predictor, which clamps to avoid rare numerical issues.
LARGEST_PROMPT_LOGIT = 32.0


class Prompting:
    """Turns prompts into masks and memories.

    Args:
        state: What is written to.
        rendered: Whether the model wants prompts drawn as well.
        as_conditioning: Whether corrected frames become conditioning frames.
    """

    def __init__(self, state: State, *, rendered: bool, as_conditioning: bool) -> None:
        self._state = state
        self._rendered = rendered
        self._as_conditioning = as_conditioning

    def __call__(
        self,
        frame_index: int,
        features: Features,
        prompts: dict[int, Prompt],
        *,
        clear_old_points: bool,
    ) -> dict[int, ObjectMask]:
        """Prompt objects in one frame.

        Args:
            frame_index: The frame's.
            features: The frame's.
            prompts: Object id -> what is said about it.
            clear_old_points: Whether earlier points on this frame are forgotten.
        """
        if not prompts:
            return {}
        known = self._state.memories
        told = {
            obj_id: _merged(known.get(obj_id), frame_index, prompt, clear_old_points)
            for obj_id, prompt in prompts.items()
        }
        outs: dict[int, Decoded] = {}
        masked = [obj_id for obj_id, prompt in told.items() if prompt.mask is not None]
        if masked:
            side = self._state.model.image_size
            planes = [_square(told[i].mask, side, features.top.device) for i in masked]
            found = self._state.heads.masks(features, torch.cat(planes))
            outs |= {obj_id: found[row : row + 1] for row, obj_id in enumerate(masked)}
        for obj_id, prompt in told.items():
            if prompt.mask is None:
                outs[obj_id] = self._click(frame_index, features, known.get(obj_id), prompt)
        everything = Decoded.cat([outs[obj_id] for obj_id in told])
        crops: list[Crop | None] = [None] * len(told)
        raw = self._state.encoder(features, everything, prompted=True, crops=crops)
        results = {}
        for row, (obj_id, prompt) in enumerate(told.items()):
            out = outs[obj_id]
            memory = self._note(frame_index, obj_id, out, raw[row : row + 1])
            memory.prompts[frame_index] = prompt
            results[obj_id] = memory.results[frame_index] = as_mask(out, 0)
        return results

    def _click(
        self, frame_index: int, features: Features, memory: Memory | None, prompt: Prompt
    ) -> Decoded:
        state = self._state
        initial = memory is None or not memory.was_tracked(frame_index)
        if initial:
            pix = features.top + state.model.no_mem_embed.view(1, -1, 1, 1)
        else:
            assert memory is not None
            state.bring_back(memory, frame_index)
            pix = state.attend(frame_index, features, [memory])
        drawn = self._drawn(prompt, features.frame_size)
        if drawn is None and memory is not None:
            drawn = self._before(memory, frame_index)
        coords, labels = self._tokens(prompt, features.frame_size)
        return state.heads.click(pix, features, coords, labels, drawn, initial=initial)

    def _before(self, memory: Memory, frame_index: int) -> torch.Tensor | None:
        """Return the (1, 1, h, w) logits that a frame had, if they are known."""
        if pending := memory.pending.get(frame_index):
            low = pending.out.low
        elif memory.has_output(frame_index):
            low = self._state.bank.logits(memory.slot, frame_index)[None]
        else:
            return None
        return low[None].clamp(-LARGEST_PROMPT_LOGIT, LARGEST_PROMPT_LOGIT)

    def _note(self, frame_index: int, obj_id: int, out: Decoded, raw: torch.Tensor) -> Memory:
        """Keep a result for the next step to make a memory of; an unknown object is added."""
        memory = self._state.add(obj_id)
        corrects = memory.was_tracked(frame_index)
        # The last prompt settles last, so it leaves its old turn.
        memory.pending.pop(frame_index, None)
        memory.pending[frame_index] = Pending(out, raw, self._as_conditioning or not corrects)
        return memory

    # -- prompts as the model takes them --------------------------------------------------------

    def _tokens(
        self, prompt: Prompt, frame_size: tuple[int, int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        points, labels = list(prompt.points), list(prompt.labels)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            points = [(x0, y0), (x1, y1), *points]
            labels = [2, 3, *labels]
        coords = self._scaled(torch.tensor(points, dtype=torch.float32), frame_size)
        return coords[None], torch.tensor(labels, dtype=torch.int32, device=coords.device)[None]

    def _drawn(self, prompt: Prompt, frame_size: tuple[int, int]) -> torch.Tensor | None:
        if not self._rendered:
            return None
        box = points = labels = None
        if prompt.box is not None:
            corners = torch.tensor(prompt.box, dtype=torch.float32).view(2, 2)
            box = self._scaled(corners, frame_size).view(1, 4)
        if len(prompt.points):
            points = self._scaled(torch.tensor(prompt.points, dtype=torch.float32), frame_size)
            points, labels = points[None], torch.tensor(prompt.labels, device=points.device)[None]
        return render_prompt(self._state.model.image_size, points, labels, box)

    def _scaled(self, points: torch.Tensor, frame_size: tuple[int, int]) -> torch.Tensor:
        height, width = frame_size
        # Divided first, as the official predictor: equal results need the same rounding.
        part = points / torch.tensor([width, height])
        scaled: torch.Tensor = part * self._state.model.image_size
        return scaled.to(self._state.encoder.place.device)


def _merged(
    memory: Memory | None, frame_index: int, prompt: Prompt, clear_old_points: bool
) -> Prompt:
    """Join a prompt with earlier points on the same frame.

    Raises:
        ValueError: A box or a mask is to be added to earlier points.
    """
    if clear_old_points:
        return prompt
    if prompt.mask is not None or prompt.box is not None:
        raise ValueError(
            "a mask or a box cannot be added to earlier points, it comes before them; "
            "leave clear_old_points at True"
        )
    before = memory.prompts.get(frame_index) if memory else None
    if before is None or before.mask is not None:
        return prompt
    return replace(
        before,
        points=(*before.points, *prompt.points),
        labels=(*before.labels, *prompt.labels),
    )


def _square(mask: npt.NDArray[np.bool_] | None, side: int, device: torch.device) -> torch.Tensor:
    assert mask is not None
    planes = torch.from_numpy(np.ascontiguousarray(mask)).to(device)[None, None].float()
    if tuple(planes.shape[-2:]) == (side, side):
        return planes
    planes = F.interpolate(
        planes, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
    inside: torch.Tensor = planes >= 0.5
    return inside.float()


def as_mask(out: Decoded, row: int) -> ObjectMask:
    """Return one object's result as plain numbers and arrays."""
    return ObjectMask(
        logits=out.low[row].cpu().numpy(),
        iou=float(out.ious[row]),
        object_score=float(out.scores[row]),
        pointer=out.pointers[row].cpu().numpy(),
    )
