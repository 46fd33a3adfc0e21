"""Single pictures with a refiner: the box that was given, the click, and finer texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from engines.clicks import SIZES
from engines.edges import Edges, Outline, Placed
from stream.config import check
from stream.core import knobs
from stream.offline.prompts import Hint
from stream.offline.sight import ModelSight, Seen


class Noting(Edges):
    """Leaves masks as they are, and notes what it was told."""

    def __init__(self) -> None:
        self.told: list[list[Outline]] = []

    def draw(
        self, image: np.ndarray, outlines: Sequence[Outline], *, mirrored: bool = False
    ) -> list[Placed]:
        self.told += [list(outlines)] if outlines else []
        return [(outline.mask, outline.box) for outline in outlines]

    def draw_alone(
        self, image: np.ndarray, outlines: Sequence[Outline], rounds: int = 1
    ) -> tuple[list[Placed], list[float]]:
        return self.draw(image, outlines), [0.5] * len(outlines)


def bright_disc() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:200, :240]
    true = (rows - 90) ** 2 + (columns - 130) ** 2 < 18**2
    image = np.where(true, 190, 35)[..., None] + np.zeros(3)
    noise = np.random.default_rng(0).integers(0, 16, image.shape)
    return (image + noise).astype(np.uint8), true


def segmented(refine: bool | None, image: np.ndarray, hint: Hint) -> Seen:
    config = check({"tracker": {"refine": refine, "precision": "fp32"}})
    sight = ModelSight(config, with_texts=False)
    return sight.draw(image, sight.segment(image, {7: hint}), {7: hint})[7]


BOX = Hint(box=(112.0, 72.0, 148.0, 108.0))


def test_it_is_told_the_box_or_the_click(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = Noting()
    monkeypatch.setattr(knobs, "edges", lambda *_: edges)
    image, _ = bright_disc()
    segmented(True, image, BOX)
    segmented(True, image, Hint(point=(130.5, 90.5)))
    boxed, tried, chosen = edges.told
    assert [(one.given, one.point) for one in boxed] == [(BOX.box, None)]
    assert {(one.given, one.point) for one in (*tried, *chosen)} == {(None, (130.5, 90.5))}
    assert (len(tried), len(chosen)) == (1 + len(SIZES), 1)


@pytest.mark.parametrize("hint", [BOX, Hint(point=(130.5, 90.5))])
def test_the_mask_is_nearer_to_the_truth(hint: Hint) -> None:
    image, true = bright_disc()
    found = {}
    for refine in (False, True):
        seen = segmented(refine, image, hint)
        x0, y0, x1, y1 = seen.box
        whole = np.zeros(true.shape, bool)
        whole[y0:y1, x0:x1] = seen.mask
        found[refine] = (whole & true).sum() / (whole | true).sum()
    assert found[True] > found[False]
    assert found[True] > 0.93


def test_single_pictures_are_drawn_again_unless_that_is_refused() -> None:
    image, _ = bright_disc()
    unsaid, asked, refused = (segmented(refine, image, BOX) for refine in (None, True, False))
    assert unsaid.box == asked.box
    assert (unsaid.mask == asked.mask).all()
    assert unsaid.mask.shape != refused.mask.shape or (unsaid.mask != refused.mask).any()
