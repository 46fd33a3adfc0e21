"""The tensors behind `engines.memory`: preallocated slots, one for each object.

A slot has places for attention (keys by layer and values), a ring of pointers, and a history of
memories and logits as they were written, from which a late prompt starts. Slots are reused; their
number doubles when there are more objects than ever before.
"""

from __future__ import annotations

import torch

from engines.attention import MemoryAttention
from engines.memory import Layout
from engines.transfer import on_device

# Keys of more tokens would take more than a hundred megabytes an object; they are made when needed.
KEEP_KEYS_UP_TO_TOKENS = 1024
FIRST_SLOTS = 4


class Bank:
    """Memory of all objects.

    Args:
        layout: Where things lie in a slot.
        attention: What projects keys.
        tokens: Number N of tokens of a memory.
        channels: Channels M of a memory.
        pointer_channels: Channels C of a pointer.
        logits_px: Side of the low-resolution logits.
        pool: Keys and values are averaged over squares of this side.
        dtype: Dtype of keys and values.
        device: Where the tensors lie.
        keep_keys: Whether projected keys may be kept beside the memories.
    """

    def __init__(
        self,
        layout: Layout,
        attention: MemoryAttention,
        *,
        tokens: int,
        channels: int,
        pointer_channels: int,
        logits_px: int,
        pool: int,
        dtype: torch.dtype,
        device: torch.device,
        keep_keys: bool = True,
    ) -> None:
        self.layout = layout
        self.pool = pool
        self.kept = tokens // pool**2
        self._attention = attention
        self._side = round(tokens**0.5)
        places = layout.conditioning + layout.recents
        self._shapes = {
            "values": ((places, self.kept, channels), dtype),
            "pointers": ((layout.pointers + layout.conditioning, pointer_channels), torch.float32),
            "raw": ((layout.history, tokens, channels), torch.bfloat16),
            "logits": ((layout.history, logits_px, logits_px), torch.float32),
        }
        self.keeps_keys = keep_keys and (pool > 1 or tokens <= KEEP_KEYS_UP_TO_TOKENS)
        if self.keeps_keys:
            for layer in range(attention.layers):
                self._shapes[f"keys{layer}"] = ((places, self.kept, attention.width), dtype)
        self._device = device
        self._slots = 0
        self._free: list[int] = []
        self._store: dict[str, torch.Tensor] = {}
        self._grow_slots(FIRST_SLOTS)

    # -- slots ----------------------------------------------------------------------------------

    def take(self) -> int:
        """Return a free slot."""
        if not self._free:
            self._grow_slots(2 * self._slots)
        return self._free.pop()

    def give_back(self, slot: int) -> None:
        """Let a slot be reused."""
        self._free.append(slot)

    @property
    def nbytes(self) -> int:
        """Bytes that all slots take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._store.values())

    # -- reading --------------------------------------------------------------------------------

    @property
    def values(self) -> torch.Tensor:
        """(slots, places, kept, M)."""
        return self._store["values"]

    @property
    def pointers(self) -> torch.Tensor:
        """(slots, pointer places, C) float32; those of conditioning frames come last."""
        return self._store["pointers"]

    def keys(self, layer: int) -> torch.Tensor:
        """(slots, places, kept, D), without the code of the distance in time."""
        return self._store[f"keys{layer}"]

    def logits(self, slot: int, frame_index: int) -> torch.Tensor:
        """Return the (h, w) logits that the history holds of a frame."""
        return self._store["logits"][slot, frame_index % self.layout.history]

    # -- writing --------------------------------------------------------------------------------

    def write(
        self, slots: list[int], places: list[int], raw: torch.Tensor, place_code: torch.Tensor
    ) -> None:
        """Write memories into places for attention, one for each slot.

        Args:
            slots: B slots.
            places: B places.
            raw: (B, N, M) bfloat16.
            place_code: (N, M) code of the place in the frame.
        """
        rows = on_device(slots, self._device), on_device(places, self._device)
        values = self._store["values"]
        values[rows] = self.pooled(raw).to(values.dtype)
        if self.keeps_keys:
            for layer in range(self._attention.layers):
                keys = self._attention.project(layer, raw, place_code)
                self._store[f"keys{layer}"][rows] = self.pooled(keys)

    def write_pointers(self, slots: list[int], places: list[int], pointers: torch.Tensor) -> None:
        """Write (B, C) pointers, one for each slot."""
        rows = on_device(slots, self._device), on_device(places, self._device)
        self._store["pointers"][rows] = pointers

    def write_history(
        self, slots: list[int], frame_index: int, raw: torch.Tensor, logits: torch.Tensor
    ) -> None:
        """Keep memories (B, N, M) and logits (B, h, w) of a frame as they are."""
        place, rows = frame_index % self.layout.history, on_device(slots, self._device)
        self._store["raw"][:, place][rows] = raw
        self._store["logits"][:, place][rows] = logits

    def write_logits(self, slots: list[int], frame_index: int, logits: torch.Tensor) -> None:
        """Keep the logits (B, h, w) of a frame."""
        rows = on_device(slots, self._device)
        self._store["logits"][:, frame_index % self.layout.history][rows] = logits

    def bring_back(self, slot: int, frame_index: int, place: int, place_code: torch.Tensor) -> None:
        """Write a memory of the history into a place for attention again."""
        raw = self._store["raw"][slot, frame_index % self.layout.history]
        self.write([slot], [place], raw[None], place_code)

    def pooled(self, tokens: torch.Tensor) -> torch.Tensor:
        """Average (..., N, X) over squares of tokens, to (..., kept, X)."""
        if self.pool == 1:
            return tokens
        *lead, _, width = tokens.shape
        small = self._side // self.pool
        squares = tokens.view(*lead, small, self.pool, small, self.pool, width)
        return squares.float().mean((-2, -4)).to(tokens.dtype).reshape(*lead, self.kept, width)

    def grow_conditioning(self) -> None:
        """Make room for twice as many conditioning frames in each slot.

        Their places come first, so the recent ones move.
        """
        old = self.layout.conditioning
        self.layout.conditioning = 2 * old
        for name, (shape, dtype) in list(self._shapes.items()):
            if name in ("raw", "logits"):
                continue
            self._shapes[name] = ((shape[0] + old, *shape[1:]), dtype)
            before = self._store[name]
            after = torch.zeros(
                self._slots, shape[0] + old, *shape[1:], dtype=dtype, device=self._device
            )
            head = shape[0] - old if name == "pointers" else old
            after[:, :head] = before[:, :head]
            if name == "pointers":
                after[:, head : head + old] = before[:, head:]
            else:
                after[:, 2 * old :] = before[:, old:]
            self._store[name] = after

    def _grow_slots(self, slots: int) -> None:
        for name, (shape, dtype) in self._shapes.items():
            after = torch.zeros(slots, *shape, dtype=dtype, device=self._device)
            if self._slots:
                after[: self._slots] = self._store[name]
            self._store[name] = after
        self._free = [*range(slots - 1, self._slots - 1, -1), *self._free]
        self._slots = slots
