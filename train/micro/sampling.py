"""Prompts and their targets, drawn from instance ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: Objects with fewer pixels in a frame are not prompted.
SMALLEST_AREA = 20


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of one kind for several images.

    Attributes:
        frame: (N,) int64, which image of the batch each prompt belongs to.
        object_id: (N,) int32, 0 for a prompt on background.
        points: (N, P, 2) float32, x y in pixels; a box is its two corners.
        labels: (N, P) int32; 1 click, 2 and 3 box corners.
        box: (N, 4) float32 or None.
        click: (N, 2) float32 or None.
    """

    frame: Tensor
    object_id: Tensor
    points: Tensor
    labels: Tensor
    box: Tensor | None
    click: Tensor | None

    def to(self, device: torch.device) -> PromptBatch:
        """The same prompts on another device."""
        return PromptBatch(
            self.frame.to(device),
            self.object_id.to(device),
            self.points.to(device),
            self.labels.to(device),
            None if self.box is None else self.box.to(device),
            None if self.click is None else self.click.to(device),
        )


def visible_objects(ids: np.ndarray, smallest: int = SMALLEST_AREA) -> np.ndarray:
    """Ids with at least ``smallest`` pixels, ascending, without 0."""
    values, counts = np.unique(ids, return_counts=True)
    kept: np.ndarray = values[(values != 0) & (counts >= smallest)]
    return kept


def click_in(mask: np.ndarray, rng: np.random.Generator, central: bool) -> tuple[float, float]:
    """A pixel of the mask: any, or the one nearest to a jittered centroid."""
    rows, columns = np.nonzero(mask)
    if central:
        spread = 0.08 * np.sqrt(rows.size)
        y, x = rows.mean() + rng.normal(0, spread), columns.mean() + rng.normal(0, spread)
        pick = int(np.argmin((rows - y) ** 2 + (columns - x) ** 2))
    else:
        pick = int(rng.integers(rows.size))
    return float(columns[pick]) + 0.5, float(rows[pick]) + 0.5


def box_of(
    mask: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[float, float, float, float]:
    """The mask's box (xyxy, exclusive right and bottom).

    Jittered by about a tenth of its size if an rng is given.
    """
    rows, columns = np.nonzero(mask)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
    if rng is not None:
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        box += np.clip(rng.normal(0, 0.07, 4), -0.15, 0.15) * sides + rng.normal(0, 0.5, 4)
        box[2:] = np.maximum(box[2:], box[:2] + 3)
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def background_click(ids: np.ndarray, rng: np.random.Generator) -> tuple[float, float] | None:
    """A pixel of the background at least 2 pixels from any object, or None if there is none."""
    size = ids.shape[0]
    for _ in range(20):
        y, x = int(rng.integers(2, size - 2)), int(rng.integers(2, size - 2))
        if not ids[y - 2 : y + 3, x - 2 : x + 3].any():
            return x + 0.5, y + 0.5
    return None


def background_box(
    ids: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """A box of 10 to 60 pixels that holds no object, or None if none was found."""
    size = ids.shape[0]
    for _ in range(10):
        w, h = rng.uniform(10, 60, 2)
        x, y = rng.uniform(0, size - w), rng.uniform(0, size - h)
        if not ids[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1].any():
            return float(x), float(y), float(x + w), float(y + h)
    return None


def sample_prompts(
    ids: np.ndarray, per_frame: int, kind: str, rng: np.random.Generator, background: float = 0.2
) -> PromptBatch | None:
    """Draw prompts for a batch of frames.

    Args:
        ids: (B, S, S) int.
        per_frame: prompts an image.
        kind: ``click``, ``box`` or ``click+box``.
        rng: the only source of randomness.
        background: share of prompts that lie on nothing.

    Returns:
        The prompts, or None if no frame offers any.
    """
    rows: list[tuple[int, int]] = []
    clicks: list[tuple[float, float]] = []
    boxes: list[tuple[float, float, float, float]] = []
    want_click, want_box = "click" in kind, "box" in kind
    for frame, marks in enumerate(ids):
        objects = visible_objects(marks)
        for _ in range(per_frame):
            if objects.size == 0 or rng.random() < background:
                box = background_box(marks, rng) if want_box else None
                if want_box and box is None:
                    continue
                click = background_click(marks, rng)
                if want_box and want_click and box is not None:
                    click = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                if want_click and click is None:
                    continue
                rows.append((frame, 0))
            else:
                chosen = int(rng.choice(objects))
                mask = marks == chosen
                box = box_of(mask, rng) if want_box else None
                click = click_in(mask, rng, bool(rng.random() < 0.5)) if want_click else None
                rows.append((frame, chosen))
            if want_click and click is not None:
                clicks.append(click)
            if want_box and box is not None:
                boxes.append(box)
    if not rows:
        return None
    return make_prompts(rows, clicks if want_click else None, boxes if want_box else None)


def make_prompts(
    rows: list[tuple[int, int]],
    clicks: list[tuple[float, float]] | None,
    boxes: list[tuple[float, float, float, float]] | None,
) -> PromptBatch:
    """Assemble prompts: ``rows`` are (frame, object id).

    Box corners come first, then the click, as in SAM 2.
    """
    parts, labels = [], []
    box = click = None
    if boxes is not None:
        box = torch.tensor(boxes, dtype=torch.float32)
        parts.append(box.view(-1, 2, 2))
        labels.append(torch.tensor([2, 3], dtype=torch.int32).expand(len(rows), 2))
    if clicks is not None:
        click = torch.tensor(clicks, dtype=torch.float32)
        parts.append(click[:, None])
        labels.append(torch.ones(len(rows), 1, dtype=torch.int32))
    table = torch.tensor(rows, dtype=torch.int64)
    return PromptBatch(
        table[:, 0], table[:, 1].int(), torch.cat(parts, 1), torch.cat(labels, 1), box, click
    )


def masks_of(
    ids: Tensor, frame: Tensor, object_id: Tensor, stride: int = 1
) -> tuple[Tensor, Tensor]:
    """Masks of prompted objects.

    Args:
        ids: (B, S, S) int32.
        frame: (N,) int64.
        object_id: (N,) int32; 0 gives an empty mask.
        stride: pixels are averaged in squares of this side.

    Returns:
        (N, S/stride, S/stride) float32 coverage, and (N,) bool whether the object is visible.
    """
    same = (ids[frame] == object_id[:, None, None]) & (object_id[:, None, None] != 0)
    mask = same.float()
    visible = same.flatten(1).sum(dim=1) >= SMALLEST_AREA // 2
    if stride > 1:
        mask = F.avg_pool2d(mask[:, None], stride)[:, 0]
    return mask, visible
