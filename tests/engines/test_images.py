from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from engines.images import IMAGENET_MEAN, IMAGENET_STD, mask_in_frame, to_input


@pytest.mark.parametrize("size", [(480, 640), (64, 64), (50, 333)])
def test_a_mask_in_the_frame_equals_resizing_all_of_it(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        coarse = torch.from_numpy(rng.normal(-0.5, 1.0, (1, 1, 8, 8)).astype(np.float32))
        logits = F.interpolate(coarse, size=(64, 64), mode="bicubic")[0, 0]
        full = F.interpolate(logits[None, None], size=size, mode="bilinear")[0, 0].numpy()
        mask, (x0, y0, x1, y1) = mask_in_frame(logits.numpy(), size)
        ours = np.zeros(size, bool)
        ours[y0:y1, x0:x1] = mask
        unsure = np.abs(full) < 1e-5
        assert (ours == (full > 0))[~unsure].all()
        assert mask.any(1)[[0, -1]].all()
        assert mask.any(0)[[0, -1]].all()


def test_an_empty_mask_has_no_box() -> None:
    mask, box = mask_in_frame(np.full((8, 8), -3.0, np.float32), (20, 20))
    assert mask.shape == (0, 0)
    assert box == (0, 0, 0, 0)


def test_input_is_normalised_as_imagenet() -> None:
    image = np.full((6, 9, 3), 255, np.uint8)
    out = to_input(image, (4, 4), IMAGENET_MEAN, IMAGENET_STD, torch.device("cpu"))
    expected = [(1 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    np.testing.assert_allclose(out[0, :, 0, 0], expected, rtol=1e-5)
    assert out.shape == (1, 3, 4, 4)


def test_pictures_are_resized_as_pil_does_it() -> None:
    """SAM 2's own loader resizes with PIL; one grey level is 1 / 57 of the normalised scale."""
    image = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    out = to_input(image, (32, 32), (0.0,) * 3, (1 / 255,) * 3, torch.device("cpu"))
    pil = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    away = np.abs(out[0].permute(1, 2, 0).numpy() - pil)
    assert away.max() <= 1.0
    assert away.mean() < 0.1


def test_read_only_memory_is_accepted_and_gray_is_refused() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image.flags.writeable = False
    to_input(image, (4, 4), IMAGENET_MEAN, IMAGENET_STD, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB is needed"):
        to_input(
            np.zeros((4, 4), np.uint8), (4, 4), IMAGENET_MEAN, IMAGENET_STD, torch.device("cpu")
        )
