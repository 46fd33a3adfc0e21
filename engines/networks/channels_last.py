"""Parts of Hiera that keep channels last, where engines would turn large maps to and fro.

Equal to the official ones but for the order of sums.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

_KERNEL, _STRIDE, _PADDING = (7, 7), (4, 4), (3, 3)


class PatchProduct(nn.Module):
    """The patch embedding as one product.

    A window of 7 x 7 px that moves by 4 lies in 2 x 2 cells of 4 x 4 px. The four cells of each
    place are laid side by side, and what its convolution weighs them by is a matrix.

    Args:
        official: `sam2.modeling.backbones.utils.PatchEmbed`; see `fits`.
    """

    @torch.no_grad()
    def __init__(self, official: Any) -> None:
        super().__init__()
        conv = official.proj
        width, colours = conv.weight.shape[:2]
        step = _STRIDE[0]
        # The first row and column of the first cells lie outside of the window.
        taps = F.pad(conv.weight, (1, 0, 1, 0)).reshape(width, colours, 2, step, 2, step)
        weight = taps.permute(0, 2, 4, 1, 3, 5).reshape(width, -1)
        self._product = nn.Linear(weight.shape[1], width, device=weight.device, dtype=weight.dtype)
        self._product.weight.copy_(weight)
        self._product.bias.copy_(conv.bias)

    @staticmethod
    def fits(official: Any) -> bool:
        """Return whether a patch embedding has the one shape that this one knows."""
        conv = official.proj
        shape = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
        return shape == (_KERNEL, _STRIDE, _PADDING, (1, 1), 1) and conv.bias is not None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (B, S / 4, S / 4, C) of (B, 3, S, S); S is a multiple of 4."""
        step = _STRIDE[0]
        padded = F.pad(image, (step, 0, step, 0))
        count, colours, height, width = padded.shape
        cells = padded.reshape(count, colours, height // step, step, width // step, step)
        cells = cells.permute(0, 2, 4, 1, 3, 5).reshape(count, height // step, width // step, -1)
        around = [cells[:, y : y - 1 or None, x : x - 1 or None] for y in (0, 1) for x in (0, 1)]
        out: torch.Tensor = self._product(torch.cat(around, dim=-1))
        return out


def largest_of_four(x: torch.Tensor) -> torch.Tensor:
    """Return (B, H / 2, W / 2, C), the largest of each 2 x 2 of (B, H, W, C)."""
    count, height, width, channels = x.shape
    # Engines take the larger of two slices fast, and the largest along an axis slowly.
    rows = x.reshape(count, height // 2, 2, width // 2, 2 * channels)
    larger = torch.maximum(rows[:, :, 0], rows[:, :, 1])
    return torch.maximum(larger[..., :channels], larger[..., channels:])


class LargestOfFour(nn.Module):
    """`torch.nn.MaxPool2d(2)`, for channels that come first and were last before."""

    @staticmethod
    def fits(official: Any) -> bool:
        """Return whether a pool takes the largest of 2 x 2."""
        shape = official.kernel_size, official.stride, official.padding, official.ceil_mode
        return all(part in (2, (2, 2)) for part in shape[:2]) and shape[2:] in (
            (0, False), ((0, 0), False),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C, H / 2, W / 2) of (B, C, H, W), H and W even."""
        return largest_of_four(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
