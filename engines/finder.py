"""Where things are, whatever they are called: centres and boxes from the segmenter's own maps.

A small head on the features that the tracker has computed already tells for each cell of the finest
map how near it is to the middle of an object (Zhou et al. 2019, arXiv 1904.07850) and how far the
object's four sides are (Tian et al. 2019, arXiv 1904.01355). The places where it is sure prompt the
mask decoder; what they show is for CLIP to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.checkpoint import RANDOM, sha256
from engines.errors import ModelError, gist
from engines.features import Features
from engines.precision import PRECISIONS, choose_precision

FINDER_FILE = "maskcast_finder.safetensors"
PACKAGE = Path(__file__).parent / "weights"
#: Key of the file's metadata with the SHA-256 of the segmenter's weights.
MADE_FOR = "segmenter_sha256"
#: Pixels between cells of the finest map.
STRIDE_PX = 4
#: A distance of exp(0) in pixels of the model's input.
UNIT_PX = 16.0
#: Sides further away than exp of this many units are not told.
LONGEST = 3.0
WIDTH = 64
#: Share of centres among the cells before any training, so that the first losses are small.
RARE = 0.01


@dataclass(frozen=True, slots=True)
class Spots:
    """P places where objects are, the surest first; fractions of the frame's width and height."""

    points: Tensor
    """(P, 2) x, y."""
    boxes: Tensor
    """(P, 4) x0, y0, x1, y1."""
    scores: Tensor
    """(P,) in [0, 1]."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.points)


class Finder(nn.Module):
    """The head.

    Args:
        fine: Channels of the finest map, at stride 4.
        middle: Channels of the map at stride 8.
        coarse: Channels of the map at stride 16.
        width: Channels inside.
    """

    def __init__(self, fine: int, middle: int, coarse: int, width: int = WIDTH) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, width, 1)
        self.middle = nn.Conv2d(middle, width, 1)
        self.coarse = nn.Conv2d(coarse, width, 1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.out = nn.Conv2d(width, 5, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        bias = torch.zeros(5)
        bias[0] = torch.logit(torch.tensor(RARE))
        self.out.bias = nn.Parameter(bias)

    def forward(self, top: Tensor, half: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor]:
        """Tell centres and sides.

        Args:
            top: (B, coarse, S, S), with (B, middle, 2S, 2S) `half`, (B, fine, 4S, 4S) `quarter`.
            half: See there.
            quarter: See there.

        Returns:
            (B, 4S, 4S) logits of centres, and (B, 4, 4S, 4S) distances from the cell's middle to
            the left, upper, right and lower side in pixels of the model's input.
        """
        x = self.fine(quarter)
        for map_, project in ((half, self.middle), (top, self.coarse)):
            x = x + F.interpolate(
                project(map_), size=x.shape[-2:], mode="bilinear", align_corners=False
            )
        for layer in self.layers:
            x = x + F.gelu(layer(F.gelu(x)))
        told = self.out(x).float()
        return told[:, 0], told[:, 1:].clamp(-LONGEST, LONGEST).exp() * UNIT_PX


@torch.inference_mode()
def find_spots(
    finder: Finder, features: Features, threshold: float, most: int, precision: str = "fp32"
) -> Spots:
    """Return where a frame's objects are.

    Args:
        finder: The head.
        features: Of the frame.
        threshold: Lowest score.
        most: Spots at most.
        precision: What its products are computed in, as for `choose_precision`.
    """
    device = features.quarter.device.type
    dtype = PRECISIONS[choose_precision(precision, device)]
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        centres, sides = finder(features.top, features.half, features.quarter)
    return spots_of(centres[0].sigmoid(), sides[0], threshold, most)


def spots_of(heat: Tensor, sides: Tensor, threshold: float, most: int) -> Spots:
    """Read local maxima, highest first.

    Args:
        heat: (h, w) in [0, 1].
        sides: (4, h, w) pixels, as `Finder` tells them.
        threshold: Lowest score.
        most: Spots at most.
    """
    height, width = heat.shape
    peak = F.max_pool2d(heat[None, None], 3, stride=1, padding=1)[0, 0]
    rows, columns = ((heat == peak) & (heat >= threshold)).nonzero(as_tuple=True)
    order = heat[rows, columns].argsort(descending=True, stable=True)[:most]
    rows, columns = rows[order], columns[order]
    size = torch.tensor([width, height], device=heat.device)
    points = (torch.stack([columns, rows], dim=1) + 0.5) / size
    left, upper, right, lower = sides[:, rows, columns] / STRIDE_PX
    x, y = columns + 0.5, rows + 0.5
    boxes = torch.stack([x - left, y - upper, x + right, y + lower], dim=1) / size.repeat(2)
    return Spots(points, boxes.clamp(0.0, 1.0), heat[rows, columns])


def finder_beside(origin: str) -> Finder | None:
    """Load the finder that belongs to a segmenter's weights; None where they have none.

    Args:
        origin: Where the weights came from, as `Loaded.origin` says. Beside `X_sam2.safetensors`
            lies `X_finder.safetensors`, beside others `maskcast_finder.safetensors`.

    Raises:
        ModelError: The file is none, or of another network or other weights, or that of the
            micro models is missing.
    """
    weights = Path(origin)
    named, ending = weights.name, "_sam2.safetensors"
    own = named.removesuffix(ending) + "_finder.safetensors" if named.endswith(ending) else ""
    path = weights.parent / (own or FINDER_FILE)
    if origin.startswith(RANDOM):
        return None
    if not path.is_file():
        if weights.parent == PACKAGE:
            raise ModelError(f"{path}: the finder of the micro models is missing; reinstall")
        return None
    try:
        with safe_open(path, framework="pt") as file:
            made_for = (file.metadata() or {}).get(MADE_FOR)
    except (OSError, SafetensorError) as error:
        raise _refused(path, error) from error
    if made_for is not None and made_for != sha256(weights):
        raise ModelError(
            f"{path}: made for other weights than {weights.name} (SHA-256 {made_for[:12]}...); "
            "put the finder there that was trained with them, or take the file away"
        )
    return load_finder(path)


def load_finder(path: Path) -> Finder:
    """Load a head from the safetensors file that training wrote.

    Raises:
        ModelError: The file is none, or of another network.
    """
    try:
        state = {name: tensor.float() for name, tensor in load_file(path).items()}
        fine, middle, coarse = (
            state[f"{name}.weight"].shape[1] for name in ("fine", "middle", "coarse")
        )
        finder = Finder(fine, middle, coarse, state["fine.weight"].shape[0])
        finder.load_state_dict(state, strict=True)
    except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
        raise _refused(path, error) from error
    return finder.eval()


def _refused(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: not the weights of a finder ({gist(error)}); give what "
        "maskcast train micro wrote, or take the file away"
    )
