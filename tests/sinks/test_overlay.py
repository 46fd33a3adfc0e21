import numpy as np
import pytest

from stream.frame import Masks, TrackedObject, crop_mask
from stream.sinks.overlay import draw_overlay
from stream.sinks.palette import colour_of


def square(
    box: tuple[int, int, int, int], size: tuple[int, int], state: str = "confirmed", id_: int = 3
) -> Masks:
    x0, y0, x1, y1 = box
    full = np.zeros(size, dtype=np.bool_)
    full[y0:y1, x0:x1] = True
    mask, tight = crop_mask(full)
    item = TrackedObject(id_, "cell", 0.9, state, mask, tight, int(mask.sum()))  # type: ignore[arg-type]
    return Masks(0, size, 0.0, 0, (item,))


GRAY = np.full((100, 120, 3), 100, dtype=np.uint8)


def test_outline_tint_rim_and_outside():
    out = draw_overlay(GRAY, square((40, 50, 70, 80), (100, 120)))
    colour = np.array(colour_of(3), dtype=np.uint8)
    assert (out[79, 40:70] == colour).all()  # the lowest row of the object is its outline
    assert (out[78, 41:69] == colour).all()  # which is two pixels wide
    assert (out[65, 55] == 100 - 25 + colour // 4).all()  # inside: a quarter of the colour
    assert (out[80, 45:65] == 50).all()  # the rim outside is dark
    assert (out[85:, :] == 100).all()
    assert (out[:, 80:] == 100).all()


def test_the_id_stands_above_the_object_and_the_input_is_not_touched():
    before = GRAY.copy()
    out = draw_overlay(GRAY, square((40, 50, 70, 80), (100, 120)))
    tag = out[32:49, 45:65]
    assert (tag == np.array(colour_of(3))).all(axis=2).any()
    assert (tag.max(axis=2) < 40).any()  # dark digits
    np.testing.assert_array_equal(GRAY, before)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 120, 100), (0, 0, 10, 10), (110, 90, 120, 100), (0, 40, 1, 41), (119, 99, 120, 100)],
    ids=["everything", "top left", "bottom right", "one pixel", "last pixel"],
)
def test_objects_at_the_border_keep_their_outline(box):
    out = draw_overlay(GRAY, square(box, (100, 120)))
    assert out.shape == GRAY.shape
    colour = np.array(colour_of(3), dtype=np.uint8)
    assert (out[box[3] - 1, box[2] - 1] == colour).all()


@pytest.mark.parametrize("state", ["tentative", "hidden", "lost"])
def test_only_confirmed_objects_unless_asked(state):
    masks = square((40, 50, 70, 80), (100, 120), state)
    np.testing.assert_array_equal(draw_overlay(GRAY, masks), GRAY)
    asked = draw_overlay(GRAY, masks, hidden=True)
    assert (asked[79, 40:70] == np.array(colour_of(3))).all()
    assert (asked[65, 55] == 100).all()  # outlined, not tinted


def test_an_object_without_pixels_is_not_drawn():
    empty = TrackedObject(1, "cell", 0.5, "confirmed", np.zeros((0, 0), np.bool_), (0, 0, 0, 0), 0)
    masks = Masks(0, (100, 120), 0.0, 0, (empty,))
    np.testing.assert_array_equal(draw_overlay(GRAY, masks), GRAY)


def test_a_frame_smaller_than_the_tag():
    tiny = np.zeros((6, 6, 3), dtype=np.uint8)
    assert draw_overlay(tiny, square((1, 1, 5, 5), (6, 6))).any()


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"rgb is uint8 \(100, 120, 3\); uint8 \(50, 60, 3\)"):
        draw_overlay(GRAY, Masks(0, (50, 60), 0.0, 0))
