"""What a refiner sees of an object the second time: its own drawing, with a window around it.

A network that is asked more than once meets its own mistakes, which no spoilt truth looks like; so
it learns from them as well (Ross et al. 2011, "A reduction of imitation learning and structured
prediction to no-regret online learning").
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from engines.closeups import OBJECT_PART, SIDE_PX, look, windows_of
from train.micro.refining import Examples, covers, seen

#: What changes with the window.
CHANGING: Final = ("inputs", "wider", "target", "areas", "windows")


def seen_again(examples: Examples, rows: Tensor, logits: Tensor) -> Examples:
    """Look once more, around what was drawn.

    Args:
        examples: What was looked at.
        rows: (M,) of these.
        logits: (M, S, S) that the network drew; where it drew nothing, the window stays.

    Returns:
        The M examples as the next round sees them.
    """
    before = examples.windows[rows]
    cell = (before[:, 2:3] - before[:, :1]) / SIDE_PX
    masks = (logits > 0).float().cpu()
    windows = windows_of(_boxes(masks > 0) * cell + before[:, :2].repeat(1, 2))
    # The windows of the second look in cells of the first.
    in_cells = (windows - before[:, :2].repeat(1, 2)) / cell
    pairs = zip(masks, in_cells, strict=True)
    own = torch.cat([look(mask[None], cells[None], "zeros") for mask, cells in pairs])[:, 0]
    patches = [examples.patches[row] for row in rows.tolist()]
    target, _ = covers(patches, windows)
    given, clicks = examples.given[rows], examples.clicks[rows]
    return seen(patches, windows, own, target, given, clicks)


def replaced(examples: Examples, rows: Tensor, others: Examples) -> Examples:
    """Return examples with M others in the place of these (M,) rows."""
    out = {name: getattr(examples, name).clone() for name in CHANGING}
    for name, tensor in out.items():
        tensor[rows] = getattr(others, name)
    return replace(examples, **out)


def _boxes(masks: Tensor) -> Tensor:
    """(N, 4) tight boxes in cells; of an empty mask the middle of the window."""
    edge = (1 - OBJECT_PART) / 2 * SIDE_PX
    boxes = torch.tensor([edge, edge, SIDE_PX - edge, SIDE_PX - edge]).repeat(len(masks), 1)
    for row, mask in enumerate(masks):
        if mask.any():
            columns, lines = mask.any(0).nonzero()[:, 0], mask.any(1).nonzero()[:, 0]
            boxes[row] = torch.stack([columns[0], lines[0], columns[-1] + 1, lines[-1] + 1])
    return boxes
