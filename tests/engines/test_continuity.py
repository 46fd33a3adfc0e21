from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from engines.continuity import Continuity, Event, NotFiniteError, OrderError, check_finite
from engines.errors import ModelError
from engines.registry import load_tracker
from engines.similarity import CutFinder, distance, signature
from stream.synth import CellFilm, CellFilmSpec

SIZE = (240, 320)


def kinds(events: list[Event | None]) -> list[str | None]:
    return [event.kind if event else None for event in events]


# -- order, gaps and sizes ---------------------------------------------------------------------


def test_frames_in_order_are_no_event_and_small_steps_neither() -> None:
    watch = Continuity(gap_frames=6)
    assert [watch.check(i, SIZE) for i in (0, 1, 2, 4, 10, 16)] == [None] * 6


def test_a_step_out_of_reach_of_recent_memories_is_a_gap() -> None:
    watch = Continuity(gap_frames=6)
    watch.check(3, SIZE)
    event = watch.check(10, SIZE)
    assert event == Event(
        "gap", 10, "frame 10 follows frame 3: recent memories are out of reach", False
    )
    assert watch.check(11, SIZE) is None


def test_a_repeated_frame_is_told_however_often_and_nothing_is_lost() -> None:
    watch = Continuity(gap_frames=6)
    assert kinds([watch.check(i, SIZE) for i in (5, 5, 5, 6)]) == [None, "repeat", "repeat", None]


def test_time_running_backwards_is_refused_and_leaves_no_trace() -> None:
    watch = Continuity(gap_frames=6)
    watch.check(7, SIZE)
    with pytest.raises(OrderError, match=r"frame 5 comes after frame 7.*reset\(\)") as caught:
        watch.check(5, (10, 10))
    assert isinstance(caught.value, ModelError)
    assert (caught.value.event.kind, caught.value.event.frame_index) == ("backwards", 5)
    assert watch.check(8, SIZE) is None, "the refused frame's size was not taken"
    watch.reset()
    assert watch.check(0, (10, 10)) is None


@pytest.mark.parametrize(
    ("size", "anew"),
    [
        ((480, 640), False),
        ((120, 160), False),
        ((238, 320), False),  # 0.8 % off
        ((236, 320), True),  # 1.7 % off
        ((320, 240), True),
        ((240, 240), True),
    ],
)
def test_a_change_of_size_starts_anew_only_where_proportions_change(
    size: tuple[int, int], anew: bool
) -> None:
    watch = Continuity(gap_frames=6)
    watch.check(0, SIZE)
    event = watch.check(1, size)
    assert event is not None
    assert (event.kind, event.starts_anew) == ("size", anew)
    assert f"320x240, now {size[1]}x{size[0]}" in event.detail
    assert watch.check(2, size) is None


def test_proportions_that_creep_start_anew_in_the_end() -> None:
    watch = Continuity(gap_frames=6)
    events = [watch.check(i, (1000, 1000 + 8 * i)) for i in range(5)]
    anew = [bool(event and event.starts_anew) for event in events]
    assert anew == [False, False, True, False, True], "counted from where the stream began"


def test_of_two_things_at_once_the_detail_names_both() -> None:
    watch = Continuity(gap_frames=6)
    watch.check(0, SIZE)
    event = watch.check(50, (480, 640))
    assert event is not None
    assert event.kind == "size"
    assert "640x480; frame 50 follows frame 0" in event.detail


def test_a_gap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="gap_frames is 0; at least 1"):
        Continuity(gap_frames=0)


# -- cuts, with the features of the model in the repository --------------------------------------


@pytest.fixture(scope="module")
def micro() -> Any:
    torch.set_num_threads(1)
    return load_tracker("micro")


def film(count: int, seed: int, look: str = "phase", fps: float = 15.0) -> list[np.ndarray]:
    drawn = CellFilm(CellFilmSpec(10, 320, 240, fps=fps, seed=seed, look=look))
    return [drawn.frame().image for _ in range(count)]


def texture(seed: int, width: int) -> np.ndarray:
    """A still scene of coloured blotches of all sizes, (240, width, 3)."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((240, width, 3))
    for grain in (8, 16, 32, 64):
        blotches = rng.normal(size=(240 // grain + 1, width // grain + 1, 3))
        scene += np.kron(blotches, np.ones((grain, grain, 1)))[:240, :width] * grain**0.5
    low, high = scene.min(), scene.max()
    return (30 + 200 * (scene - low) / (high - low)).astype(np.uint8)


def events_of(micro: Any, frames: list[np.ndarray]) -> list[tuple[int, str]]:
    watch = Continuity(gap_frames=6)
    events = [
        watch.check(i, image.shape[:2], signature(micro.encode(image).top))
        for i, image in enumerate(frames)
    ]
    return [(event.frame_index, event.kind) for event in events if event]


@pytest.mark.parametrize("look", ["phase", "bright"])
def test_another_film_of_the_same_look_is_a_cut(micro: Any, look: str) -> None:
    frames = film(8, 3, look) + film(6, 4, look)
    assert events_of(micro, frames) == [(8, "cut")]


def test_another_scene_is_a_cut_and_so_is_the_way_back(micro: Any) -> None:
    frames = film(8, 0) + [texture(2, 320)] * 3 + film(3, 0)
    assert events_of(micro, frames) == [(8, "cut"), (11, "cut")]


def test_flicker_is_no_cut(micro: Any) -> None:
    lights = np.random.default_rng(0).uniform(0.85, 1.15, 8)
    for frames in (film(8, 1), [texture(1, 320)] * 8):
        lit = [image * light for image, light in zip(frames, lights, strict=True)]
        assert events_of(micro, [np.clip(image, 0, 255).astype(np.uint8) for image in lit]) == []


@pytest.mark.parametrize("speed_px", [1, 3])
def test_a_slow_pan_that_sets_in_is_no_cut(micro: Any, speed_px: int) -> None:
    wide = texture(0, 400)
    starts = [0] * 12 + [speed_px * t for t in range(1, 10)]
    assert events_of(micro, [wide[:, x : x + 320] for x in starts]) == []


def test_an_object_that_enters_or_appears_is_no_cut(micro: Any) -> None:
    frames = film(20, 2)
    ys, xs = np.mgrid[:240, :320]
    for t in range(12, 20):
        frames[t][np.hypot(xs - 20 * (t - 12), ys - 120) < 45] = (220, 60, 50)
    assert events_of(micro, frames) == []
    appears = film(14, 2)
    for image in appears[12:]:
        image[60:160, 100:200] = 200
    assert events_of(micro, appears) == []


def test_a_time_lapse_settles_to_its_own_pace_and_a_cut_in_it_is_seen(micro: Any) -> None:
    frames = film(14, 20, fps=2.0) + film(3, 21, fps=2.0)
    assert events_of(micro, frames) == [(14, "cut")]


def test_after_a_gap_or_in_other_proportions_another_scene_is_no_surprise(micro: Any) -> None:
    looks = [signature(micro.encode(image).top) for image in (*film(3, 0), texture(2, 320))]
    watch = Continuity(gap_frames=6)
    for index in range(3):
        watch.check(index, SIZE, looks[index])
    event = watch.check(30, SIZE, looks[3])
    assert event is not None
    assert event.kind == "gap"
    assert "scene" not in event.detail
    assert watch.check(31, SIZE, looks[3]) is None, "compared with what came after the gap"
    event = watch.check(32, (320, 240), looks[0])
    assert event is not None
    assert event.kind == "size"
    assert "scene" not in event.detail
    assert watch.check(33, (320, 240), looks[1]) is None
    assert kinds([watch.check(34, (320, 240), looks[3])]) == ["cut"]


# -- distances by hand ---------------------------------------------------------------------------


def test_distance_is_the_median_over_cells_and_empty_cells_are_alike() -> None:
    one = np.array([[1, 0], [0, 2], [3, 0], [0, 0]], np.float32)
    other = np.array([[2, 0], [1, 0], [-1, 0], [5, 5]], np.float32)
    assert distance(one, other) == pytest.approx((0 + 1) / 2)  # 0, 1, 2 and 0 by cell
    assert distance(one[0], other[2]) == pytest.approx(2.0)


def test_a_signature_does_not_know_what_all_cells_share() -> None:
    top = torch.randn(1, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    light = torch.arange(5.0).view(1, 5, 1, 1)
    np.testing.assert_allclose(signature(top), signature(top + light), atol=1e-5)
    assert signature(top).shape == (64, 5)
    assert signature(top[..., :4, :4]).shape == (16, 5)


def test_what_is_usual_grows_with_the_stream_and_one_cut_hardly_changes_it() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(64, 8))

    def frames(step: float, count: int) -> list[np.ndarray]:
        return [
            (base + step * rng.normal(size=base.shape)).astype(np.float32) for _ in range(count)
        ]

    calm = CutFinder()
    assert not any(calm(frame) for frame in frames(0.1, 30))
    assert calm(-frames(0.1, 1)[0]) is not None
    assert calm(frames(0.1, 1)[0]) is not None, "the cut before did not make it blind"
    restless = CutFinder()
    for frame in frames(1.2, 30):
        restless(frame)
    assert not any(restless(frame) for frame in frames(1.2, 30))


# -- numbers that are none -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_named_and_counted(value: float) -> None:
    tensor = torch.zeros(2, 3)
    tensor[1, 1:] = value
    with pytest.raises(NotFiniteError, match=r"2 of 6 values of the logits are not finite") as said:
        check_finite("the logits", tensor)
    assert "fp32 or bf16" in str(said.value)
    assert isinstance(said.value, ModelError)


def test_inf_beside_minus_inf_is_found_and_large_numbers_pass() -> None:
    with pytest.raises(NotFiniteError):
        check_finite("x", torch.tensor([float("inf"), float("-inf")]))
    check_finite("x", torch.full((4,), 3e38))
    check_finite("x", torch.full((300_000,), 60_000.0, dtype=torch.float16))
    check_finite("x", torch.zeros(0))
