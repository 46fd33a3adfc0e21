"""Masks as bits: what is packed on a device is what comes out on the host, and the other way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from engines import bits
from engines.bits import frame_bits, pack, unpack, want_frame_bits
from engines.images import mask_in_frame
from engines.transfer import Gather

masks = arrays(np.bool_, array_shapes(min_dims=1, max_dims=3, max_side=19))


@settings(max_examples=60, deadline=None)
@given(masks)
def test_packed_masks_are_those_of_numpy_and_come_back(mask: np.ndarray) -> None:
    packed = pack(torch.from_numpy(mask))
    assert packed.dtype == torch.uint8
    np.testing.assert_array_equal(packed.numpy(), np.packbits(mask, axis=-1))
    np.testing.assert_array_equal(unpack(packed.numpy(), mask.shape[-1]), mask)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_bytes_become_masks_and_the_same_bytes_again(packed: np.ndarray) -> None:
    mask = unpack(packed, 8 * packed.shape[1])
    np.testing.assert_array_equal(pack(torch.from_numpy(mask.copy())).numpy(), packed)


def logits(seed: int = 0) -> torch.Tensor:
    """Masks of all kinds: blobs, one at the edge, an empty one, a full one."""
    torch.manual_seed(seed)
    blobs = F.interpolate(torch.randn(4, 1, 4, 4), size=(24, 24), mode="bicubic")[:, 0]
    return torch.cat([blobs, torch.full((1, 24, 24), -5.0), torch.full((1, 24, 24), 5.0)])


@pytest.mark.parametrize("size", [(96, 96), (37, 61), (8, 8), (100, 7)])
@pytest.mark.parametrize("at_once", [64_000_000, 1])
def test_frame_masks_are_those_that_the_host_would_make(
    size: tuple[int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bits, "AT_ONCE", at_once)
    low, gather = logits(), Gather()
    want_frame_bits(gather, low, size)
    found = gather.read()["frame_bits"]
    assert found.dtype == np.uint8
    for row, one in enumerate(low):
        mask, box = frame_bits(found[row], size).cut()
        whole = np.zeros(size, dtype=bool)
        whole[box[1] : box[3], box[0] : box[2]] = mask
        fine = F.interpolate(one[None, None], size=size, mode="bilinear")[0, 0].numpy()
        np.testing.assert_array_equal(whole, fine > 0)
        expected, expected_box = mask_in_frame(one.numpy(), size)
        unsure = np.abs(fine) < 1e-4  # rounding may put these on either side
        if not unsure.any():
            assert box == expected_box
            np.testing.assert_array_equal(mask, expected)
        assert mask.flags.c_contiguous
