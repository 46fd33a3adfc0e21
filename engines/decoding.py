"""Prompts to masks: many clicks and boxes on one frame, decoded in chunks."""

from __future__ import annotations

from typing import Any

import torch

from engines.exported.heads import ExportedDecoder, choose
from engines.features import Features
from engines.prompts import render_prompt
from engines.proposals import stability

CHUNK = 32
"""Prompts decoded together."""


def decode_prompts(
    sam: Any,
    features: Features,
    points: torch.Tensor,
    boxes: torch.Tensor | None,
    *,
    rendered: bool,
    decoder: ExportedDecoder | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode a mask for each prompt.

    Args:
        sam: A `SAM2Base`; only its prompt encoder and mask decoder are used.
        features: Of the frame.
        points: (P, 2) x, y as fractions of the frame, at least one.
        boxes: (P, 4) x0, y0, x1, y1 as fractions, or None for clicks alone.
        rendered: Whether `sam` wants prompts drawn as well (`engines.prompts`).
        decoder: What decodes instead of the model's own modules.

    Returns:
        (P, h, w) logits of the best mask and (P,) quality, predicted IoU x stability x object
        probability, of each prompt.
    """
    parts = [
        _decode_chunk(
            sam,
            features,
            points[i : i + CHUNK],
            None if boxes is None else boxes[i : i + CHUNK],
            rendered,
            decoder,
        )
        for i in range(0, len(points), CHUNK)
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _decode_chunk(
    sam: Any,
    features: Features,
    points: torch.Tensor,
    boxes: torch.Tensor | None,
    rendered: bool,
    decoder: ExportedDecoder | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    count, side, device = len(points), sam.image_size, points.device
    clicks = (points * side)[:, None]
    coords, labels = clicks, torch.ones(count, 1, dtype=torch.int32, device=device)
    corners = None
    if boxes is not None:
        corners = boxes * side
        coords = torch.cat([corners.view(count, 2, 2), clicks], dim=1)
        labels = torch.tensor([[2, 3, 1]], dtype=torch.int32, device=device).expand(count, -1)
    drawn = render_prompt(side, clicks, labels[:, -1:], corners) if rendered else None
    pix = (features.top + sam.no_mem_embed.view(1, -1, 1, 1)).expand(count, -1, -1, -1)
    # A box says how large the object is; a click alone may mean a part or the whole.
    several = boxes is None
    if decoder is not None:
        four = decoder.prompted(pix, features.high_res, coords, labels, drawn)
        logits, ious, _ = choose(sam.sam_mask_decoder, four, several)
        scores = four.scores
    else:
        sparse, dense = sam.sam_prompt_encoder(points=(coords, labels), boxes=None, masks=drawn)
        logits, ious, _, scores = sam.sam_mask_decoder(
            image_embeddings=pix,
            image_pe=sam.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
            repeat_image=False,
            high_res_features=[f.expand(count, -1, -1, -1) for f in features.high_res],
        )
    rank = ious * stability(logits)
    best = rank.argmax(1)
    rows = torch.arange(count, device=device)
    quality = rank[rows, best] * torch.sigmoid(scores[:, 0])
    return logits[rows, best].float(), quality.float()
