"""What prompts and steps work on: the model in parts, the memories, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from engines.attention import MemoryAttention, Shared
from engines.backends.face import Runner
from engines.bank import Bank
from engines.exported.attention import ExportedAttention, ExportedRecall, nothing, rooms
from engines.exported.heads import ExportedDecoder, ExportedHeads
from engines.exported.memory_encoder import ExportedMemoryEncoder
from engines.features import Features
from engines.heads import Decoded, Heads
from engines.memory import NEVER, Layout, Memory
from engines.memory_encoder import MemoryEncoder
from engines.pending import Pending
from engines.precision import with_weights_in
from engines.recall import Recall
from engines.settings import Limits, Savings
from engines.transfer import on_device
from engines.window import GRAPH_SIZES_A_FRAME, SIZES_A_FRAME, Crop, window_sides

#: Numbers of objects that are computed at once: more are split into these.
WARM_UP_COUNTS = (1, 2, 4, 8)


class State:
    """A model in parts, and what it remembers of each object.

    Args:
        model: A `SAM2Base` in eval mode, on its device, float32.
        autocast: Makes the context that its modules run in.
        dtype: What memory attention computes in.
        limits: How much is remembered.
        savings: What is left out for speed.
        runners: Exported networks by name; None to run the model's own modules.
        blind: Whether who is absent stays on the device (`MemoryEncoder`).

    Raises:
        ValueError: The savings do not suit the image size or exported networks.
    """

    def __init__(
        self,
        model: Any,
        autocast: Callable[[], Any],
        dtype: torch.dtype,
        limits: Limits,
        savings: Savings,
        runners: Mapping[str, Runner] | None = None,
        *,
        blind: bool = False,
    ) -> None:
        device = next(model.parameters()).device
        if runners is None:
            self.attention = MemoryAttention(model.memory_attention, dtype)
        else:
            self.attention = ExportedAttention(
                model.memory_attention, runners["shared_queries"], runners["memory_attention"]
            )
            if savings.pool > 1:
                raise ValueError(
                    f"pool {savings.pool} is computed by backend torch only; take pool 1, or "
                    "backend torch"
                )
        if dtype != torch.float32 and runners is None:
            model = with_weights_in(model, dtype)
        self.model = model
        self.savings = savings
        self.grid = int(model.sam_image_embedding_size)
        if self.grid % savings.pool:
            raise ValueError(
                f"pool {savings.pool} does not divide the {self.grid} tokens of image size "
                f"{model.image_size}; choose a multiple of {16 * savings.pool}"
            )
        self.layout = Layout(limits, conditioning_row=int(model.num_maskmem) - 1)
        self.heads, self.encoder = _parts(model, autocast, runners, blind)
        self.bank = Bank(
            self.layout,
            self.attention,
            tokens=self.grid**2,
            channels=int(model.mem_dim),
            pointer_channels=int(model.hidden_dim),
            logits_px=4 * self.grid,
            pool=savings.pool,
            # Memories are bfloat16 as they come, as in the official predictor.
            dtype=dtype if runners is None else torch.bfloat16,
            device=device,
            keep_keys=runners is None,
        )
        recall = Recall if runners is None else ExportedRecall
        self.recall = recall(model, self.bank, self.attention, self.encoder.place, autocast)
        self.memories: dict[int, Memory] = {}
        self._top_code: torch.Tensor | None = None
        self.mixed_lengths = runners is not None
        """Whether objects that remember differently much can be computed together."""
        self.window_sizes = SIZES_A_FRAME if runners is None else GRAPH_SIZES_A_FRAME
        """Sizes of windows up to the whole frame."""

    # -- objects ------------------------------------------------------------------------------

    def add(self, obj_id: int) -> Memory:
        """Return the memory of an object, a new one if it is unknown."""
        if obj_id not in self.memories:
            self.memories[obj_id] = Memory(self.bank.take(), self.layout)
        return self.memories[obj_id]

    def remove(self, obj_id: int) -> None:
        """Forget an object."""
        memory = self.memories.pop(obj_id, None)
        if memory is not None:
            self.bank.give_back(memory.slot)

    @torch.inference_mode()
    def warm_up(self, features: Features) -> None:
        """Run exported networks once in every size that a live stream will want.

        Args:
            features: Of any frame.
        """
        crops: list[Crop | None] = [None]
        if window := self.savings.window:
            sides = window_sides(self.grid, window.least_tokens, self.window_sizes)
            crops += [Crop(0, 0, side, self.grid) for side in sides]
        for crop in crops:
            for count in WARM_UP_COUNTS:
                self._warm_up(features, crop, count)

    def _warm_up(self, features: Features, crop: Crop | None, count: int) -> None:
        assert isinstance(self.attention, ExportedAttention)
        shared = self._share(features)
        some = None if crop is None else [crop] * count
        tokens, pix = None, features.top
        if crop is not None:
            tokens = torch.from_numpy(crop.tokens()).to(pix.device).expand(count, -1)
            pix = crop.take(pix)
        out = self.heads.track(pix.expand(count, -1, -1, -1), features, some)
        out.scores.fill_(1.0)
        self.encoder(features, out, prompted=False, crops=[crop] * count)
        kept = self.bank.kept if tokens is None else tokens.shape[1]
        for frames in rooms(self.bank):
            self.attention(shared, nothing(self.bank, frames, kept, tokens, count), tokens)

    # -- reading ------------------------------------------------------------------------------

    def attend(
        self,
        frame_index: int,
        features: Features,
        objects: list[Memory],
        crops: list[Crop] | None = None,
    ) -> torch.Tensor:
        """Condition features on the memories of objects that have equally many spatial ones.

        Args:
            frame_index: The frame's.
            features: The frame's.
            objects: B objects.
            crops: Where each is looked for, squares of one size; None for everywhere.

        Returns:
            (B, C, s, s) float32.
        """
        attended = [memory.attended(frame_index) for memory in objects]
        tokens = None
        if crops is not None:
            rows = np.stack([crop.tokens() for crop in crops])
            tokens = on_device(rows, self.encoder.place.device)
        shared = self._share(features)
        looked_at = self.grid**2 if tokens is None else tokens.shape[1]
        kept = self.bank.kept if tokens is None else looked_at
        at_once = self.recall.objects_at_once(len(attended[0].spatial) * kept, looked_at)
        parts = []
        for first in range(0, len(objects), at_once):
            some = slice(first, first + at_once)
            near = None if tokens is None else tokens[some]
            memories = self.recall(objects[some], attended[some], near)
            parts.append(self.attention(shared, memories, near))
        out = torch.cat(parts) if len(parts) > 1 else parts[0]
        side = self.grid if crops is None else crops[0].side
        return out.transpose(1, 2).reshape(len(objects), -1, side, side)

    @torch.inference_mode()
    def prepare(self, features: Features) -> None:
        """Make what a step needs of a frame whatever its objects are; see `Tracker.prepare`."""
        if not self.memories:
            return
        self._share(features)
        if self.savings.window is not None:
            self.encoder.prepare(features)

    def _share(self, features: Features) -> Shared:
        if "queries" not in features.made:
            if self._top_code is None:
                code = self.model.image_encoder.neck.position_encoding(features.top)
                self._top_code = code[0].float().flatten(1).T
            top = features.top[0].flatten(1).T
            features.made["queries"] = self.attention.share(top, self._top_code)
        shared: Shared = features.made["queries"]
        return shared

    # -- writing ------------------------------------------------------------------------------

    def remember(
        self, frame_index: int, objects: list[Memory], out: Decoded, raw: torch.Tensor
    ) -> None:
        """Write a frame without a prompt into the memory of B objects.

        Args:
            frame_index: The frame's.
            objects: B objects.
            out: Their results.
            raw: (B, N, M) their memories.
        """
        slots = [memory.slot for memory in objects]
        places = [memory.remember(frame_index) for memory in objects]
        self.bank.write(slots, places, raw, self.encoder.place)
        pointer = frame_index % self.layout.pointers
        self.bank.write_pointers(slots, [pointer] * len(slots), out.pointers)
        self.bank.write_history(slots, frame_index, raw, out.low)
        for memory in objects:
            memory.output(frame_index)

    def settle(self, memory: Memory, frame_index: int) -> None:
        """Make memories of what an object was prompted to be, and be ready for a frame.

        Args:
            memory: The object's.
            frame_index: The frame that is stepped next.
        """
        if not memory.pending:
            return
        for index, pending in memory.pending.items():
            if pending.conditioning or index in memory.conditioning:
                self._condition(memory, index, pending, frame_index)
            else:
                self.remember(index, [memory], pending.out, pending.raw)
        memory.pending.clear()
        self.bring_back(memory, frame_index)

    def _condition(
        self, memory: Memory, frame_index: int, pending: Pending, next_frame: int
    ) -> None:
        """Write a conditioning frame into the memory of one object."""
        places = dict(memory.conditioning)
        if self.layout.limits.conditioning is None and len(places) >= self.layout.conditioning:
            self.bank.grow_conditioning()
        place, gone = memory.condition(frame_index)
        if gone is not None:
            self._demote(memory, gone, places[gone], next_frame)
        slots, out = [memory.slot], pending.out
        self.bank.write(slots, [place], pending.raw, self.encoder.place)
        self.bank.write_pointers(slots, [self.layout.pointers + place], out.pointers)
        if frame_index > next_frame - self.layout.history:
            self.bank.write_history(slots, frame_index, pending.raw, out.low)
            memory.output(frame_index)

    def bring_back(self, memory: Memory, frame_index: int) -> None:
        """Let an object's memory be what it was when a frame was stepped, or will be."""
        for index, place in memory.restore(frame_index):
            self.bank.bring_back(memory.slot, index, place, self.encoder.place)

    def _demote(self, memory: Memory, frame_index: int, place: int, next_frame: int) -> None:
        """Keep a frame that is not a conditioning one any more as a recent one."""
        ring = frame_index % self.layout.pointers
        if frame_index > next_frame - self.layout.pointers and memory.pointers[ring] < frame_index:
            pointer = self.bank.pointers[memory.slot, self.layout.pointers + place]
            self.bank.write_pointers([memory.slot], [ring], pointer[None].clone())
            memory.pointers[ring] = frame_index
        if not memory.has_output(frame_index):
            return
        memory.stored[frame_index % self.layout.history] = frame_index
        recent = self.layout.recent_place(frame_index)
        if memory.recents[recent] in (NEVER, frame_index):
            memory.recents[recent] = frame_index
            at = self.layout.conditioning + recent
            self.bank.bring_back(memory.slot, frame_index, at, self.encoder.place)


def _parts(
    model: Any, autocast: Callable[[], Any], runners: Mapping[str, Runner] | None, blind: bool
) -> tuple[Heads, MemoryEncoder]:
    if runners is None:
        return Heads(model, autocast), MemoryEncoder(model, autocast, blind=blind)
    decoder = ExportedDecoder(model, runners["mask_decoder"])
    return (
        ExportedHeads(model, autocast, decoder),
        ExportedMemoryEncoder(model, autocast, runners["memory_encoder"], blind=blind),
    )
