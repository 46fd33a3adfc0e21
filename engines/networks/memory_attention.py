"""Memory attention with a bank of any length, a real rotary code and a mask for what is not there.

The arithmetic is `engines.attention`'s. Two things differ, since a graph has no callbacks: keys are
projected inside, and the rotary code is a table with one more row that turns nothing, which is what
pointers and padding look up. There is then nothing complex, no loop and no slice that depends on
data.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from engines.attention import Linear, MemoryAttention
from engines.networks.base import OBJECTS, SHARED, Network, Port, Signature

#: What a key that is not there adds to its score: nothing is left of it after the softmax, and
#: half precision holds it.
NOT_THERE = -30_000.0


class SharedQueries(Network):
    """What all objects have in common in a frame: features and queries of the first layer.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "shared_queries"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._layers = _Layers(model)
        grid, width = int(model.sam_image_embedding_size), int(model.hidden_dim)
        code = model.image_encoder.neck.position_encoding(torch.zeros(1, width, grid, grid))
        strength = 0.1 if model.memory_attention.pos_enc_at_input else 0.0
        self.register_buffer("_code", strength * code[0].float().flatten(1).T.contiguous())
        self.signature = Signature(
            inputs=(Port("top", (1, width, grid, grid)),),
            outputs=(
                Port("x", (1, grid**2, width)),
                Port("q", (1, grid**2, self._layers.width)),
            ),
        )

    def forward(self, top: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend to the frame itself and ask."""
        layers, code = self._layers, self.get_buffer("_code")
        cos, sin = (table[:-1][None] for table in layers.tables)
        x = layers.attend_self(0, top.flatten(2).transpose(1, 2) + code, cos, sin)
        return x, layers.queries(0, x, cos, sin)


class AttentionToMemory(Network):
    """Conditions a frame's features, or parts of them, on the memories of B objects.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "memory_attention"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._layers = _Layers(model)
        width, memory = int(model.hidden_dim), int(model.mem_dim)
        self.signature = Signature(
            inputs=(
                Port("x", (OBJECTS, "n", width)),
                Port("q", (OBJECTS, "n", self._layers.width)),
                Port("looked", (SHARED, "n"), "int64"),
                Port("keyed", (OBJECTS, "K", memory)),
                Port("values", (OBJECTS, "K", memory)),
                Port("places", (SHARED, "K"), "int64"),
                Port("bias", (OBJECTS, 1, "K")),
            ),
            outputs=(Port("conditioned", (OBJECTS, "n", width)),),
        )

    def example(self, sizes: dict[str, int], seed: int = 0) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """Return inputs of a shape; nothing is missing in them."""
        out = super().example(sizes, seed)
        out["bias"].zero_()
        return out

    def forward(
        self,
        x: torch.Tensor,
        q: torch.Tensor,
        looked: torch.Tensor,
        keyed: torch.Tensor,
        values: torch.Tensor,
        places: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        """Attend.

        Args:
            x: (B, n, C) of `SharedQueries`, at the places that each object is looked for in.
            q: (B, n, D) likewise.
            looked: (R, n) those places.
            keyed: (B, K, M) memories with the codes of their place and distance.
            values: (B, K, M) memories.
            places: (R, K) their places; one beyond the last for what is not rotated.
            bias: (B, 1, K) added to scores, `NOT_THERE` for padding.
        """
        layers = self._layers
        turn, key_turn = layers.turns(looked), layers.turns(places)
        for number in range(layers.count):
            if number:
                x = layers.attend_self(number, x, *turn)
                q = layers.queries(number, x, *turn)
            k = rotate(F.linear(keyed, *layers.linear(number, "cross_k")), *key_turn)
            mixed = attend(q, k, values, bias)
            x = x + F.linear(mixed, *layers.linear(number, "cross_out"))
            x = layers.feed_forward(number, x)
        out: torch.Tensor = layers.norm(x)
        return out


class _Layers(nn.Module):
    """The weights of `engines.attention.MemoryAttention` as buffers, and what they are used for."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        taken = MemoryAttention(model.memory_attention, torch.float32)
        self.count, self.width = taken.layers, taken.width
        self.norm = model.memory_attention.norm
        self.norms = nn.ModuleList(
            nn.ModuleList([layer.norm1, layer.norm2, layer.norm3])
            for layer in model.memory_attention.layers
        )
        for number, layer in enumerate(taken.weights):
            for name in LINEARS:
                weight, bias = getattr(layer, name)
                self.register_buffer(f"{name}{number}_weight", weight)
                self.register_buffer(f"{name}{number}_bias", bias)
        cos, sin = taken.rotary
        self.register_buffer("cos", torch.cat([cos, torch.ones_like(cos[:1])]))
        self.register_buffer("sin", torch.cat([sin, torch.zeros_like(sin[:1])]))

    @property
    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (N + 1, D/2); the last row turns nothing."""
        return self.get_buffer("cos"), self.get_buffer("sin")

    def turns(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Look up places (R, K), as (R, K, D/2)."""
        cos, sin = self.tables
        return cos[places], sin[places]

    def linear(self, number: int, name: str) -> Linear:
        """Return weight and bias of one projection."""
        return self.get_buffer(f"{name}{number}_weight"), self.get_buffer(f"{name}{number}_bias")

    def queries(
        self, number: int, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Return the queries to the memories."""
        y = self.norms[number][1](x)  # type: ignore[index]
        return rotate(F.linear(y, *self.linear(number, "cross_q")), cos, sin)

    def attend_self(
        self, number: int, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Attend to the frame itself."""
        y = self.norms[number][0](x)  # type: ignore[index]
        q, k = (rotate(F.linear(y, *self.linear(number, n)), cos, sin) for n in ("own_q", "own_k"))
        mixed = attend(q, k, F.linear(y, *self.linear(number, "own_v")), None)
        return x + F.linear(mixed, *self.linear(number, "own_out"))

    def feed_forward(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """Run the layer's two-layer perceptron."""
        y = self.norms[number][2](x)  # type: ignore[index]
        y = F.relu(F.linear(y, *self.linear(number, "up")))
        return x + F.linear(y, *self.linear(number, "down"))


LINEARS = (
    "own_q", "own_k", "own_v", "own_out", "cross_q", "cross_k", "cross_out", "up", "down",
)  # fmt: skip


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Return softmax(q k' + bias) v in one head; queries are scaled already."""
    mask = None if bias is None else bias[:, None]
    mixed = F.scaled_dot_product_attention(
        q[:, None], k[:, None], v[:, None], attn_mask=mask, scale=1.0
    )
    return mixed[:, 0]


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn pairs of channels, the first of each in the first half."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
