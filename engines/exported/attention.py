"""Memory attention on an exported network, over a bank of fixed length.

Every object brings as many memories as the layout has room for, whether they are there or not: what
is missing is masked, so that it changes nothing, and graphs see few shapes. Objects that remember
differently much are computed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from engines.attention import MemoryAttention
from engines.backends.face import Runner
from engines.bank import Bank
from engines.memory import Attended, Memory
from engines.networks.memory_attention import NOT_THERE
from engines.recall import Recall
from engines.transfer import on_device

#: Conditioning frames up to which room for all of them costs hardly more than room for one.
HARDLY_MORE = 2


@dataclass(slots=True)
class Gathered:
    """What each of B objects attends to, K tokens, padding included."""

    keyed: torch.Tensor
    """(B, K, M) memories with the codes of place and distance."""
    values: torch.Tensor
    """(B, K, M) memories."""
    places: torch.Tensor
    """(R, K) int64 their places; N for what is not rotated."""
    bias: torch.Tensor
    """(B, 1, K) `NOT_THERE` for padding, else 0."""


@dataclass(slots=True)
class ExportedShared:
    """What all objects have in common in one frame."""

    x: torch.Tensor
    """(1, N, C)."""
    q: torch.Tensor
    """(1, N, D)."""


class ExportedAttention(MemoryAttention):
    """As `engines.attention.MemoryAttention`, on exported networks.

    Args:
        module: The official `MemoryAttention`.
        shared: `engines.networks.SharedQueries`.
        attend: `engines.networks.AttentionToMemory`.
    """

    def __init__(self, module: Any, shared: Runner, attend: Runner) -> None:
        super().__init__(module, torch.float32)
        self._run_shared, self._run_attend = shared, attend

    def share(self, top: torch.Tensor, top_pos: torch.Tensor) -> Any:
        """Compute once a frame what does not depend on the object; see `MemoryAttention.share`.

        Args:
            top: (N, C) features of the frame.
            top_pos: Not used, the network knows it.
        """
        side = round(len(top) ** 0.5)
        found = self._run_shared({"top": top.T.reshape(1, -1, side, side)})
        return ExportedShared(found["x"], found["q"])

    def __call__(self, shared: Any, memories: Any, tokens: torch.Tensor | None = None) -> Any:
        """Condition features on memories; see `MemoryAttention.__call__`.

        Args:
            shared: An `ExportedShared`.
            memories: A `Gathered`.
            tokens: (B, n) places, or None for all.
        """
        count = len(memories.values)
        if tokens is None:
            x, q = (part.expand(count, -1, -1) for part in (shared.x, shared.q))
            looked = torch.arange(x.shape[1], device=x.device)[None]
        else:
            x, q, looked = shared.x[0][tokens], shared.q[0][tokens], tokens
        found = self._run_attend(
            {
                "x": x, "q": q, "looked": looked, "keyed": memories.keyed,
                "values": memories.values, "places": memories.places, "bias": memories.bias,
            }
        )  # fmt: skip
        return found["conditioned"]


class ExportedRecall(Recall):
    """As `engines.recall.Recall`, for exported attention."""

    def objects_at_once(self, seen: int, looked_at: int) -> int:
        """All of them: the runner splits them as it likes."""
        return 1_000_000

    def __call__(
        self,
        objects: list[Memory],
        attended: list[Attended],
        tokens: torch.Tensor | None = None,
    ) -> Any:
        """Gather memories, as many for each object; see `Recall.__call__`."""
        bank, device = self.bank, self.place.device
        needed = max(len(a.spatial) for a in attended)
        frames = next(room for room in rooms(bank) if room >= needed)
        most = pointer_room(bank)
        slots = on_device([o.slot for o in objects], device)[:, None]
        spatial = [a.spatial + [(0, 0)] * (frames - len(a.spatial)) for a in attended]
        at = on_device([[p for p, _ in s] for s in spatial], device)
        rows = on_device([[r for _, r in s] for s in spatial], device)
        codes, words, missing = self._pointers(slots, attended, most)
        stored = bank.values
        if tokens is None:
            values = stored[slots, at].float()
            code = self.place
            token_places = torch.arange(len(self.place), device=device)[None]
        else:
            values = stored[slots[:, :, None], at[:, :, None], tokens[:, None]].float()
            code = self.place[tokens][:, None]
            token_places = tokens
        distance = self.model.maskmem_tpos_enc.view(-1, self.model.mem_dim)[rows][:, :, None]
        keyed = (values + distance + code).flatten(1, 2)
        values = values.flatten(1, 2)
        count, seen = values.shape[:2]
        bias = values.new_zeros(count, 1, seen + words.shape[1])
        known = on_device([len(a.spatial) for a in attended], device)
        absent = torch.arange(frames, device=device) >= known[:, None]
        bias[:, 0, :seen] = absent.repeat_interleave(seen // frames, 1) * NOT_THERE
        if missing is not None:
            bias[:, 0, seen:] = missing * NOT_THERE
        last = torch.full((len(token_places), words.shape[1]), len(self.place), device=device)
        places = torch.cat([token_places.repeat(1, frames), last], 1)
        return Gathered(
            torch.cat([keyed, words + codes], 1), torch.cat([values, words], 1), places, bias
        )


def rooms(bank: Bank) -> tuple[int, ...]:
    """Return how many spatial memories are gathered: few, or all that there is room for.

    An object that was prompted once, as most were, has one and the recent ones. Where all are
    hardly more, there are always all.
    """
    layout = bank.layout
    recent = layout.limits.recent_frames
    most = recent + layout.conditioning
    return (most,) if layout.conditioning <= HARDLY_MORE else (recent + 1, most)


def pointer_room(bank: Bank) -> int:
    """Return how many pointers are gathered."""
    return bank.layout.limits.recent_pointers + bank.layout.conditioning


def nothing(
    bank: Bank, frames: int, kept: int, tokens: torch.Tensor | None, count: int
) -> Gathered:
    """Return memories of objects that remember nothing, of the size of others.

    Args:
        bank: Where memories lie.
        frames: Spatial memories that there is room for.
        kept: Tokens of each that are attended to.
        tokens: Their places where objects are looked for in windows, else None.
        count: Objects.
    """
    channels = bank.values.shape[-1]
    words = pointer_room(bank) * (bank.pointers.shape[-1] // channels)
    length = frames * kept + words
    blank = torch.zeros(count, length, channels, device=bank.values.device)
    rows = 1 if tokens is None else count
    places = torch.zeros(rows, length, dtype=torch.long, device=blank.device)
    return Gathered(blank, blank.clone(), places, blank.new_zeros(count, 1, length))
