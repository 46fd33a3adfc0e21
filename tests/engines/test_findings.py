"""Masks of results have a resolution that the tracker can take."""

from __future__ import annotations

import pytest

from engines.findings import mask_side


@pytest.mark.parametrize(
    ("image_side", "side"),
    [(64, 64), (256, 256), (384, 192), (512, 256), (640, 160), (1024, 256), (2048, 512)],
)
def test_masks_are_whole_multiples_of_the_decoder_s(image_side: int, side: int) -> None:
    assert mask_side(image_side) == side
    assert side % (image_side // 4) == 0
