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
        self,
        image: np.ndarray,
        outlines: Sequence[Outline],
        *,
        sides: int = 1,
        apart: bool = True,
    ) -> list[Placed]:
        self.told += [list(outlines)] if outlines else []
        return [(outline.mask, outline.box) for outline in outlines]

    def draw_alone(
        self, image: np.ndarray, outlines: Sequence[Outline], *, sides: int = 1
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
    sketched, boxed, tried, again = edges.told
    for told in (sketched, boxed):
        assert [(one.given, one.point) for one in told] == [(BOX.box, None)]
    clicked = [(one.given, one.point) for one in (*tried, *again)]
    assert set(clicked) == {(None, (130.5, 90.5))}
    assert (len(tried), len(again)) == (1 + len(SIZES), 1 + len(SIZES))


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


def test_what_the_segmenter_did_not_see_is_drawn_from_the_prompt_alone() -> None:
    image, true = bright_disc()
    sight = ModelSight(check({"tracker": {"precision": "fp32"}}), with_texts=False)
    beside = Hint(box=(500.0, 10.0, 520.0, 30.0))
    # Two prompts of one object do not share it out.
    found = sight.draw(image, {}, {1: BOX, 2: Hint(point=(130.5, 90.5)), 3: beside})
    assert set(found) == {1, 2}
    for one in found.values():
        x0, y0, x1, y1 = one.box
        shared = (one.mask & true[y0:y1, x0:x1]).sum()
        assert shared / (one.mask.sum() + true.sum() - shared) > 0.8
        assert one.score == 0.0
    refused = check({"tracker": {"refine": False}})
    assert ModelSight(refused, with_texts=False).draw(image, {}, {1: BOX}) == {}


def seen_of(mask: np.ndarray, score: float = 0.8) -> Seen:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return Seen("cell", score, mask[y0:y1, x0:x1], (int(x0), int(y0), int(x1), int(y1)))


class Judging(Noting):
    """Leaves masks as they are, and takes those for good that are so large."""

    def __init__(self, least_px: int) -> None:
        super().__init__()
        self.least_px = least_px

    def draw_alone(
        self, image: np.ndarray, outlines: Sequence[Outline], *, sides: int = 1
    ) -> tuple[list[Placed], list[float]]:
        sure = [0.9 if one.mask.sum() >= self.least_px else 0.1 for one in outlines]
        return self.draw(image, outlines), sure


def test_what_texts_found_is_judged_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs, "edges", lambda *_: Judging(400))
    sight = ModelSight(check({}), with_texts=False)
    image, true = bright_disc()
    speck = np.zeros_like(true)
    speck[20:24, 20:24] = True
    found = sight.settle(
        image, [seen_of(speck), seen_of(true, 0.7), seen_of(np.roll(true, 2, 1), 0.9)], 0.5, 0.6
    )
    assert len(found) == 1
    assert found[0].label == "cell"
    assert found[0].score in (pytest.approx(0.63), pytest.approx(0.81))
    assert sight.settle(image, [], 0.5, 0.6) == []


def test_without_a_refiner_texts_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs, "edges", lambda *_: None)
    sight = ModelSight(check({}), with_texts=False)
    image, true = bright_disc()
    one = seen_of(true, 0.1)
    assert sight.settle(image, [one], 0.5, 0.6)[0] is one


def test_a_mask_over_two_becomes_the_one_in_whose_middle_its_own_middle_lies() -> None:
    image, true = bright_disc()
    both = true | np.roll(true, 38, 1)
    image = np.where((both & ~true)[..., None], 190, image).astype(np.uint8)
    sight = ModelSight(check({"tracker": {"precision": "fp32"}}), with_texts=False)
    found = sight.settle(image, [seen_of(true), seen_of(np.roll(true, 38, 1))], 0.5, 0.6)
    assert len(found) == 2
    assert all(0.7 < one.mask.sum() / true.sum() < 1.3 for one in found)
