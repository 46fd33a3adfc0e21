"""Parts that keep channels last: the official numbers, and what they do not take."""

from __future__ import annotations

import pytest
import torch
from sam2.modeling.backbones.utils import PatchEmbed
from torch import nn

from engines.networks.channels_last import LargestOfFour, PatchProduct, largest_of_four


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("size", [(4, 4), (32, 20)])
def test_patches_are_the_official_ones_to_the_border(size: tuple[int, int]) -> None:
    official = PatchEmbed(
        kernel_size=(7, 7), stride=(4, 4), padding=(3, 3), in_chans=3, embed_dim=5
    ).double()
    assert PatchProduct.fits(official)
    image = noise(2, 3, *size)
    torch.testing.assert_close(PatchProduct(official)(image), official(image))


@pytest.mark.parametrize(
    "change",
    [{"kernel_size": (5, 5)}, {"stride": (2, 2)}, {"padding": (0, 0)}],
)
def test_other_patches_are_left_to_their_convolution(change: dict[str, tuple[int, int]]) -> None:
    shape = {"kernel_size": (7, 7), "stride": (4, 4), "padding": (3, 3)} | change
    assert not PatchProduct.fits(PatchEmbed(in_chans=3, embed_dim=5, **shape))


def test_the_largest_of_four_is_the_pool() -> None:
    pool = nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=False)
    assert LargestOfFour.fits(pool)
    x = noise(2, 7, 6, 4)
    assert torch.equal(LargestOfFour()(x), pool(x))
    assert torch.equal(largest_of_four(x.permute(0, 2, 3, 1)), pool(x).permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 2), nn.MaxPool2d(2, 1), nn.MaxPool2d(2, 2, ceil_mode=True)]
)
def test_other_pools_stay(pool: nn.MaxPool2d) -> None:
    assert not LargestOfFour.fits(pool)
