"""The SAM2 memory encoder: a frame's features and masks in, memories out."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import nn

from engines.networks.base import OBJECTS, SHARED, Network, Port, Signature


class Enlarge(nn.Module):
    """Bilinear enlargement by a whole factor, as a small convolution.

    Each of the factor x factor pixels that a cell becomes is a fixed mixture of it and its
    neighbours. They stay where the cell is, one channel each, row by row: engines resize slowly,
    convolve fast, and move no pixel.

    Args:
        factor: How many times larger, even.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        # Bilinear, of pixels whose middles lie where `align_corners=False` puts them.
        line = torch.zeros(factor, 3)
        for pixel in range(factor):
            away = (pixel + 0.5) / factor - 0.5
            line[pixel, 1] = 1.0 - abs(away)
            line[pixel, 0 if away < 0 else 2] = abs(away)
        mixture = torch.einsum("ai,bj->abij", line, line).reshape(-1, 1, 3, 3)
        self.register_buffer("_mixture", mixture)

    def forward(self, low: torch.Tensor) -> torch.Tensor:
        """Return (B, factor * factor, h, w) of (B, 1, h, w)."""
        padded = F.pad(low, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.get_buffer("_mixture"))


class ChannelNorm(nn.Module):
    """`LayerNorm2d` of channels that have mean zero already, as a convolution.

    A sum over channels that is written to every channel is a product with a matrix of ones, which
    engines compute faster than a mean and its broadcast.

    Args:
        norm: The official layer.
        pixels: How many pixels of a cell each channel has (`halve`); each is a norm of its own.
    """

    def __init__(self, norm: LayerNorm2d, pixels: int = 1) -> None:
        super().__init__()
        channels = len(norm.weight)
        self._eps = float(norm.eps)
        ones = torch.full((channels, channels), 1.0 / channels)
        mean = torch.kron(ones, torch.eye(pixels))[:, :, None, None]
        self.register_buffer("_mean", mean)
        for name, values in (("_weight", norm.weight), ("_bias", norm.bias)):
            each = values.detach().repeat_interleave(pixels)
            self.register_buffer(name, each[:, None, None].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, H, W)."""
        spread = F.conv2d(x * x, self.get_buffer("_mean")) + self._eps
        return x * torch.rsqrt(spread) * self.get_buffer("_weight") + self.get_buffer("_bias")


@torch.no_grad()
def halve(conv: nn.Conv2d, factor: int) -> nn.Conv2d:
    """Return a 3x3 convolution of stride 2 as one of stride 1 on cells of several pixels.

    A cell of the input has factor x factor pixels, one of the output a quarter of them; channels
    are those of the convolution, each with its pixels row by row. Few channels of many pixels
    become many channels of few: vectors are full.

    Args:
        conv: A convolution with padding 1 and stride 2.
        factor: Pixels on each side of a cell before it, even.
    """
    if (conv.kernel_size, conv.stride, conv.padding) != ((3, 3), (2, 2), (1, 1)):
        raise ValueError(f"{conv}: a 3x3 convolution with stride 2 and padding 1 was expected")
    out, into = conv.weight.shape[:2]
    after = factor // 2
    weight = torch.zeros(out, after, after, into, factor, factor, 3, 3)
    for row in range(after):
        for column in range(after):
            for i in range(3):
                for j in range(3):
                    # From the first pixel of the cell: -1 is the last one of the cell before.
                    down, right = 2 * row + i - 1, 2 * column + j - 1
                    place = (1 + down // factor, 1 + right // factor)
                    weight[:, row, column, :, down % factor, right % factor, *place] = conv.weight[
                        :, :, i, j
                    ]
    cells = nn.Conv2d(into * factor**2, out * after**2, 3, padding=1)
    cells.weight.copy_(weight.reshape(cells.weight.shape))
    assert conv.bias is not None, "the mask downsampler's convolutions have a bias"
    assert cells.bias is not None
    cells.bias.copy_(conv.bias.repeat_interleave(after**2))
    return cells


@torch.no_grad()
def plain_downsampler(encoder: Any, factor: int) -> nn.Sequential:
    """Return the mask downsampler with the centring of each norm moved into the weights before it.

    Args:
        encoder: The official one: convolution, norm and activation in turn, a convolution last.
        factor: Pixels on each side of a cell of its input, one channel each (`Enlarge`).
    """
    parts: list[nn.Module] = []
    for part in encoder:
        if isinstance(part, LayerNorm2d):
            before = parts[-1]
            assert isinstance(before, nn.Conv2d)
            assert before.bias is not None
            centred = copy.deepcopy(before)
            assert centred.bias is not None
            pixels = len(before.bias) // len(part.weight)
            each = centred.weight.view(-1, pixels, *before.weight.shape[1:])
            each -= each.mean(0, keepdim=True)
            centred.bias -= before.bias.mean()
            parts[-1] = centred
            parts.append(ChannelNorm(part, pixels))
        elif isinstance(part, nn.Conv2d) and factor > 1:
            parts.append(halve(part, factor))
            factor //= 2
        else:
            parts.append(part)
    return nn.Sequential(*parts)


class MaskMemory(Network):
    """Encodes masks on any square part of the frame.

    Args:
        model: A `SAM2Base` in eval mode.
    """

    name = "memory_encoder"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._encoder = model.memory_encoder
        self._scale = float(model.sigmoid_scale_for_mem_enc)
        self._bias = float(model.sigmoid_bias_for_mem_enc)
        width, memory = int(model.hidden_dim), int(model.mem_dim)
        factor = int(model.image_size) // (4 * int(model.sam_image_embedding_size))
        self._enlarge = Enlarge(factor)
        encoder = model.memory_encoder.mask_downsampler.encoder
        self._downsampler = plain_downsampler(encoder, factor)
        self.signature = Signature(
            inputs=(
                Port("top", (SHARED, width, "s", "s")),
                Port("low", (OBJECTS, 1, "s4", "s4")),
                Port("binary", (OBJECTS, 1, 1, 1)),
            ),
            outputs=(Port("memory", (OBJECTS, memory, "s", "s")),),
        )

    def forward(self, top: torch.Tensor, low: torch.Tensor, binary: torch.Tensor) -> torch.Tensor:
        """Encode.

        Args:
            top: (R, C, s, s) features.
            low: (B, 1, 4s, 4s) logits.
            binary: (B, 1, 1, 1) 1 where a mask counts as in or out only, else 0.
        """
        pixels = self._enlarge(low)
        soft = torch.sigmoid(pixels)
        inside = binary * (pixels > 0).float() + (1.0 - binary) * soft
        masks = self._downsampler(inside * self._scale + self._bias)
        mixed = self._encoder.fuser(self._encoder.pix_feat_proj(top) + masks)
        out: torch.Tensor = self._encoder.out_proj(mixed)
        return out
