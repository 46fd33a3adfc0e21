"""Rendered prompts: clicks and boxes drawn as a low-resolution mask prompt.

A small model that has seen few prompts points badly with coordinate tokens alone. Drawing the same
prompt into the decoder's mask input (the architecture already has one) tells it where to look,
pixel by pixel. Models that were trained so are named in :data:`engines.build.RENDERED_PROMPTS`;
they expect the drawing *beside* the usual point tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Logit of a pixel that the prompt does not touch, and, negated, of the prompt's core.
BACKGROUND_LOGIT = -4.0
#: Side of the mask prompt relative to the image.
MASK_STRIDE = 4
#: Standard deviation of a drawn click, in cells of the mask prompt.
CLICK_SIGMA_CELLS = 1.25
#: Height of a box's plateau when a click is drawn into it, so that the click stays visible.
BOX_UNDER_CLICK = 0.7


def render_prompt(
    image_size: int,
    points: Tensor | None = None,
    labels: Tensor | None = None,
    boxes: Tensor | None = None,
) -> Tensor:
    """Draw prompts as logits for ``sam_prompt_encoder(..., masks=...)``.

    Args:
        image_size: side of the square model input in pixels, a multiple of 4.
        points: (B, P, 2) float, x then y in model-input pixels.
        labels: (B, P); 1 marks the object, 0 what is not the object, -1 padding. Default: all 1.
        boxes: (B, 4) float, x0 y0 x1 y1 in model-input pixels.

    Returns:
        (B, 1, image_size / 4, image_size / 4) float32 logits in [-4, 4].

    Raises:
        ValueError: if nothing is given or shapes disagree.
    """
    if image_size <= 0 or image_size % MASK_STRIDE:
        raise ValueError(f"image_size {image_size} must be a positive multiple of {MASK_STRIDE}")
    if points is None and boxes is None:
        raise ValueError("nothing to draw: give points (B, P, 2), boxes (B, 4) or both")
    side = image_size // MASK_STRIDE
    drawn: Tensor | None = None
    if boxes is not None:
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(
                f"boxes have shape {tuple(boxes.shape)}; expected (B, 4) as x0 y0 x1 y1"
            )
        drawn = _ellipses_in(boxes.float(), side)
    if points is not None:
        positive, negative = _clicks(points, labels, side)
        if drawn is None:
            drawn = positive
        else:
            if drawn.shape[0] != positive.shape[0]:
                raise ValueError(f"{positive.shape[0]} rows of points but {drawn.shape[0]} boxes")
            drawn = torch.maximum(drawn * BOX_UNDER_CLICK, positive)
        drawn = (drawn - negative).clamp_min(0.0)
    assert drawn is not None
    return (BACKGROUND_LOGIT * (1.0 - 2.0 * drawn))[:, None]


def _cell_centres(side: int, device: torch.device) -> Tensor:
    """Centres of the mask prompt's cells in image pixels, (side,)."""
    return (torch.arange(side, device=device, dtype=torch.float32) + 0.5) * MASK_STRIDE


def _ellipses_in(boxes: Tensor, side: int) -> Tensor:
    """Soft ellipses that fill the boxes, in [0, 1], (B, side, side); half height on their edges."""
    centres = _cell_centres(side, boxes.device)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp_min(MASK_STRIDE / 4)
    x = (centres - middle[:, :1]) / half[:, :1]
    y = (centres - middle[:, 1:]) / half[:, 1:]
    radius = (x[:, None, :].square() + y[:, :, None].square()).sqrt()
    inside_px = (1.0 - radius) * half.amin(dim=1)[:, None, None]
    field = torch.sigmoid(inside_px / (MASK_STRIDE / 2))
    # A box thinner than a cell would all but vanish: its peak is lifted so that it stays a prompt.
    return field / field.amax(dim=(1, 2), keepdim=True).clamp_min(1e-6)


def _clicks(points: Tensor, labels: Tensor | None, side: int) -> tuple[Tensor, Tensor]:
    """Gaussians of the positive and of the negative clicks, each (B, side, side) in [0, 1]."""
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(f"points have shape {tuple(points.shape)}; expected (B, P, 2) as x y")
    if labels is None:
        labels = torch.ones(points.shape[:2], device=points.device)
    if labels.shape != points.shape[:2]:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)}; expected {tuple(points.shape[:2])}"
        )
    centres = _cell_centres(side, points.device)
    spread = 2.0 * (CLICK_SIGMA_CELLS * MASK_STRIDE) ** 2
    xy = points.float()
    across = torch.exp(-((centres - xy[..., :1]) ** 2) / spread)
    down = torch.exp(-((centres - xy[..., 1:]) ** 2) / spread)
    blobs = down[..., :, None] * across[..., None, :]
    fields = []
    for wanted in (1, 0):
        chosen = (labels == wanted).to(blobs.dtype)[..., None, None]
        fields.append((blobs * chosen).amax(dim=1))
    return fields[0], fields[1]
