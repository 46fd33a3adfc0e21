"""Zoom: through which views a picture is looked at, and where what is found there lies."""

from __future__ import annotations

import numpy as np
import pytest

from stream.errors import UsageError
from stream.offline.looks import find_texts, parse_zoom, segment_hints
from stream.offline.prompts import Hint
from stream.offline.sight import Seen
from tests.offline.fakes_offline import BrightSight


def picture(*squares: tuple[int, int, int], size: tuple[int, int] = (100, 150)) -> np.ndarray:
    """Bright squares by x, y and side."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = 200
    return image


def look(sight: BrightSight, image: np.ndarray, zoom: int | None) -> list[tuple[int, ...]]:
    found = find_texts(sight, image, zoom, nms_iou=0.5, contained=0.8)
    assert [item.id for item in found] == list(range(1, len(found) + 1))
    return sorted(item.box for item in found)


@pytest.mark.parametrize(
    ("zoom", "views"),
    [
        (1, [(100, 150)]),
        (2, [(57, 86)] * 4),
        (None, [(100, 150), *[(100, 86)] * 2, *[(57, 60)] * 6]),
    ],
)
def test_tiles_find_the_same_objects_where_they_are(
    zoom: int | None, views: list[tuple[int, int]]
) -> None:
    """Also one that lies over all borders at once."""
    sight = BrightSight(input_px=64)
    squares = [(3, 4, 8), (60, 40, 24), (120, 70, 10)]
    boxes = [(x, y, x + side, y + side) for x, y, side in squares]
    assert look(sight, picture(*squares), zoom) == boxes
    assert len(sight.sizes) == len(views)
    assert all(abs(a - b) <= 1 for s, v in zip(sight.sizes, views, strict=True)
               for a, b in zip(s, v, strict=True))  # fmt: skip


def test_a_box_is_looked_at_in_a_view_of_its_own() -> None:
    sight = BrightSight(input_px=64)
    image = picture((60, 40, 8), (100, 70, 12))
    (found,) = segment_hints(sight, image, {5: Hint(box=(60, 40, 68, 48))}, None)
    assert sight.sizes == [(32, 32)]
    assert (found.id, found.box, found.area) == (5, (60, 40, 68, 48), 64)


def test_a_click_is_looked_at_again_around_what_it_gave() -> None:
    sight = BrightSight(input_px=64)
    (found,) = segment_hints(sight, picture((60, 40, 8)), {5: Hint(point=(63.5, 44.5))}, None)
    assert len(sight.sizes) == 2
    assert sight.sizes[1] == (64, 64)
    assert found.box == (60, 40, 68, 48)


def test_the_whole_picture_is_looked_at_once_for_all_prompts() -> None:
    sight = BrightSight()
    hints = {1: Hint(box=(60, 40, 68, 48)), 2: Hint(point=(105.0, 75.0))}
    found = segment_hints(sight, picture((60, 40, 8), (100, 70, 12)), hints, 1)
    assert sight.sizes == [(100, 150)]
    assert {item.id: item.box for item in found} == {1: (60, 40, 68, 48), 2: (100, 70, 112, 82)}


def test_a_prompt_takes_the_tile_in_whose_middle_it_lies() -> None:
    sight = BrightSight()
    (found,) = segment_hints(sight, picture((130, 80, 8)), {1: Hint(point=(133.0, 84.0))}, 2)
    assert len(sight.sizes) == 1
    assert found.box == (130, 80, 138, 88)


def test_a_prompt_that_gives_nothing_is_no_object() -> None:
    assert segment_hints(BrightSight(), picture(), {1: Hint(point=(9.0, 9.0))}, None) == []


def test_zoom_is_auto_or_a_number_of_tiles() -> None:
    assert parse_zoom("auto") is None
    assert parse_zoom("3") == 3
    for text in ("0", "17", "x", "1.5", "-1"):
        with pytest.raises(UsageError, match="accepted are auto, 1"):
            parse_zoom(text)


@pytest.mark.parametrize(("shift", "count"), [(8, 1), (9, 2)])
def test_what_two_views_see_with_other_edges_is_one_object(shift: int, count: int) -> None:
    """Of 20 px, in one view 8 px further to the right: an overlap of 0.6 of either."""

    class Shifting(BrightSight):
        def find(self, image: np.ndarray) -> list[Seen]:
            self.sizes.append(image.shape[:2])
            left = {1: 20, 2: 20 + shift}.get(len(self.sizes))
            if left is None:
                return []
            return [Seen("cell", 0.8, np.ones((20, 20), bool), (left, 20, left + 20, 40))]

    found = find_texts(Shifting(input_px=64), picture(), None, nms_iou=0.5, contained=0.8)
    assert len(found) == count
