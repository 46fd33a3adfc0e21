"""Gathers from the bank what objects attend to, as keys and values for memory attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sam2.modeling.sam2_utils import get_1d_sine_pe

from engines.attention import Memories, MemoryAttention
from engines.bank import Bank
from engines.memory import Attended, Memory
from engines.transfer import on_device

# Elements of the largest tensor of a group of objects. Larger ones go back to the system after each
# use on a processor, and getting them again costs more than computing many objects together saves.
GROUP_ELEMENTS = {"cpu": 4_000_000, "cuda": 64_000_000}


@dataclass(slots=True)
class Recall:
    """Gathers memories of several objects at once.

    Attributes:
        model: A `SAM2Base`.
        bank: Where memories lie.
        attention: What projects pointers.
        place: (N, M) code of the place of each token.
        autocast: Makes the context that modules run in.
    """

    model: Any
    bank: Bank
    attention: MemoryAttention
    place: torch.Tensor
    autocast: Callable[[], Any]
    _distances: list[torch.Tensor] | None = None

    def objects_at_once(self, seen: int, looked_at: int) -> int:
        """How many objects are computed together.

        Args:
            seen: Tokens of spatial memories that each attends to.
            looked_at: Tokens of the frame that each is looked for in.
        """
        most = GROUP_ELEMENTS.get(self.place.device.type, GROUP_ELEMENTS["cuda"])
        largest = max(seen * self.attention.width, looked_at * self.attention.widest)
        return max(most // largest, 1)

    def __call__(
        self,
        objects: list[Memory],
        attended: list[Attended],
        tokens: torch.Tensor | None = None,
    ) -> Memories:
        """Gather memories.

        Args:
            objects: B objects.
            attended: What each attends to; equally many spatial memories.
            tokens: (B, t) the tokens of a memory that are attended to; None for all.
        """
        bank, device = self.bank, self.place.device
        slots = on_device([o.slot for o in objects], device)[:, None]
        places = on_device([[p for p, _ in a.spatial] for a in attended], device)
        rows = on_device([[r for _, r in a.spatial] for a in attended], device)
        codes, words, missing = self._pointers(slots, attended)
        seen = places.shape[1] * (bank.kept if tokens is None else tokens.shape[1])
        values = self._values(slots, places, tokens, words)
        tables = self._tables()

        # One buffer for the keys of all layers, which are used one after the other.
        out = values.new_empty(len(objects), values.shape[1], self.attention.width)

        def keys(layer: int) -> torch.Tensor:
            near = out[:, :seen].view(len(objects), places.shape[1], -1, self.attention.width)
            if tokens is not None:
                near.copy_(self._keys(layer, slots, places, tokens))
                near += tables[layer][rows[:, :, None], tokens[:, None]]
            elif bank.keeps_keys and device.type == "cpu":
                stored = bank.keys(layer)
                for b, (memory, what) in enumerate(zip(objects, attended, strict=True)):
                    for k, (at, row) in enumerate(what.spatial):
                        torch.add(stored[memory.slot, at], tables[layer][row], out=near[b, k])
            else:
                torch.add(self._keys(layer, slots, places, None), tables[layer][rows], out=near)
            out[:, seen:] = self.attention.project_pointers(layer, words, codes)
            return out

        return Memories(keys, values, self._bias(seen, words, missing))

    def _values(
        self,
        slots: torch.Tensor,
        places: torch.Tensor,
        tokens: torch.Tensor | None,
        words: torch.Tensor,
    ) -> torch.Tensor:
        """Return memories and pointers (B, K, M); on a processor padded to the width of keys."""
        store = self.bank.values
        found = store[slots, places] if tokens is None else _at(store, slots, places, tokens)
        found = found.flatten(1, 2)
        count, seen, channels = found.shape
        width = self.attention.width if store.device.type == "cpu" else channels
        values = found.new_zeros(count, seen + words.shape[1], width)
        values[:, :seen, :channels] = found
        values[:, seen:, :channels] = words
        return values

    def _keys(
        self, layer: int, slots: torch.Tensor, places: torch.Tensor, tokens: torch.Tensor | None
    ) -> torch.Tensor:
        if self.bank.keeps_keys:
            stored = self.bank.keys(layer)
            return stored[slots, places] if tokens is None else _at(stored, slots, places, tokens)
        keys = self.attention.project(layer, self.bank.values[slots, places], self.place)
        if tokens is None:
            return keys
        index = tokens[:, None, :, None].expand(-1, keys.shape[1], -1, keys.shape[3])
        return keys.gather(2, index)

    def _pointers(
        self, slots: torch.Tensor, attended: list[Attended], room: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return codes and words (B, P, M) of pointers, and which (B, P) are not there.

        P is as large as an object needs it, and at least `room`.
        """
        model, device = self.model, self.place.device
        most = max(room, *(len(a.pointers) for a in attended))
        padded = [a.pointers + [(0, 1)] * (most - len(a.pointers)) for a in attended]
        places = on_device([[p for p, _ in a] for a in padded], device, torch.long)
        places = places.view(len(attended), most)
        away = on_device([[float(d) for _, d in a] for a in padded], device)
        parts = model.hidden_dim // model.mem_dim  # a pointer is wider than a memory
        words = self.bank.pointers[slots, places].reshape(
            len(attended), most * parts, model.mem_dim
        )
        width = model.hidden_dim if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
        codes = get_1d_sine_pe(away.flatten() / (model.max_obj_ptrs_in_encoder - 1), dim=width)
        with self.autocast():
            codes = model.obj_ptr_tpos_proj(codes)
        codes = codes.float().view(len(attended), most, model.mem_dim)
        missing = None
        if any(len(a.pointers) < most for a in attended):
            counts = on_device([len(a.pointers) for a in attended], device)
            missing = torch.arange(most, device=device) >= counts[:, None]
            missing = missing.repeat_interleave(parts, 1)
        return codes.repeat_interleave(parts, 1), words, missing

    def _bias(
        self, seen: int, words: torch.Tensor, missing: torch.Tensor | None
    ) -> torch.Tensor | None:
        if missing is None and self.bank.pool == 1:
            return None
        bias = torch.zeros(len(words), 1, seen + words.shape[1], device=words.device)
        bias[:, :, :seen] = 2 * math.log(self.bank.pool)  # a key stands for so many tokens
        if missing is not None:
            bias[:, 0, seen:].masked_fill_(missing, -torch.inf)
        return bias

    def _tables(self) -> list[torch.Tensor]:
        """Return for each layer what a distance adds to the keys (7, kept, D)."""
        if self._distances is None:
            codes = self.model.maskmem_tpos_enc.view(-1, self.model.mem_dim)
            tables = self.attention.distances(codes)
            self._distances = [self.bank.pooled(table) for table in tables]
        return self._distances


def _at(
    store: torch.Tensor, slots: torch.Tensor, places: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Return (B, K, t, X) of a (slots, places, N, X) tensor."""
    return store[slots[:, :, None], places[:, :, None], tokens[:, None]]
