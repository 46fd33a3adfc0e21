"""The synthetic film keeps its promises about truth, motion, divisions and determinism."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest

from stream.synth import (
    LOOKS,
    MIN_VISIBLE_PX,
    MIN_VISIBLE_SHARE,
    CellFilm,
    CellFilmSpec,
    FilmFrame,
    draw_frames,
)

SMALL = CellFilmSpec(objects=8, width=240, height=180, diameter_px=30.0)


@pytest.fixture(scope="module")
def lively() -> tuple[CellFilm, list[FilmFrame], list[dict[int, float]]]:
    """One minute of a busy film: divisions, entries and leavings."""
    spec = dataclasses.replace(SMALL, fps=10.0, speed_px_s=25.0, divide_per_min=3.0, seed=5)
    film = CellFilm(spec)
    frames, areas = [], []
    for _ in range(600):
        frames.append(film.frame())
        areas.append(film.areas_px())
    return film, frames, areas


def centroids(frame: FilmFrame) -> dict[int, tuple[float, float, int]]:
    """Centroid x, y in px and visible px of each id in the frame."""
    rows, columns = np.nonzero(frame.ids)
    ids = frame.ids[rows, columns]
    count = np.bincount(ids)
    x, y = np.bincount(ids, columns), np.bincount(ids, rows)
    return {int(i): (x[i] / count[i], y[i] / count[i], int(count[i])) for i in np.unique(ids)}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("bits", [8, 16])
def test_same_spec_same_film(look: str, bits: int) -> None:
    spec = dataclasses.replace(SMALL, look=look, bits=bits)
    for one, two in zip(draw_frames(spec, 3), draw_frames(spec, 3), strict=True):
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.ids, two.ids)


def test_other_seed_other_film() -> None:
    one = draw_frames(SMALL, 1)[0]
    two = draw_frames(dataclasses.replace(SMALL, seed=1), 1)[0]
    assert not np.array_equal(one.ids, two.ids)
    assert not np.array_equal(one.image, two.image)


@pytest.mark.parametrize("look", LOOKS)
def test_frame_shapes_and_types(look: str) -> None:
    color = draw_frames(dataclasses.replace(SMALL, look=look), 2)[1]
    assert color.image.shape == (180, 240, 3)
    assert color.image.dtype == np.uint8
    assert color.ids.shape == (180, 240)
    assert color.ids.dtype == np.uint16
    assert color.index == 1
    assert color.time_s == pytest.approx(1.0 / 30.0)
    counts = draw_frames(dataclasses.replace(SMALL, look=look, bits=16), 1)[0]
    assert counts.image.shape == (180, 240)
    assert counts.image.dtype == np.uint16


@pytest.mark.parametrize("look", LOOKS)
def test_sixteen_bits_hold_camera_like_counts(look: str) -> None:
    image = draw_frames(dataclasses.replace(SMALL, look=look, bits=16), 1)[0].image
    assert np.percentile(image, 0.1) > 50
    assert 600 < np.percentile(image, 99.9) < 8000


@pytest.mark.parametrize("objects", [0, 1, 12, 60])
def test_starts_with_the_asked_number_of_cells(objects: int) -> None:
    film = CellFilm(CellFilmSpec(objects=objects, width=320, height=240))
    assert np.unique(film.frame().ids).size - 1 == objects


def test_frames_do_not_share_memory() -> None:
    one, two = draw_frames(SMALL, 2)
    assert not np.shares_memory(one.image, two.image)
    assert not np.shares_memory(one.ids, two.ids)


def test_motion_does_not_depend_on_fps() -> None:
    slow = draw_frames(dataclasses.replace(SMALL, fps=10.0), 31)[-1]
    fast = draw_frames(dataclasses.replace(SMALL, fps=40.0), 121)[-1]
    assert slow.time_s == fast.time_s == 3.0
    assert np.array_equal(slow.ids, fast.ids)


def test_motion_does_not_depend_on_looks() -> None:
    frames = [
        draw_frames(dataclasses.replace(SMALL, look=look, bits=bits, noise=noise, fps=5.0), 6)[-1]
        for look, bits, noise in (("fluo", 8, 1.0), ("fluo", 16, 1.0), ("fluo", 8, 0.0))
    ]
    assert np.array_equal(frames[0].ids, frames[1].ids)
    assert np.array_equal(frames[0].ids, frames[2].ids)


def test_cells_drift_about_as_fast_as_asked() -> None:
    spec = CellFilmSpec(objects=20, speed_px_s=30.0, fps=10.0, divide_per_min=0.0)
    tracks = [centroids(frame) for frame in draw_frames(spec, 60)]
    steps = [
        math.dist(after[i][:2], before[i][:2]) * spec.fps
        for before, after in itertools.pairwise(tracks)
        for i in before.keys() & after.keys()
    ]
    assert 18.0 < float(np.mean(steps)) < 42.0


def test_centroids_move_without_jumps(
    lively: tuple[CellFilm, list[FilmFrame], list[dict[int, float]]],
) -> None:
    _, frames, _ = lively
    worst = 0.0
    for before, after in itertools.pairwise(centroids(frame) for frame in frames):
        for i in before.keys() & after.keys():
            if min(before[i][2], after[i][2]) >= MIN_VISIBLE_PX:
                worst = max(worst, math.dist(before[i][:2], after[i][:2]))
    assert 0.0 < worst < 12.0  # px per 0.1 s


def test_ids_never_come_back(
    lively: tuple[CellFilm, list[FilmFrame], list[dict[int, float]]],
) -> None:
    _, frames, areas = lively
    sets = [set(area) for area in areas]
    gone: set[int] = set()
    for before, after in itertools.pairwise(sets):
        gone |= before - after
        assert not gone & after
    for frame, drawn in zip(frames, sets, strict=True):
        assert set(np.unique(frame.ids).tolist()) - {0} <= drawn
    assert len(gone) > 10


def test_masks_are_in_one_piece(
    lively: tuple[CellFilm, list[FilmFrame], list[dict[int, float]]],
) -> None:
    _, frames, areas = lively
    for frame, area in zip(frames[::60], areas[::60], strict=True):
        for i, (_, _, visible_px) in centroids(frame).items():
            if visible_px < 0.9 * area[i]:
                continue  # cut by the edge or by a neighbour
            mask = frame.ids == i
            grown = np.zeros_like(mask)
            row, column = np.argwhere(mask)[visible_px // 2]
            grown[row, column] = True
            for _ in range(200):
                wider = grown.copy()
                wider[1:] |= grown[:-1]
                wider[:-1] |= grown[1:]
                wider[:, 1:] |= grown[:, :-1]
                wider[:, :-1] |= grown[:, 1:]
                wider &= mask
                if np.array_equal(wider, grown):
                    break
                grown = wider
            assert grown.sum() >= 0.98 * visible_px


def test_cells_overlap_little() -> None:
    film = CellFilm(CellFilmSpec(objects=40, width=480, height=360, fps=1.0, enter_leave=False))
    shares = []
    for _ in range(20):
        frame = film.frame()
        count = np.bincount(frame.ids.ravel(), minlength=65536)
        shares += [count[i] / area for i, area in film.areas_px().items()]
    assert float(np.mean(shares)) > 0.95


def test_number_of_cells_stays_near_the_asked_one(
    lively: tuple[CellFilm, list[FilmFrame], list[dict[int, float]]],
) -> None:
    _, frames, _ = lively
    numbers = [np.unique(frame.ids).size - 1 for frame in frames]
    assert min(numbers) >= 3
    assert max(numbers) <= 16
    assert 6.0 <= float(np.mean(numbers)) <= 12.0


def test_divisions_record_both_daughters(
    lively: tuple[CellFilm, list[FilmFrame], list[dict[int, float]]],
) -> None:
    film, frames, _ = lively
    parents = film.parents()
    assert len(parents) >= 6
    present = [set(np.unique(frame.ids).tolist()) for frame in frames]
    for mother in set(parents.values()):
        daughters = [i for i, m in parents.items() if m == mother]
        assert len(daughters) == 2
        assert mother < min(daughters)
        last = max(k for k, ids in enumerate(present) if mother in ids)
        if last + 1 == len(frames):
            continue
        assert set(daughters) <= present[last + 1]
        before, after = centroids(frames[last])[mother], centroids(frames[last + 1])
        middle = np.mean([after[i][:2] for i in daughters], axis=0)
        assert math.dist(before[:2], middle) < 6.0
        assert sum(after[i][2] for i in daughters) == pytest.approx(before[2], rel=0.15)


def test_ever_equals_the_count_from_the_truth(
    lively: tuple[CellFilm, list[FilmFrame], list[dict[int, float]]],
) -> None:
    film, frames, areas = lively
    seen = set()
    for frame, area in zip(frames, areas, strict=True):
        count = np.bincount(frame.ids.ravel(), minlength=65536)
        for i, area_px in area.items():
            if count[i] >= MIN_VISIBLE_PX and count[i] >= MIN_VISIBLE_SHARE * area_px:
                seen.add(i)
    assert film.ever == len(seen) > 20


def test_nobody_leaves_a_closed_film() -> None:
    spec = dataclasses.replace(
        SMALL, enter_leave=False, divide_per_min=0.0, speed_px_s=60.0, fps=5.0
    )
    for frame in draw_frames(spec, 150):
        assert np.unique(frame.ids).tolist() == list(range(9))


@pytest.mark.parametrize(
    ("look", "brighter"), [("fluo", True), ("phase", False), ("bright", False)]
)
def test_clean_cells_stand_out_from_the_background(look: str, brighter: bool) -> None:
    spec = dataclasses.replace(SMALL, look=look, noise=0.0, objects=5, divide_per_min=0.0)
    frame = draw_frames(spec, 1)[0]
    gray = frame.image.astype(float).mean(axis=2)
    empty = float(np.median(gray[frame.ids == 0]))
    for i in range(1, 6):
        inside = float(gray[frame.ids == i].mean())
        assert (inside - empty if brighter else empty - inside) > 20.0


def test_the_mask_follows_the_visible_edge() -> None:
    spec = dataclasses.replace(SMALL, noise=0.0, objects=4, divide_per_min=0.0)
    frame = draw_frames(spec, 1)[0]
    gray = frame.image.astype(float).mean(axis=2)
    seen, truth = gray > 45.0, frame.ids > 0
    assert (seen & truth).sum() / (seen | truth).sum() > 0.88


def test_noise_scales_from_clean() -> None:
    def spread(noise: float) -> float:
        spec = dataclasses.replace(SMALL, objects=0, noise=noise, look="phase")
        one, two = draw_frames(spec, 2)
        return float((one.image.astype(float) - two.image).std())

    assert spread(0.0) < 1.0 < spread(1.0) < spread(3.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"objects": 501}, "objects=501 is not a whole number from 0 to 500"),
        ({"objects": True}, "objects=True is not a whole number from 0 to 500"),
        ({"width": 16}, "width=16 is not a whole number from 32 to 8192"),
        ({"height": 9000}, "height=9000 is not a whole number from 32 to 8192"),
        ({"fps": 0.0}, "fps=0.0 is not a number from 0.1 to 1000"),
        ({"fps": math.nan}, "fps=nan is not a number from 0.1 to 1000"),
        ({"seed": -1}, "seed=-1 is not a whole number from 0 to 4294967295"),
        ({"look": "xray"}, "look='xray' is not one of fluo, phase, bright, mixed"),
        ({"bits": 12}, "bits=12 is not one of 8, 16"),
        ({"diameter_px": 500.0}, "diameter_px=500.0 is not a number from 6 to 480"),
        ({"speed_px_s": -1.0}, "speed_px_s=-1.0 is not a number from 0 to 1000"),
        ({"divide_per_min": 11.0}, "divide_per_min=11.0 is not a number from 0 to 10"),
        ({"noise": -0.1}, "noise=-0.1 is not a number from 0 to 10"),
    ],
)
def test_bad_values_are_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        CellFilmSpec(**change)  # type: ignore[arg-type]
