"""Tiles, views around objects, and what is put together from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.frame import crop_mask
from stream.offline.views import (
    Piece,
    Rect,
    around,
    auto_tiles,
    is_cut,
    merge,
    nearest,
    pyramid,
    tiles_of,
)

SIZE = (100, 200)


def piece(mask: np.ndarray, view: Rect, score: float = 0.9, label: str = "cell") -> Piece:
    """What a view shows of a mask of the whole image."""
    seen = np.zeros_like(mask)
    seen[view.slices] = mask[view.slices]
    inside, box = crop_mask(seen)
    return Piece(label, score, inside, box, view, is_cut(box, view, mask.shape))


def square(left: int, right: int, top: int = 40, bottom: int = 60) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def put_together(pieces: list[Piece], views: tuple[Rect, ...] = ()) -> list[Piece]:
    return merge(pieces, views, SIZE, nms_iou=0.5, contained=0.8)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 5), st.integers(1, 5))
def test_tiles_cover_all_and_lie_inside(height: int, width: int, rows: int, columns: int) -> None:
    seen = np.zeros((height, width), bool)
    for tile in tiles_of((height, width), rows, columns):
        assert 0 <= tile.x0 <= tile.x1 <= width
        assert 0 <= tile.y0 <= tile.y1 <= height
        seen[tile.slices] = True
    assert seen.all()


def test_tiles_share_a_quarter_with_the_next() -> None:
    one, two = tiles_of((100, 175), 1, 2)
    assert (one, two) == (Rect(0, 0, 100, 100), Rect(75, 0, 175, 100))


@pytest.mark.parametrize(
    ("size", "count"), [((256, 256), 1), ((257, 256), 2), ((520, 696), 9), ((100, 100), 1)]
)
def test_an_image_is_cut_when_it_is_larger_than_the_models_input(
    size: tuple[int, int], count: int
) -> None:
    assert len(auto_tiles(size, 256)) == count


def test_a_pyramid_goes_from_the_whole_to_the_smallest_tiles() -> None:
    assert pyramid((200, 256), 256) == [Rect(0, 0, 256, 200)]
    views = pyramid((520, 696), 256)
    assert views[0] == Rect(0, 0, 696, 520)
    assert len(views) == 1 + 2 * 2 + 3 * 3
    assert views[-9:] == auto_tiles((520, 696), 256)


def test_an_object_fills_a_quarter_of_its_view() -> None:
    assert around((480, 490, 520, 510), (1000, 1000), 256) == Rect(420, 420, 580, 580)


def test_a_view_at_the_border_is_moved_inside() -> None:
    assert around((0, 0, 40, 20), (1000, 1000), 256) == Rect(0, 0, 160, 160)
    assert around((960, 980, 1000, 1000), (1000, 1000), 256) == Rect(840, 840, 1000, 1000)


def test_a_large_object_is_looked_at_in_the_whole_image_and_a_speck_not_too_closely() -> None:
    assert around((10, 10, 90, 90), (100, 120), 256) == Rect(0, 0, 120, 100)
    assert around((500, 500, 502, 502), (1000, 1000), 256).size == (32, 32)


def test_the_nearest_tile_has_the_point_in_its_middle() -> None:
    tiles = tiles_of((100, 175), 1, 2)
    assert nearest(tiles, 85, 50) is tiles[0]
    assert nearest(tiles, 90, 50) is tiles[1]


def test_an_edge_of_the_image_cuts_nothing() -> None:
    left, right = Rect(0, 0, 100, 100), Rect(75, 0, 200, 100)
    assert not is_cut((0, 0, 50, 50), left, SIZE)
    assert is_cut((90, 10, 100, 50), left, SIZE)
    assert not is_cut((190, 10, 200, 50), right, SIZE)
    assert is_cut((75, 10, 80, 50), right, SIZE)


def test_an_object_cut_by_both_tiles_is_one() -> None:
    whole = square(30, 170)
    views = Rect(0, 0, 120, 100), Rect(80, 0, 200, 100)
    (found,) = put_together([piece(whole, view, 0.6 + i / 10) for i, view in enumerate(views)])
    assert (found.box, found.area, found.cut) == ((30, 40, 170, 60), 140 * 20, False)
    assert found.score == 0.7


def test_an_object_over_three_tiles_is_one() -> None:
    views = [Rect(0, 0, 80, 100), Rect(60, 0, 140, 100), Rect(120, 0, 200, 100)]
    (found,) = put_together([piece(square(10, 190), view) for view in views])
    assert found.box == (10, 40, 190, 60)


def test_neighbours_that_two_tiles_cut_stay_two() -> None:
    """In the strip that both tiles see, one lies above the other."""
    views = Rect(0, 0, 120, 100), Rect(80, 0, 200, 100)
    above, below = square(30, 125, 10, 40), square(75, 170, 60, 90)
    pieces = [piece(above, views[0]), piece(below, views[1])]
    assert all(item.cut for item in pieces)
    assert len(put_together(pieces, views)) == 2


def test_a_cut_piece_that_another_view_shows_whole_must_be_found_there() -> None:
    views = Rect(0, 0, 120, 100), Rect(80, 0, 200, 100)
    strip, long = square(112, 120), square(60, 120)
    assert put_together([piece(strip, views[0])], views) == []
    assert len(put_together([piece(long, views[0])], views)) == 1


def test_of_one_object_seen_whole_and_cut_the_whole_stays_though_less_sure() -> None:
    whole = square(70, 110)
    views = Rect(0, 0, 120, 100), Rect(80, 0, 200, 100)
    (found,) = put_together([piece(whole, views[0], 0.5), piece(whole, views[1], 0.9)])
    assert (found.box, found.score) == ((70, 40, 110, 60), 0.5)


def test_of_one_object_seen_twice_the_surest_stays() -> None:
    views = Rect(0, 0, 120, 100), Rect(80, 0, 200, 100)
    (found,) = put_together(
        [piece(square(90, 110), views[0], 0.5), piece(square(90, 109), views[1], 0.9)]
    )
    assert found.score == 0.9


def test_what_one_view_shows_is_left_to_itself() -> None:
    view = Rect(0, 0, 200, 100)
    found = put_together([piece(square(20, 60), view, 0.6), piece(square(20, 58), view, 0.8)])
    assert [item.score for item in found] == [0.8, 0.6]


def test_pieces_under_different_labels_are_not_joined() -> None:
    views = Rect(0, 0, 120, 100), Rect(80, 0, 200, 100)
    whole = square(30, 170)
    found = put_together(
        [piece(whole, views[0], label="cell"), piece(whole, views[1], label="rod")]
    )
    assert len(found) == 2
