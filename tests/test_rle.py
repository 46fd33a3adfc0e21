"""Run lengths against pycocotools, both ways."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from stream import rle
from stream.frame import crop_mask

SIZES = [(1, 1), (5, 7), (60, 80)]


def masks(size: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    out = [np.zeros(size, bool), np.ones(size, bool)]
    out += [rng.random(size) < p for p in (0.02, 0.3, 0.9)]
    columns = np.zeros(size, bool)
    columns[:, ::2] = True  # runs that touch the top and the bottom
    return [*out, columns]


@pytest.mark.parametrize("size", SIZES)
def test_encoding_equals_pycocotools_and_decoding_is_its_way_back(size: tuple[int, int]) -> None:
    for mask in masks(size):
        part, box = crop_mask(mask)
        counts = rle.encode(part, box, size)
        assert counts == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert (rle.decode(counts, size) == mask).all()
        assert (rle.decode_crop(counts, box, size) == part).all()


def test_a_box_that_is_not_tight_gives_the_same_counts() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:15] = True
    part, box = crop_mask(mask)
    assert rle.encode(mask, (0, 0, 30, 20), (20, 30)) == rle.encode(part, box, (20, 30))


@pytest.mark.parametrize("size", SIZES)
def test_what_strangers_encode_decodes_as_pycocotools_does(size: tuple[int, int]) -> None:
    for mask in masks(size):
        counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert (rle.decode_foreign(counts, size) == mask).all()


@pytest.mark.parametrize(
    ("counts", "size", "words"),
    [
        (b"", (4, 6), "do not fill 4 x 6"),
        (b"o0", (4, 6), "do not fill 4 x 6"),
        (b"0O", (4, 6), "do not fill 4 x 6"),
        (b"\xff", (4, 6), "are not COCO compressed"),
        (b"PPPPPPPPPP0", (4, 6), "are not COCO compressed"),
        (b"P", (4, 6), "end in the middle of a run"),
        (b"0", (0, 6), "0 x 6 is not accepted"),
        (b"0", (1 << 20, 1 << 20), "is not accepted"),
    ],
)
def test_runs_that_lie_are_refused(counts: bytes, size: tuple[int, int], words: str) -> None:
    with pytest.raises(ValueError, match="mask") as found:
        rle.decode_foreign(counts, size)
    assert words in str(found.value)
