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
    """Bilinear enlargement by a whole factor, as a small convolution and a reordering.

    Each of the factor x factor pixels that a cell becomes is a fixed mixture of it and its
    neighbours. Engines resize slowly and convolve fast.

    Args:
        factor: How many times larger, even.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self._factor = factor
        # Bilinear, of pixels whose middles lie where `align_corners=False` puts them.
        line = torch.zeros(factor, 3)
        for pixel in range(factor):
            away = (pixel + 0.5) / factor - 0.5
            line[pixel, 1] = 1.0 - abs(away)
            line[pixel, 0 if away < 0 else 2] = abs(away)
        mixture = torch.einsum("ai,bj->abij", line, line).reshape(-1, 1, 3, 3)
        self.register_buffer("_mixture", mixture)

    def phases(self, low: torch.Tensor) -> torch.Tensor:
        """Return (B, factor * factor, h, w) of (B, 1, h, w)."""
        padded = F.pad(low, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.get_buffer("_mixture"))

    def joined(self, phases: torch.Tensor) -> torch.Tensor:
        """Return (B, 1, factor * h, factor * w)."""
        return F.pixel_shuffle(phases, self._factor)


class ChannelNorm(nn.Module):
    """`LayerNorm2d` of channels that have mean zero already, as a convolution.

    A sum over channels that is written to every channel is a product with a matrix of ones, which
    engines compute faster than a mean and its broadcast.

    Args:
        norm: The official layer.
    """

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        channels = len(norm.weight)
        self._eps = float(norm.eps)
        self.register_buffer("_mean", torch.full((channels, channels, 1, 1), 1.0 / channels))
        self.register_buffer("_weight", norm.weight.detach()[:, None, None].clone())
        self.register_buffer("_bias", norm.bias.detach()[:, None, None].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, H, W)."""
        spread = F.conv2d(x * x, self.get_buffer("_mean")) + self._eps
        return x * torch.rsqrt(spread) * self.get_buffer("_weight") + self.get_buffer("_bias")


@torch.no_grad()
def plain_downsampler(encoder: Any) -> nn.Sequential:
    """Return the mask downsampler with the centring of each norm moved into the weights before it.

    Args:
        encoder: The official one: convolution, norm and activation in turn, a convolution last.
    """
    parts: list[nn.Module] = []
    for part in encoder:
        if isinstance(part, LayerNorm2d):
            before = parts[-1]
            assert isinstance(before, nn.Conv2d)
            assert before.bias is not None
            centred = copy.deepcopy(before)
            assert centred.bias is not None
            centred.weight -= before.weight.mean(0, keepdim=True)
            centred.bias -= before.bias.mean()
            parts[-1] = centred
            parts.append(ChannelNorm(part))
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
        self._downsampler = plain_downsampler(model.memory_encoder.mask_downsampler.encoder)
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
        phases = self._enlarge.phases(low)
        soft = torch.sigmoid(phases)
        inside = binary * (phases > 0).float() + (1.0 - binary) * soft
        masks = self._downsampler(self._enlarge.joined(inside * self._scale + self._bias))
        mixed = self._encoder.fuser(self._encoder.pix_feat_proj(top) + masks)
        out: torch.Tensor = self._encoder.out_proj(mixed)
        return out
