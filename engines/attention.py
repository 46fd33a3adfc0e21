"""SAM2's memory attention on the official weights, arranged for a stream with many objects.

Equal to `sam2.modeling.memory_attention.MemoryAttention` up to the order of sums, and cheaper:

- What all objects share is computed once a frame: the first layer up to its queries.
- A memory's keys and values are projected when it is written. Keys are linear in the memory, in its
  place in the frame and in its distance in time, and so is the rotation; only the distance
  changes from frame to frame, and it is one table for each distance.
- The rotary code is real. Each pair of channels that turns together is moved to the two halves of
  the vector, in queries and keys alike, which leaves their products as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from engines.errors import ModelError

Linear = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Attention:
    """Projections of one attention; queries and keys have their channels in halves."""

    q: Linear
    k: Linear
    v: Linear
    out: Linear


@dataclass(frozen=True, slots=True)
class _Layer:
    norms: tuple[Any, Any, Any]
    own: _Attention
    cross: _Attention
    up: Linear
    down: Linear


@dataclass(slots=True)
class Projected:
    """Keys and values of memories in each layer."""

    keys: torch.Tensor
    """(L, ..., N, D)."""
    values: torch.Tensor
    """(L, ..., N, D)."""


class MemoryAttention:
    """Conditions a frame's features on the memories of each object.

    Args:
        module: The official `MemoryAttention`.
        dtype: What products are computed in; sums along the way stay float32.

    Raises:
        ModelError: The module is arranged in another way than SAM2.1's.
    """

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        for layer in module.layers:
            if (
                layer.pos_enc_at_attn
                or layer.pos_enc_at_cross_attn_queries
                or not layer.pos_enc_at_cross_attn_keys
                or layer.self_attn.num_heads != 1
                or layer.cross_attn_image.num_heads != 1
            ):
                raise ModelError("this memory attention is arranged in another way than SAM2.1's")
        self._dtype = dtype
        self._at_input = bool(module.pos_enc_at_input)
        self._norm = module.norm
        self._layers = [self._take(layer) for layer in module.layers]
        turn = module.layers[0].cross_attn_image.freqs_cis
        self._cos, self._sin = turn.real.to(dtype), turn.imag.to(dtype)

    def project(self, memory: torch.Tensor, place: torch.Tensor) -> Projected:
        """Project spatial memories, once, when they are written.

        Args:
            memory: (B, N, M) as the memory encoder gave it.
            place: (N, M) code of the place in the frame.

        Returns:
            Keys and values, (L, B, N, D) each; the keys lack the code of the distance in time.
        """
        keyed = (memory.float() + place).to(self._dtype)
        plain = memory.to(self._dtype)
        keys = [self._rotate(F.linear(keyed, *layer.cross.k)) for layer in self._layers]
        values = [F.linear(plain, *layer.cross.v) for layer in self._layers]
        return Projected(torch.stack(keys), torch.stack(values))

    def distances(self, codes: torch.Tensor) -> torch.Tensor:
        """Return (L, R, N, D): what each of R codes (R, M) of distance adds to a memory's keys."""
        tables = []
        for layer in self._layers:
            weight, _ = layer.cross.k
            added = F.linear(codes.to(self._dtype), weight)[:, None]
            tables.append(self._rotate(added.expand(-1, len(self._cos), -1)))
        return torch.stack(tables)

    def project_pointers(self, pointers: torch.Tensor, codes: torch.Tensor) -> Projected:
        """Project object pointers, which are not rotated.

        Args:
            pointers: (B, P, M) tokens.
            codes: (B, P, M) codes of their distance in time.
        """
        keyed, plain = (pointers + codes).to(self._dtype), pointers.to(self._dtype)
        keys = [F.linear(keyed, *layer.cross.k) for layer in self._layers]
        values = [F.linear(plain, *layer.cross.v) for layer in self._layers]
        return Projected(torch.stack(keys), torch.stack(values))

    def __call__(
        self, top: torch.Tensor, top_pos: torch.Tensor, memories: Projected
    ) -> torch.Tensor:
        """Condition features on memories.

        Args:
            top: (N, C) features of the frame, float32.
            top_pos: (N, C) their position code.
            memories: Keys and values, (L, B, K, D) each.

        Returns:
            (B, N, C) float32.
        """
        x = (top + 0.1 * top_pos if self._at_input else top)[None]
        for layer, keys, values in zip(self._layers, memories.keys, memories.values, strict=True):
            first, second, third = layer.norms
            y = first(x).to(self._dtype)
            q, k = (self._rotate(F.linear(y, *part)) for part in (layer.own.q, layer.own.k))
            x = x + self._mix(q, k, F.linear(y, *layer.own.v), layer.own.out)
            q = self._rotate(F.linear(second(x).to(self._dtype), *layer.cross.q))
            x = x + self._mix(q.expand(len(keys), -1, -1), keys, values, layer.cross.out)
            y = F.relu(F.linear(third(x).to(self._dtype), *layer.up))
            x = x + F.linear(y, *layer.down).float()
        out: torch.Tensor = self._norm(x)
        return out

    def _mix(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: Linear) -> torch.Tensor:
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return F.linear(mixed, *out).float()

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * self._cos - b * self._sin, a * self._sin + b * self._cos], dim=-1)

    def _take(self, layer: Any) -> _Layer:
        return _Layer(
            norms=(layer.norm1, layer.norm2, layer.norm3),
            own=self._attention(layer.self_attn),
            cross=self._attention(layer.cross_attn_image),
            up=self._linear(layer.linear1),
            down=self._linear(layer.linear2),
        )

    def _attention(self, module: Any) -> _Attention:
        return _Attention(
            q=self._halves(module.q_proj),
            k=self._halves(module.k_proj),
            v=self._linear(module.v_proj),
            out=self._linear(module.out_proj),
        )

    def _linear(self, module: Any) -> Linear:
        return module.weight.detach().to(self._dtype), module.bias.detach().to(self._dtype)

    def _halves(self, module: Any) -> Linear:
        weight, bias = self._linear(module)
        order = torch.cat([torch.arange(0, len(bias), 2), torch.arange(1, len(bias), 2)])
        return weight[order].contiguous(), bias[order].contiguous()
