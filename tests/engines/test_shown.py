"""Boxes to masks, or to the reason why there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engines.detection import DetectorSettings
from engines.errors import ModelError
from engines.shown import Box, box_iou, shown_mask

SETTINGS = DetectorSettings(min_quality=0.6, min_area_px=30)
SIZE = (100, 200)


class Drawn:
    """A decoder that gives one rectangle for boxes and one for clicks, as fractions."""

    def __init__(self, boxed: Box, clicked: Box, quality: float = 0.9) -> None:
        self.boxed, self.clicked, self.quality = boxed, clicked, quality

    def __call__(
        self, points: torch.Tensor, boxes: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x0, y0, x1, y1 = (round(v * 64) for v in (self.clicked if boxes is None else self.boxed))
        logits = torch.full((1, 64, 64), -3.0)
        logits[0, y0:y1, x0:x1] = 3.0
        return logits, torch.tensor([self.quality])


NOTHING = (0.0, 0.0, 0.0, 0.0)
HALF = (0.25, 0.25, 0.5, 0.5)
IN_PIXELS = (50.0, 25.0, 100.0, 50.0)


def test_the_mask_that_fills_the_box_is_taken() -> None:
    part = (0.25, 0.25, 0.3125, 0.3125)
    for decoder in (Drawn(HALF, part), Drawn(part, HALF)):
        mask, point = shown_mask(decoder, IN_PIXELS, SIZE, SETTINGS)
        assert mask.sum() == 16 * 16
        assert point.tolist() == pytest.approx([0.375, 0.375])


def test_a_box_that_leaves_the_frame_is_cut() -> None:
    decoder = Drawn((0.0, 0.0, 0.25, 0.5), NOTHING)
    mask, point = shown_mask(decoder, (-40.0, -9.0, 50.0, 50.0), SIZE, SETTINGS)
    assert mask.any()
    assert point.tolist() == pytest.approx([0.125, 0.25])


@pytest.mark.parametrize(
    ("box", "decoder", "reason"),
    [
        ((50.0, 25.0, 50.0, 50.0), Drawn(HALF, HALF), "covers no pixel of the 200x100 frame"),
        ((250.0, 25.0, 290.0, 50.0), Drawn(HALF, HALF), "accepted is x0 < x1, y0 < y1"),
        ((float("nan"), 25.0, 90.0, 50.0), Drawn(HALF, HALF), "is not made of numbers"),
        (IN_PIXELS, Drawn(NOTHING, NOTHING), "no mask was found in its box"),
        (IN_PIXELS, Drawn((0.7, 0.7, 1.0, 1.0), NOTHING), "no mask was found in its box"),
        (IN_PIXELS, Drawn((0.0, 0.0, 1.0, 1.0), NOTHING), "no mask fills its box .overlap 0.06"),
        (IN_PIXELS, Drawn(HALF, HALF, quality=0.2), "quality 0.20, 0.30 is needed"),
    ],
)
def test_what_shows_nothing_is_said(box: Box, decoder: Drawn, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        shown_mask(decoder, box, SIZE, SETTINGS)
    assert "\n" not in str(caught.value)


def test_a_mask_of_few_pixels_is_refused() -> None:
    dot = (0.25, 0.25, 0.265625, 0.265625)
    with pytest.raises(ModelError, match=r"its mask has 5 px; 30 are needed"):
        shown_mask(Drawn(dot, dot), (50.0, 25.0, 53.0, 27.0), SIZE, SETTINGS)


def test_random_weights_may_fit_badly() -> None:
    anything = replace(SETTINGS, accept_best=4)
    mask, _ = shown_mask(Drawn((0.0, 0.0, 1.0, 1.0), NOTHING, 0.01), IN_PIXELS, SIZE, anything)
    assert mask.all()


def test_box_iou_by_hand() -> None:
    assert box_iou((0, 0, 4, 4), (2, 0, 6, 4)) == pytest.approx(8 / 24)
    assert box_iou((0, 0, 1, 1), (5, 5, 6, 6)) == 0.0
