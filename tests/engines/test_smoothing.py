from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.objects import ObjectMask
from engines.smoothing import STILL_SHIFT_PX, Smoother

SIDE = 64


def disc(x: float, y: float = 32.0, radius: float = 9.0) -> np.ndarray:
    """Logits that fall by two each pixel outwards."""
    ys, xs = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(xs - x, ys - y)
    return np.clip(2.0 * (radius - away), -8.0, 8.0).astype(np.float32)


def found(logits: np.ndarray) -> ObjectMask:
    return ObjectMask(logits, 0.9, 5.0)


def centre_x(mask: np.ndarray) -> float:
    return float(np.argwhere(mask)[:, 1].mean())


def noisy(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [disc(32.3) + rng.normal(0, 1.5, (SIDE, SIDE)).astype(np.float32) for _ in range(count)]


def flips(masks: list[np.ndarray]) -> int:
    return sum(int((a != b).sum()) for a, b in itertools.pairwise(masks[5:]))


def test_borders_flicker_less_and_the_mask_stays_right() -> None:
    film = noisy(40)
    smoother = Smoother(0.7)
    shown = [smoother(1, found(logits)).mask for logits in film]
    raw = [logits > 0 for logits in film]
    assert flips(shown) < 0.35 * flips(raw)
    truth = disc(32.3) > 0
    wrong = [int((mask ^ truth).sum()) for mask in (shown[-1], raw[-1])]
    assert wrong[0] < wrong[1]


@pytest.mark.parametrize("speed_px", [0.6, 1.0, 2.5, 12.0])
def test_a_moving_object_is_not_delayed(speed_px: float) -> None:
    smoother = Smoother(0.8)
    smoother(1, found(disc(10.0)))
    for t in range(1, int(44 / speed_px)):
        logits = disc(10.0 + speed_px * t)
        np.testing.assert_array_equal(smoother(1, found(logits)).logits, logits)


@pytest.mark.parametrize("speed_px", [0.05, 0.2, 0.4])
def test_a_slow_object_is_delayed_by_a_fraction_of_a_pixel(speed_px: float) -> None:
    smoother, late = Smoother(0.8), []
    for t in range(60):
        logits = disc(20.0 + speed_px * t)
        late.append(centre_x(logits > 0) - centre_x(smoother(1, found(logits)).mask))
    # The centre of a mask of whole pixels is known to about a tenth of a pixel.
    assert max(late) <= 0.8 * STILL_SHIFT_PX + 0.1
    assert max(late) > 0.0


def test_objects_are_apart_whatever_their_order() -> None:
    films = {1: noisy(6, seed=1), 2: noisy(6, seed=2)}
    both, alone = Smoother(0.5), Smoother(0.5)
    for t in range(6):
        order = (1, 2) if t % 2 else (2, 1)
        out = {i: both(i, found(films[i][t])).logits for i in order}
        expected = alone(2, found(films[2][t])).logits
        np.testing.assert_array_equal(out[2], expected)
    assert not np.array_equal(out[2], films[2][5])


def test_absent_forgotten_and_resized_objects_begin_anew() -> None:
    film, absent = noisy(3), np.full((SIDE, SIDE), -1024.0, np.float32)
    smoother = Smoother(0.5)
    for logits in (film[0], absent, film[1]):
        np.testing.assert_array_equal(smoother(1, found(logits)).logits, logits)
    smoother.forget(1)
    smoother.forget(99)
    np.testing.assert_array_equal(smoother(1, found(film[2])).logits, film[2])
    smoother.reset()
    np.testing.assert_array_equal(smoother(1, found(film[0])).logits, film[0])
    half = film[1][::2, ::2]
    np.testing.assert_array_equal(smoother(1, found(half)).logits, half)


def test_pixels_pushed_out_of_a_mask_stay_out() -> None:
    smoother = Smoother(0.9)
    smoother(1, found(disc(32.0)))
    logits = disc(32.0)
    logits[32, 28:31] = -10.0  # what another object won
    out = smoother(1, found(logits)).logits
    np.testing.assert_array_equal(out[32, 28:31], [-10.0] * 3)


def test_the_result_beside_the_mask_is_kept_and_the_input_is_not_written_to() -> None:
    film = noisy(2)
    smoother = Smoother(0.5)
    smoother(1, found(film[0]))
    kept = film[1].copy()
    out = smoother(1, ObjectMask(film[1], 0.7, 2.0, np.ones(4, np.float32)))
    np.testing.assert_array_equal(film[1], kept)
    assert (out.iou, out.object_score, out.logits.dtype) == (0.7, 2.0, np.float32)
    np.testing.assert_array_equal(out.pointer, np.ones(4))
    blended = film[1] > -10
    expected = np.where(blended, (film[0] + film[1]) / 2, film[1])
    np.testing.assert_allclose(out.logits, expected, atol=1e-6)


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_a_weight_out_of_range_says_what_is_accepted(weight: float) -> None:
    with pytest.raises(ValueError, match=f"weight is {weight}; accepted is 0 up to"):
        Smoother(weight)
