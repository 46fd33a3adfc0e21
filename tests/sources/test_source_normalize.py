"""The levels' acceptance battery: drawn 16-bit films with known cells."""

from __future__ import annotations

import numpy as np
import pytest

from stream.config import Normalize
from stream.sources.normalize import Levels

SIDE = 160
DARK = 400.0
NOISE = 12.0


def cells(count: int, radius: float = 9.0, side: int = SIDE) -> list[np.ndarray]:
    """Masks of cells on a grid, none touching."""
    rows = int(np.ceil(np.sqrt(count)))
    ys, xs = np.mgrid[:side, :side]
    pitch = side / rows
    places = [((k // rows + 0.5) * pitch, (k % rows + 0.5) * pitch) for k in range(count)]
    return [(ys - y) ** 2 + (xs - x) ** 2 <= radius**2 for y, x in places]


def shoot(rng: np.random.Generator, masks: list[np.ndarray], bright: float) -> np.ndarray:
    """One camera frame: shot-like noise, cells of uneven brightness, hot pixels."""
    field = np.full((SIDE, SIDE), DARK)
    for k, mask in enumerate(masks):
        field[mask] = DARK + bright * (0.7 + 0.3 * ((k * 37) % 10) / 10)
    field += rng.normal(0, NOISE, field.shape) * np.sqrt(field / DARK)
    field[7, 11] = field[90, 140] = 65535
    return np.clip(field, 0, 65535).astype(np.uint16)


def count(display: np.ndarray, threshold: int = 100) -> int:
    """Blobs above a fixed gray value that are larger than noise."""
    labels = np.where(
        display[:, :, 0] > threshold, np.arange(1, display[:, :, 0].size + 1).reshape(SIDE, SIDE), 0
    )
    while True:
        grown = np.pad(labels, 1)
        best = np.max(
            [grown[1:-1, 1:-1], grown[:-2, 1:-1], grown[2:, 1:-1], grown[1:-1, :-2],
             grown[1:-1, 2:]], axis=0,
        )  # fmt: skip
        best[labels == 0] = 0
        if (best == labels).all():
            break
        labels = best
    _, sizes = np.unique(labels[labels > 0], return_counts=True)
    return int((sizes >= 40).sum())


def test_counts_stay_right_through_an_empty_field_and_bleaching() -> None:
    rng, levels = np.random.default_rng(1), Levels(Normalize())
    good, empty_sd = [], []
    for k in range(120):
        bright = 6000 * np.exp(-k / 200)
        masks = [] if 50 <= k < 70 else cells(12)
        done = levels.update(shoot(rng, masks, bright))
        good.append(abs(count(done.display) - len(masks)) <= 1)
        if not masks:
            empty_sd.append(done.display[:, :, 0].std())
        assert not done.relocked
    assert np.mean(good) >= 0.99
    # Two hot pixels alone make 2.3 of this.
    assert max(empty_sd) <= 5


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("total", [2, 16])
def test_a_film_that_starts_empty_relocks_once_cells_are_there(total: int, at_once: bool) -> None:
    rng, levels = np.random.default_rng(2), Levels(Normalize())
    relocked, last = [], None
    all_cells = cells(total)
    for k in range(140):
        arrived = 0 if k < 30 else total if at_once else min(total, (k - 30) // 5)
        masks = all_cells[:arrived]
        image = shoot(rng, masks, 8000)
        last = levels.update(image)
        if last.relocked:
            relocked.append(k)
        if masks and k > 60:
            assert abs(count(last.display) - arrived) <= 1
    assert last is not None
    assert relocked
    assert len(relocked) <= 3
    inside = np.any(all_cells, axis=0)
    assert (last.display[:, :, 0][inside] == 255).mean() <= 0.05
    assert last.display[:, :, 0][~inside].mean() < 20


def test_an_empty_field_is_not_stretched_into_noise() -> None:
    rng, levels = np.random.default_rng(3), Levels(Normalize())
    for _ in range(15):
        done = levels.update(shoot(rng, [], 0))
    assert done.hi - done.lo == pytest.approx(20 * NOISE, rel=0.15)
    assert done.display[2:80, 20:, 0].std() < 16


def test_locked_levels_do_not_move() -> None:
    rng, levels = np.random.default_rng(4), Levels(Normalize())
    seen = [levels.update(shoot(rng, cells(12), 5000)) for _ in range(40)]
    assert len({(done.lo, done.hi) for done in seen[9:]}) == 1


def test_a_short_flash_does_not_relock() -> None:
    rng, levels = np.random.default_rng(5), Levels(Normalize())
    for k in range(60):
        flash = 25 <= k < 34
        done = levels.update(shoot(rng, cells(9), 40000 if flash else 4000))
        assert not done.relocked


def test_relock_says_so_once_and_at_the_configured_frame() -> None:
    config = Normalize(lock_frames=3, relock_frames=4)
    rng, levels = np.random.default_rng(6), Levels(config)
    said = [
        levels.update(shoot(rng, cells(9), 2000 if k < 10 else 20000)).relocked for k in range(30)
    ]
    assert [k for k, flag in enumerate(said) if flag] == [13]


def test_display_is_the_linear_ramp_of_the_raw_counts() -> None:
    levels = Levels(Normalize(lock_frames=1, low_percentile=0, high_percentile=100))
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    done = levels.update(image)
    assert (done.lo, done.hi) == (image.min(), image[::1, ::1].max())
    wanted = np.floor((image - done.lo) * (255 / (done.hi - done.lo)) + 0.5)
    assert np.abs(done.display[:, :, 0] - wanted).max() <= 1
    assert (done.display[:, :, 0] == done.display[:, :, 2]).all()


@pytest.mark.parametrize("value", [0, 65535])
def test_flat_and_tiny_images_do_no_harm(value: int) -> None:
    levels = Levels(Normalize())
    done = levels.update(np.full((1, 1), value, np.uint16))
    assert done.display.shape == (1, 1, 3)
    assert done.hi > done.lo


def test_reset_locks_anew_without_a_relock() -> None:
    rng, levels = np.random.default_rng(7), Levels(Normalize(lock_frames=2))
    for _ in range(5):
        first = levels.update(shoot(rng, cells(9), 1000))
    levels.reset()
    again = levels.update(shoot(rng, cells(9), 30000))
    assert again.hi > 10 * first.hi
    assert not again.relocked


def test_a_relock_limit_below_the_percentile_tail_does_not_relock_for_ever() -> None:
    levels = Levels(Normalize(lock_frames=2, relock_frames=2, relock_fraction=0.0))
    rng = np.random.default_rng(8)
    assert not any(levels.update(shoot(rng, cells(9), 3000)).relocked for _ in range(30))
