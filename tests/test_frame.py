from __future__ import annotations

import numpy as np
import pytest

from stream.frame import Detection, Frame, Masks, TrackedObject, crop_mask


def tracked(obj_id: int = 1, box: tuple[int, int, int, int] = (2, 3, 5, 7)) -> TrackedObject:
    mask = np.ones((box[3] - box[1], box[2] - box[0]), dtype=bool)
    return TrackedObject(obj_id, "cell", 0.9, "confirmed", mask, box, int(mask.sum()))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4), np.float32),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_a_frame_refuses_what_is_not_an_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="accepted are"):
        Frame(0, image, 0.0, 0)


def test_rgb_of_gray_repeats_it_and_of_16_bit_needs_a_display() -> None:
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert (Frame(0, gray, 0.0, 0).rgb == gray[:, :, None]).all()
    deep = Frame(3, gray.astype(np.uint16), 0.0, 0)
    with pytest.raises(ValueError, match="frame 3 is uint16 and has no display image"):
        _ = deep.rgb
    shown = np.full((2, 3, 3), 7, np.uint8)
    assert Frame(3, gray.astype(np.uint16), 0.0, 0, display=shown).rgb is shown


def test_a_frame_prints_its_shape_and_not_its_pixels() -> None:
    text = repr(Frame(2, np.zeros((4, 5, 3), np.uint8), 0.5, 0, "demo"))
    assert text == "Frame(index=2, image=uint8(4, 5, 3), pts_s=0.500, source='demo')"


def test_an_object_checks_mask_against_box() -> None:
    with pytest.raises(ValueError, match=r"its box \(0, 0, 3, 3\) asks for bool \(3, 3\)"):
        TrackedObject(1, "cell", 1.0, "confirmed", np.ones((2, 3), bool), (0, 0, 3, 3), 6)


def test_full_puts_the_mask_where_its_box_is() -> None:
    full = tracked().full((10, 8))
    assert full[3:7, 2:5].all()
    assert full.sum() == 12


def test_masks_refuse_a_box_outside_and_an_id_twice() -> None:
    with pytest.raises(ValueError, match="leaves the frame"):
        Masks(0, (6, 8), 0.0, 0, (tracked(),))
    with pytest.raises(ValueError, match="an object id occurs twice"):
        Masks(0, (10, 8), 0.0, 0, (tracked(), tracked()))


def test_a_detection_checks_itself() -> None:
    mask = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match=r"score is 1.2; it must lie in \[0, 1\]"):
        Detection(0, "cell", 1.2, mask, (0, 0, 1, 1), (0, 0))
    with pytest.raises(ValueError, match="label is empty"):
        Detection(0, " ", 1.0, mask, (0, 0, 1, 1), (0, 0))


def test_crop_mask_is_tight_and_full_is_its_way_back() -> None:
    mask = np.zeros((9, 11), bool)
    mask[2:4, 5] = mask[6, 7] = True
    part, box = crop_mask(mask)
    assert box == (5, 2, 8, 7)
    again = TrackedObject(1, "a", 1.0, "confirmed", part, box, 3).full((9, 11))
    assert (again == mask).all()
    assert crop_mask(np.zeros((3, 3), bool))[1] == (0, 0, 0, 0)
