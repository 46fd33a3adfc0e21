"""A second look at the edge of every mask, at the object's own scale.

SAM 2's decoder draws a mask on a grid of a quarter of its input: in a frame of 640 px seen at 256
px, an object of 30 px has three cells. A small network that is shown the object alone, as large as
any other, draws the edge again where the frame has it (boundary refinement of patches: Tang et al.
2021, arXiv 2104.05239; a U-Net: Ronneberger et al. 2015, arXiv 1505.04597), and says how good it
takes its drawing to be (`engines.judge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.eight_bit import unpacked
from engines.errors import ModelError, gist
from engines.judge import Judge

#: Colours, the mask so far, the box if there is one, the click if there is one.
CHANNELS = 6
#: Colours of the wider view, in the contrast of the window and as they are.
WIDER_CHANNELS = 6
#: Neurons of the last of the deepest blocks.
NECK = 64
WIDTHS = (16, 40, 64, 96)


class Drawing(NamedTuple):
    """What the network answers to N windows."""

    logits: Tensor
    """(N, S, S)."""
    quality: Tensor
    """(N,) logits of the IoU that the mask is thought to have."""


class _Block(nn.Module):
    """Two convolutions beside an identity; it begins as the identity, nearly."""

    def __init__(self, width: int, inside: int | None = None) -> None:
        super().__init__()
        inside = inside or width
        self.one = nn.Conv2d(width, inside, 3, padding=1)
        self.two = nn.Conv2d(inside, width, 3, padding=1)
        with torch.no_grad():
            self.two.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, S, S) of the same."""
        changed: Tensor = x + self.two(F.relu(self.one(F.relu(x))))
        return changed


class Refiner(nn.Module):
    """The network.

    Args:
        widths: Channels at full, half, quarter and eighth resolution; four of them.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, deep = widths[0], widths[-1]
        self.stem = nn.Conv2d(CHANNELS, first, 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.into = nn.ModuleList(nn.Sequential(_Block(b), _Block(b)) for _, b in pairs)
        self.deepest = _Block(deep, NECK)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.out_of = nn.ModuleList(_Block(a) for a, _ in pairs)
        self.last = nn.Conv2d(first, 1, 1)
        self.around = nn.Sequential(
            nn.Conv2d(WIDER_CHANNELS, 24, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, deep, 4, stride=2, padding=1),
        )
        self.judge = Judge(widths)

    def forward(self, x: Tensor, around: Tensor) -> Drawing:
        """Draw.

        Args:
            x: (N, 6, S, S) windows; S is a multiple of 8.
            around: (N, 6, S/2, S/2) a wider view.
        """
        x = self.stem(x)
        passed = []
        for level, (down, block) in enumerate(zip(self.down, self.into, strict=True)):
            passed.append(x)
            x = down(F.relu(x))
            if level == len(self.down) - 1:
                x = x + self.around(around)
            x = block(x)
        x = self.deepest(x)
        seen = [F.relu(x)]
        for up, block in zip(reversed(self.up), reversed(self.out_of), strict=True):
            x = F.interpolate(up(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(x + passed.pop())
            seen.insert(0, F.relu(x))
        logits = self.last(seen[0])[:, 0]
        return Drawing(logits, self.judge(seen, logits))


def load_refiner(path: Path) -> Refiner:
    """Load a network from the safetensors file that training wrote.

    Raises:
        ModelError: The file is none, or of another network.
    """
    try:
        state = unpacked(load_file(path))
        widths = [state["stem.weight"].shape[0]]
        while f"down.{len(widths) - 1}.weight" in state:
            widths.append(state[f"down.{len(widths) - 1}.weight"].shape[0])
        refiner = Refiner(widths)
        refiner.load_state_dict(state, strict=True)
    except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
        raise ModelError(
            f"{path}: not the weights of a refiner ({gist(error)}); give what "
            "maskcast train micro wrote, or take the file away"
        ) from error
    return refiner.eval()
