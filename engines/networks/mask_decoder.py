"""Prompts and features to masks: the mask prompt's encoder and the mask decoder, in one graph.

Points come in as codes, not as coordinates: the code is a sine of hundreds of radians, which half
precision would move by pixels; `PointCode` computes it in float32 outside of the graph. Slots for
points are fixed, and one that is not used is masked out of every attention, so that it changes
nothing (the official padding token, label -1, is a token like others).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from engines.networks.base import OBJECTS, SHARED, Network, Port, Signature
from engines.networks.memory_attention import NOT_THERE

#: Label of a slot that is not used.
UNUSED = -2


class PointCode:
    """Codes of points and of box corners, in float32.

    Args:
        model: A `SAM2Base`.
    """

    def __init__(self, model: Any) -> None:
        self._encoder = model.sam_prompt_encoder
        self._width = int(model.hidden_dim)

    def __call__(
        self, coords: torch.Tensor, labels: torch.Tensor, slots: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return codes (B, slots, C) and what is added to their scores (B, slots).

        Args:
            coords: (B, P, 2) x, y in model-input pixels.
            labels: (B, P) as the official prompt encoder knows them.
            slots: At least P + 1: the official encoder adds a padding token.

        Raises:
            ValueError: There are too few slots.
        """
        count, points = labels.shape
        if slots <= points:
            raise ValueError(f"{slots} slots are too few for {points} points and the padding token")
        codes = self._encoder._embed_points(coords.float(), labels, pad=True).float()
        out = codes.new_zeros(count, slots, self._width)
        out[:, : points + 1] = codes
        missing = codes.new_zeros(count, slots)
        missing[:, points + 1 :] = NOT_THERE
        return out, missing


class MaskDecoder(Network):
    """The mask decoder on any square part of the frame.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "mask_decoder"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._encoder = model.sam_prompt_encoder
        self._decoder = model.sam_mask_decoder
        self._pointer = model.obj_ptr_proj
        width = int(model.hidden_dim)
        masks = int(self._decoder.num_mask_tokens)
        self.signature = Signature(
            inputs=(
                Port("pix", (OBJECTS, width, "s", "s")),
                Port("code", (SHARED, width, "s", "s")),
                Port("half", (SHARED, width // 4, "s2", "s2")),
                Port("quarter", (SHARED, width // 8, "s4", "s4")),
                Port("points", (OBJECTS, "P", width)),
                Port("missing", (OBJECTS, "P")),
                Port("drawn", (OBJECTS, 1, "s4", "s4")),
                Port("is_drawn", (OBJECTS, 1, 1, 1)),
            ),
            outputs=(
                Port("masks", (OBJECTS, masks, "s4", "s4")),
                Port("ious", (OBJECTS, masks)),
                Port("pointers", (OBJECTS, masks, width)),
                Port("scores", (OBJECTS, 1)),
            ),
        )

    def forward(
        self,
        pix: torch.Tensor,
        code: torch.Tensor,
        half: torch.Tensor,
        quarter: torch.Tensor,
        points: torch.Tensor,
        missing: torch.Tensor,
        drawn: torch.Tensor,
        is_drawn: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decode.

        Args:
            pix: (B, C, s, s) features, conditioned on memories or not.
            code: (R, C, s, s) of the places in the frame.
            half: (R, C/4, 2s, 2s).
            quarter: (R, C/8, 4s, 4s).
            points: (B, P, C) of `PointCode`.
            missing: (B, P) of `PointCode`.
            drawn: (B, 1, 4s, 4s) logits of a mask prompt, or anything finite where there is none.
            is_drawn: (B, 1, 1, 1) 1 where there is one, else 0.

        Returns:
            Logits of all masks, their predicted IoUs, the object pointer that each would give
            before occlusion is minded, and the object score.
        """
        decoder = self._decoder
        none = self._encoder.no_mask_embed.weight.view(1, -1, 1, 1)
        dense = self._encoder.mask_downscaling(drawn)
        source = pix + is_drawn * dense + (1.0 - is_drawn) * none
        own = [decoder.iou_token.weight, decoder.mask_tokens.weight]
        if decoder.pred_obj_scores:
            own.insert(0, decoder.obj_score_token.weight)
        first = torch.cat(own)[None].expand(points.shape[0], -1, -1)
        tokens = torch.cat([first, points], 1)
        there = missing.new_zeros(()) * first[..., 0]
        hidden = torch.cat([there, missing], 1)[:, None, None]
        out, source = _two_ways(decoder.transformer, source, code, tokens, hidden)
        return self._heads(out, source, half, quarter)

    def _heads(
        self, out: torch.Tensor, grid: torch.Tensor, half: torch.Tensor, quarter: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        decoder = self._decoder
        first = 1 if decoder.pred_obj_scores else 0
        mask_tokens = out[:, first + 1 : first + 1 + decoder.num_mask_tokens]
        if decoder.use_high_res_features:
            up1, norm, act1, up2, act2 = decoder.output_upscaling
            grid = act1(norm(up1(grid) + half))
            grid = act2(up2(grid) + quarter)
        else:
            grid = decoder.output_upscaling(grid)
        weights = torch.stack(
            [mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1
        )
        masks = torch.matmul(weights, grid.flatten(2))
        masks = masks.view(*masks.shape[:2], *grid.shape[-2:])
        ious = decoder.iou_prediction_head(out[:, first])
        if decoder.pred_obj_scores:
            scores = decoder.pred_obj_score_head(out[:, 0])
        else:
            scores = 0.0 * ious[:, :1] + 10.0
        return masks, ious, self._pointer(mask_tokens), scores


def _two_ways(
    transformer: Any,
    source: torch.Tensor,
    code: torch.Tensor,
    tokens: torch.Tensor,
    hidden: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the official two-way transformer with a mask on its tokens.

    Returns:
        (B, T, C) tokens and (B, C, s, s) the picture.
    """
    keys, places = source.flatten(2).transpose(1, 2), code.flatten(2).transpose(1, 2)
    queries = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = _heads(layer.self_attn, queries, queries, queries, hidden)
        else:
            q = queries + tokens
            queries = queries + _heads(layer.self_attn, q, q, queries, hidden)
        queries = layer.norm1(queries)
        attention = layer.cross_attn_token_to_image
        queries = queries + _heads(attention, queries + tokens, keys + places, keys, None)
        queries = layer.norm2(queries)
        queries = layer.norm3(queries + layer.mlp(queries))
        attention = layer.cross_attn_image_to_token
        seen = _heads(attention, keys + places, queries + tokens, queries, hidden)
        keys = layer.norm4(keys + seen)
    attention = transformer.final_attn_token_to_image
    queries = queries + _heads(attention, queries + tokens, keys + places, keys, None)
    picture = keys.transpose(1, 2).reshape(source.shape)
    return transformer.norm_final_attn(queries), picture


def _heads(
    attention: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, hidden: torch.Tensor | None
) -> torch.Tensor:
    """Run one of the decoder's attentions, with a mask on its keys."""
    split = [
        part(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part, x in ((attention.q_proj, q), (attention.k_proj, k), (attention.v_proj, v))
    ]
    mixed = F.scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=hidden)
    out: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return out
