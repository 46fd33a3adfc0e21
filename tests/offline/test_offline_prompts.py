"""Prompts from the truth and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.errors import UsageError
from stream.offline.prompts import Prompter, box_of, deepest_point, read_boxes


def ring() -> np.ndarray:
    """A ring whose middle is a hole, thicker on its right side."""
    mask = np.zeros((20, 30), bool)
    mask[3:17, 4:22] = True
    mask[8:12, 8:12] = False
    return mask


def test_the_deepest_point_is_inside_and_far_from_all_that_is_not() -> None:
    x, y = deepest_point(ring())
    assert ring()[int(y), int(x)]
    assert 14 < x < 18
    assert 7 < y < 13


def test_the_border_of_the_frame_is_outside() -> None:
    mask = np.ones((9, 21), bool)
    assert deepest_point(mask)[1] == 4.5


def test_of_equally_deep_points_the_first_is_taken() -> None:
    assert deepest_point(np.ones((2, 7), bool)) == (0.5, 0.5)


def test_hints_say_one_thing_of_each_object() -> None:
    ids = np.zeros((20, 30), np.uint16)
    ids[ring()] = 300
    ids[0, 0] = 2
    masks = Prompter.parse("first-mask").hints(ids)
    assert set(masks) == {2, 300}
    assert (masks[300].mask == ring()).all()
    assert Prompter.parse("first-box").hints(ids)[300].box == (4.0, 3.0, 22.0, 17.0)
    assert Prompter.parse("first-click").hints(ids)[2].point == (0.5, 0.5)
    assert box_of(ring()) == (4.0, 3.0, 22.0, 17.0)


@pytest.mark.parametrize("text", ["first", "box", "boxes", "boxes:", "first-mask:x", ""])
def test_what_is_no_prompt_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError, match="accepted are first-mask, first-box, first-click"):
        Prompter.parse(text)


def test_a_box_belongs_to_the_object_that_it_fits(tmp_path: Path) -> None:
    """Two boxes near object 7: the better is its own, the other is nobody's."""
    file = tmp_path / "boxes.csv"
    file.write_text("image,x0,y0,x1,y1\na.png,5,3,22,17\na.png,4,3,22,17\nb.png,0,0,1,1\n")
    ids = np.zeros((20, 30), np.uint16)
    ids[ring()] = 7
    hints = Prompter.parse(f"boxes:{file}").hints(ids, "film/a", "a")
    assert hints[7].box == (4.0, 3.0, 22.0, 17.0)
    assert [i for i in hints if i < 0] == [-1]
    assert Prompter.parse(f"boxes:{file}").hints(ids, "c") == {}


def test_a_file_may_say_whose_a_box_is(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("image,x0,y0,x1,y1,id\nfilm/a,0,0,5,5,7\n")
    ids = np.zeros((20, 30), np.uint16)
    ids[10:15, 10:15] = 7
    assert Prompter.parse(f"boxes:{file}").hints(ids, "film/a")[7].box == (0.0, 0.0, 5.0, 5.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image,x0,y0\na,1,2\n", "has no column x1, y1"),
        ("image,x0,y0,x1,y1\na,1,2,x,4\n", "line 2: a box is four numbers"),
        ("image,x0,y0,x1,y1\na,1,2,1,4\n", "line 2: box 1,2,1,4 is not accepted"),
        ("image,x0,y0,x1,y1\na,nan,2,3,4\n", "line 2: box nan,2,3,4 is not accepted"),
    ],
)
def test_a_bad_file_of_boxes_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=why):
        read_boxes(file)


def test_boxes_of_pictures_that_are_not_there_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("image,x0,y0,x1,y1\na.png,0,0,5,5\nA1.png,0,0,5,5\n")
    prompter = Prompter.parse(f"boxes:{file}")
    prompter.require_known({"a", "film/a", "A1", "film/A1"})
    with pytest.raises(UsageError, match=r"no picture is called 'A1'; there are 'a', 'film/a'"):
        prompter.require_known({"a", "film/a"})
    prompter.require_known({"a"}, some=True)
    with pytest.raises(UsageError, match=r"no picture is called 'A1', 'a'; there are 'b'"):
        prompter.require_known({"b"}, some=True)


def test_a_missing_file_of_boxes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the boxes"):
        Prompter.parse(f"boxes:{tmp_path / 'none.csv'}")
