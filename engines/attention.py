"""SAM2's memory attention on the official weights, arranged for a stream with many objects.

Equal to `sam2.modeling.memory_attention.MemoryAttention` up to the order of sums, and cheaper:

- What all objects share is computed once a frame: the first layer up to its queries.
- A memory's keys are projected when it is written. Keys are linear in the memory, in its place in
  the frame and in its distance in time, and so is the rotation; only the distance changes from
  frame to frame, and it is one table for each distance.
- Values are not projected at all: weights that sum to one commute with the projection, so the
  memories themselves are averaged (64 channels instead of 256) and the result is projected, by the
  product of the value and the output matrix.
- The rotary code is real. Each pair of channels that turns together is moved to the two halves of
  the vector, in queries and keys alike, which leaves their products as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from engines.errors import ModelError

Linear = tuple[torch.Tensor, torch.Tensor]
# Below this many scores an object, plain products beat the fused kernel on a processor.
SMALL_SCORES = 65_536


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's weights, arranged for use."""

    norms: tuple[Any, Any, Any]
    own_q: Linear
    own_k: Linear
    own_v: Linear
    own_out: Linear
    cross_q: Linear
    cross_k: Linear
    cross_out: Linear
    """Value and output projection in one, from memory channels to model channels."""
    up: Linear
    down: Linear


@dataclass(slots=True)
class Shared:
    """What all objects have in common in one frame."""

    x: torch.Tensor
    """(N, C) float32: the features after the first layer's self-attention."""
    q: torch.Tensor
    """(N, D): the first layer's queries to the memories."""


@dataclass(slots=True)
class Memories:
    """What each of B objects attends to."""

    keys: Callable[[int], torch.Tensor]
    """Layer -> (B, K, D)."""
    values: torch.Tensor
    """(B, K, M) the memories as they were written, or with zeros after them to any width: the fused
    kernel of a processor wants values as wide as keys."""
    bias: torch.Tensor | None = None
    """(B, 1, K) added to the scores: -inf where an object has fewer memories than others."""


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
        self._layers = [_take(layer, dtype) for layer in module.layers]
        turn = module.layers[0].cross_attn_image.freqs_cis
        self._cos, self._sin = turn.real.to(dtype), turn.imag.to(dtype)

    @property
    def layers(self) -> int:
        """Number of layers L."""
        return len(self._layers)

    @property
    def widest(self) -> int:
        """Channels inside of a layer, where it is widest."""
        return len(self._layers[0].up[1])

    @property
    def width(self) -> int:
        """Channels D of queries and keys."""
        return len(self._layers[0].cross_k[1])

    @property
    def weights(self) -> list[Layer]:
        """The layers, as they are computed with."""
        return self._layers

    @property
    def rotary(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (N, D/2) of the rotary code."""
        return self._cos, self._sin

    # -- what is done when a memory is written ------------------------------------------------

    def project(self, layer: int, memory: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Return the keys (..., N, D) of spatial memories, without the code of their distance.

        Args:
            layer: Which layer's.
            memory: (..., N, M) as the memory encoder gave it.
            place: (N, M) code of the place in the frame.
        """
        keyed = (memory.float() + place).to(self._dtype)
        return self._rotate(F.linear(keyed, *self._layers[layer].cross_k))

    def distances(self, codes: torch.Tensor) -> list[torch.Tensor]:
        """Return for each layer (R, N, D): what each of R codes (R, M) adds to the keys."""
        tables = []
        for layer in self._layers:
            added = F.linear(codes.to(self._dtype), layer.cross_k[0])[:, None]
            tables.append(self._rotate(added.expand(-1, len(self._cos), -1)))
        return tables

    def project_pointers(
        self, layer: int, pointers: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        """Return the keys (B, P, D) of object pointers, which are not rotated.

        Args:
            layer: Which layer's.
            pointers: (B, P, M) tokens.
            codes: (B, P, M) codes of their distance in time.
        """
        return F.linear((pointers + codes).to(self._dtype), *self._layers[layer].cross_k)

    # -- what is done in every frame ----------------------------------------------------------

    def share(self, top: torch.Tensor, top_pos: torch.Tensor) -> Shared:
        """Compute once a frame what does not depend on the object.

        Args:
            top: (N, C) features of the frame, float32.
            top_pos: (N, C) their position code.
        """
        x = (top + 0.1 * top_pos if self._at_input else top)[None]
        layer = self._layers[0]
        x = self._attend_self(layer, x, self._cos, self._sin)
        q = F.linear(layer.norms[1](x).to(self._dtype), *layer.cross_q)
        return Shared(x[0], self._rotate(q)[0])

    def __call__(
        self, shared: Shared, memories: Memories, tokens: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Condition features on memories.

        Args:
            shared: This frame's shared part.
            memories: What B objects attend to.
            tokens: (B, n) the places that each object is looked for in; None for all.

        Returns:
            (B, n, C) float32.
        """
        count = len(memories.values)
        if tokens is None:
            x, q = shared.x[None], shared.q[None].expand(count, -1, -1)
            cos, sin = self._cos, self._sin
        else:
            x, q = shared.x[tokens], shared.q[tokens]
            cos, sin = self._cos[tokens], self._sin[tokens]
        for number, layer in enumerate(self._layers):
            if number:
                x = self._attend_self(layer, x, cos, sin)
                q = F.linear(layer.norms[1](x).to(self._dtype), *layer.cross_q)
                q = _rotate(q, cos, sin)
            mixed = attend(q, memories.keys(number), memories.values, memories.bias)
            mixed = mixed[..., : layer.cross_out[0].shape[1]]
            x = x + F.linear(mixed, *layer.cross_out).float()
            y = F.linear(layer.norms[2](x).to(self._dtype), *layer.up).relu_()
            x = x + F.linear(y, *layer.down).float()
        out: torch.Tensor = self._norm(x)
        return out

    def _attend_self(
        self, layer: Layer, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        y = layer.norms[0](x).to(self._dtype)
        q, k = (_rotate(F.linear(y, *part), cos, sin) for part in (layer.own_q, layer.own_k))
        mixed = attend(q, k, F.linear(y, *layer.own_v), None)
        return x + F.linear(mixed, *layer.own_out).float()

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        return _rotate(x, self._cos, self._sin)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Return softmax(q k' + bias) v, in one head; queries are scaled already.

    Args:
        q: (B, n, D).
        k: (B, K, D).
        v: (B, K, X).
        bias: (B, 1, K) or None.
    """
    if q.device.type == "cpu" and q.shape[1] * k.shape[1] <= SMALL_SCORES:
        scores = torch.bmm(q, k.transpose(1, 2))
        if bias is not None:
            scores += bias.to(scores.dtype)
        return torch.bmm(scores.softmax(-1), v)
    mask = None if bias is None else bias[:, None].expand(-1, 1, q.shape[1], -1).to(q.dtype)
    mixed = F.scaled_dot_product_attention(
        q[:, None], k[:, None], v[:, None], attn_mask=mask, scale=1.0
    )
    return mixed[:, 0]


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _take(layer: Any, dtype: torch.dtype) -> Layer:
    own, cross = layer.self_attn, layer.cross_attn_image
    out, value = cross.out_proj, cross.v_proj
    weight = out.weight.detach() @ value.weight.detach()
    bias = out.weight.detach() @ value.bias.detach() + out.bias.detach()
    return Layer(
        norms=(layer.norm1, layer.norm2, layer.norm3),
        own_q=_halves(own.q_proj, dtype, scaled=True),
        own_k=_halves(own.k_proj, dtype),
        own_v=_linear(own.v_proj, dtype),
        own_out=_linear(own.out_proj, dtype),
        cross_q=_halves(cross.q_proj, dtype, scaled=True),
        cross_k=_halves(cross.k_proj, dtype),
        cross_out=(weight.to(dtype), bias.to(dtype)),
        up=_linear(layer.linear1, dtype),
        down=_linear(layer.linear2, dtype),
    )


def _linear(module: Any, dtype: torch.dtype) -> Linear:
    return module.weight.detach().to(dtype), module.bias.detach().to(dtype)


def _halves(module: Any, dtype: torch.dtype, *, scaled: bool = False) -> Linear:
    weight, bias = module.weight.detach(), module.bias.detach()
    order = torch.cat([torch.arange(0, len(bias), 2), torch.arange(1, len(bias), 2)])
    factor = len(bias) ** -0.5 if scaled else 1.0
    return (weight[order] * factor).to(dtype), (bias[order] * factor).to(dtype)
