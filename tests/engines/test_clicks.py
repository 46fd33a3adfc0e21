"""Clicks: discs of several sizes around them, and the drawing that the network believes most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from engines.clicks import (
    CLICK_SIDES,
    SIZES,
    TERMS,
    UNCLICKED_SIZES,
    WEIGHTS,
    Guess,
    centrality,
    disc,
    draw_prompted,
    guesses,
    likeliest,
    meant,
    terms,
)
from engines.edges import Edges, Outline, Placed
from tests.engines.test_edges import IMAGE, Told, edges, iou, painted, same_mask
from tests.engines.test_edges import disc as true_disc

HEIGHT, WIDTH = IMAGE.shape[:2]


@pytest.mark.parametrize("part", SIZES)
def test_a_disc_lies_around_the_click_and_is_so_large(part: float) -> None:
    outline = replace(true_disc(80, 60, 20.0), point=(75.0, 64.0))
    found = disc(outline, part, (HEIGHT, WIDTH))
    assert found.point == outline.point
    assert found.mask.sum() == pytest.approx(math.pi * (20.0 * part) ** 2, rel=0.1)
    x0, y0, x1, y1 = found.box
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (75.0, 64.0)
    assert found.mask.any(0).all()
    assert found.mask.any(1).all()


@pytest.mark.parametrize("point", [(0.0, 0.0), (WIDTH, HEIGHT), (159.9, 3.2)])
def test_a_disc_at_the_border_stays_inside(point: tuple[float, float]) -> None:
    outline = replace(true_disc(80, 60, 8.0), point=point)
    x0, y0, x1, y1 = disc(outline, 1.0, (HEIGHT, WIDTH)).box
    assert 0 <= x0 < x1 <= WIDTH
    assert 0 <= y0 < y1 <= HEIGHT


def test_a_disc_of_a_crumb_is_large_enough_to_be_drawn() -> None:
    crumb = Outline(np.ones((1, 1), bool), (5, 5, 6, 6), point=(5.5, 5.5))
    assert disc(crumb, 0.5, (HEIGHT, WIDTH)).mask.sum() >= 9


def test_without_a_click_there_is_no_disc() -> None:
    with pytest.raises(ValueError, match="has no point"):
        disc(true_disc(80, 60, 8.0), 1.0, (HEIGHT, WIDTH))


class Sure(Edges):
    """Leaves masks as they are, and believes in one of some size."""

    def __init__(self, area_px: float, within: float = 0.05) -> None:
        super().__init__(Told(same_mask), precision="fp32")  # type: ignore[arg-type]
        self.area_px, self.within = area_px, within

    def draw_alone(
        self, image: np.ndarray, outlines: Sequence[Outline], *, sides: int = 1
    ) -> tuple[list[Placed], list[float]]:
        off = [abs(float(outline.mask.sum()) / self.area_px - 1) for outline in outlines]
        sure = [0.9 if one < self.within else 0.01 for one in off]
        return [(outline.mask, outline.box) for outline in outlines], sure


@pytest.mark.parametrize("part", SIZES)
def test_the_drawing_that_the_network_believes_most_stays(part: float) -> None:
    clicked = [replace(true_disc(x, 60, 20.0), point=(float(x), 60.0)) for x in (40, 120)]
    wanted = [disc(outline, part, (HEIGHT, WIDTH)) for outline in clicked]
    found = draw_prompted(Sure(math.pi * (20.0 * part) ** 2, 0.1), IMAGE, clicked)
    for place, outline in zip(found, wanted, strict=True):
        assert iou(painted(*place), painted(outline.mask, outline.box)) > 0.95


def test_the_mask_that_there_was_stays_where_it_is_the_best() -> None:
    crescent = true_disc(80, 60, 20.0)
    crescent.mask[:, :17] = False
    clicked = replace(crescent, point=(90.0, 60.0))
    found = draw_prompted(Sure(float(crescent.mask.sum()), 1e-6), IMAGE, [clicked])
    assert iou(painted(*found[0]), painted(crescent.mask, crescent.box)) > 0.95


def guess(outline: Outline, sure: float, before: float = 0.5, calm: float = 0.9) -> Guess:
    return Guess((outline.mask, outline.box), sure, before, calm)


def test_of_two_that_are_as_good_the_one_in_whose_middle_the_click_lies_stays() -> None:
    small, two = true_disc(60, 60, 10.0), true_disc(70, 60, 20.0)
    point = (60.5, 60.5)
    # What is taken for perfect or for nothing stays comparable.
    for sure in (0.0, 0.8, 1.0):
        assert likeliest([guess(two, sure), guess(small, sure)], point) == 1
    assert likeliest([guess(two, 0.99), guess(small, 0.05)], point) == 0
    assert likeliest([guess(two, 0.0)], point) == 0


@pytest.mark.parametrize("better", [{"sure": 0.9}, {"before": 0.9}, {"calm": 1.0}])
def test_of_two_that_are_alike_the_one_that_more_speaks_for_stays(better: dict[str, float]) -> None:
    one = true_disc(60, 60, 20.0)
    worse, best = guess(one, 0.5), guess(one, **({"sure": 0.5} | better))
    assert likeliest([worse, best], (60.5, 60.5)) == 1
    assert likeliest([best, worse], (60.5, 60.5)) == 0


def test_one_that_others_resemble_wins_against_one_that_is_alone() -> None:
    point = (60.5, 60.5)
    alone = guess(true_disc(60, 60, 20.0), 0.71)
    like = [guess(true_disc(60, 60, radius), 0.7) for radius in (10.0, 10.5, 9.5)]
    assert likeliest([alone, like[0]], point) == 0
    assert likeliest([alone, *like], point) == 1


def test_terms_are_what_they_are_called() -> None:
    one, other = true_disc(60, 60, 20.0), true_disc(100, 60, 20.0)
    found = terms([guess(one, 0.5, 0.5, 0.25), guess(other, 1.0, 0.0, 1.0)], (60.5, 60.5))
    assert found.shape == (2, len(TERMS)) == (2, len(WEIGHTS))
    sure = math.log(0.99 / 0.01)
    alike = iou(painted(one.mask, one.box), painted(other.mask, other.box))
    np.testing.assert_allclose(found[0], [0, 0, 1, 0.25, alike], atol=0.03)
    np.testing.assert_allclose(found[1], [sure, -sure, 0, 1, alike], atol=0.03)


def test_each_is_drawn_twice_from_its_mask_and_from_discs() -> None:
    outlines = [replace(true_disc(x, 60, 20.0), point=(float(x), 60.0)) for x in (50, 120)]
    for outline, made in zip(outlines, guesses(edges(), IMAGE, outlines), strict=True):
        assert len(made) == 1 + len(SIZES)
        wanted = [outline, *(disc(outline, part, (HEIGHT, WIDTH)) for part in SIZES)]
        for one, start in zip(made, wanted, strict=True):
            assert iou(painted(*one.place), painted(start.mask, start.box)) > 0.9
            assert one.calm > 0.9


def test_where_nobody_clicked_the_surest_stays() -> None:
    outlines = [replace(true_disc(60, 60, 20.0), point=(45.5, 60.5))]
    surest = disc(outlines[0], UNCLICKED_SIZES[-1], (HEIGHT, WIDTH))
    edges = Sure(math.pi * (20.0 * UNCLICKED_SIZES[-1]) ** 2)
    placed, sure = meant(edges, IMAGE, outlines, clicked=False)
    assert placed[0][1] == surest.box
    assert sure == [0.9]
    assert meant(edges, IMAGE, []) == ([], [])


def test_where_nobody_clicked_drawing_begins_with_larger_discs_alone() -> None:
    outlines = [replace(true_disc(60, 60, 20.0), point=(45.5, 60.5))]
    edges = Counting()
    meant(edges, IMAGE, outlines, clicked=False)
    wanted = [disc(outlines[0], part, (HEIGHT, WIDTH)).box for part in UNCLICKED_SIZES]
    assert [one.box for one, _ in edges.alone] == wanted * 2


@pytest.mark.parametrize(
    ("point", "depth"),
    [((60.5, 60.5), 1.0), ((60.5, 40.3), 0.05), ((79.9, 60.5), 0.05), ((200.0, 9.0), 0.0)],
)
def test_the_middle_is_deep_and_the_edge_is_not(point: tuple[float, float], depth: float) -> None:
    one = true_disc(60, 60, 20.0)
    assert centrality((one.mask, one.box), point) == pytest.approx(depth, abs=0.06)


def test_what_one_click_means_does_not_depend_on_others() -> None:
    outlines = [replace(true_disc(x, 60, 20.0), point=(float(x), 60.0)) for x in (70, 90)]
    both = draw_prompted(edges(), IMAGE, outlines)
    for outline, (mask, box) in zip(outlines, both, strict=True):
        ((alone, there),) = draw_prompted(edges(), IMAGE, [outline])
        assert box == there
        assert (mask == alone).all()


def test_boxes_and_clicks_stay_in_their_order() -> None:
    boxed = replace(true_disc(30, 30, 12.0), given=(18.0, 18.0, 42.0, 42.0), point=(25.0, 25.0))
    clicked = replace(true_disc(80, 60, 20.0), point=(80.0, 60.0))
    other = replace(true_disc(130, 90, 12.0), given=(118.0, 78.0, 142.0, 102.0))
    found = draw_prompted(Sure(math.pi * 10.0**2), IMAGE, [boxed, clicked, other])
    wanted = [boxed, disc(clicked, 0.5, (HEIGHT, WIDTH)), other]
    for place, outline in zip(found, wanted, strict=True):
        assert iou(painted(*place), painted(outline.mask, outline.box)) > 0.95


class Counting(Sure):
    """Notes what is drawn, and from how many sides."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.alone: list[tuple[Outline, int]] = []
        self.last: list[tuple[Outline, int, bool]] = []

    def draw_alone(
        self, image: np.ndarray, outlines: Sequence[Outline], *, sides: int = 1
    ) -> tuple[list[Placed], list[float]]:
        self.alone += [(one, sides) for one in outlines]
        return super().draw_alone(image, outlines)

    def draw(
        self,
        image: np.ndarray,
        outlines: Sequence[Outline],
        *,
        sides: int = 1,
        apart: bool = True,
    ) -> list[Placed]:
        self.last += [(one, sides, apart) for one in outlines]
        return super().draw(image, outlines, sides=sides, apart=apart)


def test_what_has_a_box_is_drawn_twice_at_last_from_all_sides() -> None:
    boxed = replace(true_disc(30, 30, 12.0), given=(18.0, 18.0, 42.0, 42.0))
    edges = Counting()
    draw_prompted(edges, IMAGE, [boxed])
    assert [(one.given, sides) for one, sides in edges.alone] == [(boxed.given, 1)]
    assert [(one.given, *rest) for one, *rest in edges.last] == [(boxed.given, 8, False)]


def test_a_click_is_drawn_twice_from_several_sides_and_stays() -> None:
    edges = Counting()
    clicked = replace(true_disc(80, 60, 20.0), point=(80.0, 60.0))
    draw_prompted(edges, IMAGE, [clicked])
    assert {seen for _, seen in edges.alone} == {CLICK_SIDES}
    assert len(edges.alone) == 2 * (1 + len(SIZES))
    assert edges.last == []


def test_nothing_gives_nothing() -> None:
    assert draw_prompted(edges(), IMAGE, []) == []
