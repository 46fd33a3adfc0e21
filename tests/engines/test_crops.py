from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.build import build_clip
from engines.crops import cut_out, embed_crops, mask_crops, paint, square_box
from engines.errors import ModelError

NONE, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def picture() -> np.ndarray:
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:20, 30:50] = (200, 100, 250)
    return image


def mask() -> torch.Tensor:
    """The rectangle of the picture at half of its resolution."""
    out = torch.zeros(20, 30, dtype=torch.bool)
    out[5:10, 15:25] = True
    return out


def test_the_box_is_square_around_the_mask_with_a_margin() -> None:
    assert square_box(mask(), (40, 60), margin=0.0) == (30, 5, 50, 25)
    assert square_box(mask(), (40, 60), margin=0.1) == (28, 3, 52, 27)
    with pytest.raises(ValueError, match="empty"):
        square_box(torch.zeros(4, 4, dtype=torch.bool), (8, 8))


def test_beyond_the_image_is_grey_and_outside() -> None:
    pixels, inside = cut_out(picture(), mask(), (30, 5, 70, 45))
    assert pixels.shape == (40, 40, 3)
    assert (pixels[:, 30:] == 128).all()
    assert (pixels[35:] == 128).all()
    assert inside.sum() == 200
    assert inside[5:15, :20].all()


@pytest.mark.parametrize(
    ("style", "inner", "outer"),
    [
        ("grey", (210, 105, 255), (128, 128, 128)),  # x 1.05; 262.5 is clipped
        ("raw", (200, 100, 250), (0, 40, 80)),
        ("soft", (200, 100, 250), (77, 93, 109)),  # 0.4 x + 0.6 * 128
    ],
)
def test_styles_by_hand(style: str, inner: tuple[int, ...], outer: tuple[int, ...]) -> None:
    pixels = np.array([[[200, 100, 250], [0, 40, 80]]], dtype=np.uint8)
    painted = paint(pixels, np.array([[True, False]]), style)
    assert painted.tolist() == [[list(inner), list(outer)]]


def test_a_batch_of_crops_holds_the_objects() -> None:
    crops = mask_crops(picture(), torch.stack([mask(), mask()]), 24, "grey", NONE, ONE)
    assert crops.shape == (2, 3, 24, 24)
    assert torch.equal(crops[0], crops[1])
    middle = crops[0, :, 12, 12] * 255
    assert middle.tolist() == pytest.approx([210, 105, 255], abs=0.5)
    assert crops[0, :, 1, 12].mul(255).tolist() == pytest.approx([128] * 3, abs=0.5)
    none = torch.zeros(0, 20, 30, dtype=torch.bool)
    assert mask_crops(picture(), none, 24, "grey", NONE, ONE).shape == (0, 3, 24, 24)


def test_one_pixel_in_a_corner_can_be_cut_out() -> None:
    corner = torch.zeros(80, 120, dtype=torch.bool)
    corner[-1, -1] = True
    assert mask_crops(picture(), corner[None], 16, "soft", NONE, ONE).shape == (1, 3, 16, 16)


def test_crops_are_embedded_in_chunks_as_one_by_one() -> None:
    visual = build_clip("micro").visual
    crops = torch.randn(5, 3, 256, 256)
    with torch.inference_mode():
        found = embed_crops(visual, crops, chunk=2)
        alone = visual(crops[4:])[0]
    assert torch.allclose(found.norm(dim=1), torch.ones(5))
    assert torch.allclose(found[4], alone / alone.norm(), atol=1e-5)


def test_an_unknown_style_is_said() -> None:
    with pytest.raises(ModelError, match="'blur' is unknown; accepted are grey, raw, soft"):
        mask_crops(picture(), mask()[None], 16, "blur", NONE, ONE)
