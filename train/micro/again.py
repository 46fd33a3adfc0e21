"""What a refiner sees of an object the second time: its own drawing, with a window around it.

A network that is asked more than once meets its own mistakes, which no spoilt truth looks like; so
it learns from them as well (Ross et al. 2011, "A reduction of imitation learning and structured
prediction to no-regret online learning").
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engines.closeups import OBJECT_PART, SIDE_PX, dots, inputs_of, look, rectangles, windows_of
from train.micro.refining import Examples


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
    side = before[:, 2:3] - before[:, :1]
    masks = (logits > 0).float().cpu()
    windows = windows_of(_boxes(masks) * side / SIDE_PX + before[:, [0, 1, 0, 1]])
    in_cells = (windows - before[:, [0, 1, 0, 1]]) / side * SIDE_PX
    pairs = zip(masks, in_cells, strict=True)
    own = [look(mask[None], cells[None], "zeros") for mask, cells in pairs]
    places = examples.places[rows]
    colours = torch.empty(len(rows), 3, SIDE_PX, SIDE_PX)
    target = torch.empty(len(rows), SIDE_PX, SIDE_PX)
    for picture in sorted(set(places[:, 0].tolist())):
        there = (places[:, 0] == picture).nonzero()[:, 0]
        colours[there] = look(examples.pictures[picture], windows[there])
        for row in there.tolist():
            true = (examples.ids[picture] == places[row, 1]).float()
            target[row] = look(true[None], windows[row : row + 1], "zeros")[0, 0]
    given, clicks = examples.given[rows], examples.clicks[rows]
    inputs = inputs_of(
        colours, torch.cat(own)[:, 0], rectangles(given, windows), dots(clicks, windows)
    )
    return replace(
        examples, inputs=inputs, target=target, windows=windows, clicks=clicks, given=given,
        places=places,
    )  # fmt: skip


def _boxes(masks: Tensor) -> Tensor:
    """(N, 4) tight boxes in cells; of an empty mask the middle of the window."""
    edge = (1 - OBJECT_PART) / 2 * SIDE_PX
    boxes = torch.tensor([edge, edge, SIDE_PX - edge, SIDE_PX - edge]).repeat(len(masks), 1)
    for row, mask in enumerate(masks):
        if mask.any():
            columns, lines = mask.any(0).nonzero()[:, 0], mask.any(1).nonzero()[:, 0]
            boxes[row] = torch.stack([columns[0], lines[0], columns[-1] + 1, lines[-1] + 1])
    return boxes
