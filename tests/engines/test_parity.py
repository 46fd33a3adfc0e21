"""The tracker against the official predictor: same prompts, same frames, same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sam2.sam2_video_predictor as official_module
import torch

from engines.objects import Prompt
from engines.settings import Limits
from engines.tracker import Tracker
from tests.support.official import Result
from tests.support.parity import (
    ATOL,
    CLEARLY,
    COUNT,
    COVERED,
    Both,
    Pair,
    at,
    box,
    changed,
    click,
    mask,
    one_thread,
    sensitive_pair,
    tiny,
)

pytestmark = pytest.mark.timeout(300)
SIDE = 256
LAST = COUNT - 1
BESIDE = (0.75 * SIDE, 0.25 * SIDE)
"""A point that is never on the disc."""


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def pair(one_core: None) -> Pair:
    return tiny()


@pytest.fixture
def both(pair: Pair) -> Iterator[Both]:
    """Both sides; a case must have seen the object, and seen it vanish."""
    case = Both(pair, Tracker(pair.model))
    yield case
    assert case.visible >= 3, "the case must have masks that are neither empty nor full"
    assert case.hidden, "the object must be absent for a while"


def clicks(index: int, *labels: int) -> Prompt:
    """One click on the disc or beside it for each label."""
    x, y = at(SIDE, index)
    points = [(x + 3 * i, y - 2 * i) if on else BESIDE for i, on in enumerate(labels)]
    return Prompt(points=points, labels=labels)


# -- prompts in the first frame --------------------------------------------------------------


@pytest.mark.parametrize("make", [click, box, mask])
def test_one_prompt(both: Both, make: Any) -> None:
    both.prompt(0, make(SIDE))
    both.track(0, LAST)
    there = {index for index in range(COUNT) if both.official.result(index).object_score > 0}
    assert there == set(range(COUNT)) - COVERED, "the object must vanish and return"


def test_clicks_on_and_beside_the_object(both: Both) -> None:
    both.prompt(0, clicks(0, 1, 0, 1))
    both.track(0, 10)


def test_box_with_clicks(both: Both) -> None:
    both.prompt(0, Prompt(box=box(SIDE).box, points=clicks(0, 1, 0).points, labels=(1, 0)))
    both.track(0, 10)


@pytest.mark.parametrize("clear", [False, True])
def test_refinement_in_one_frame(both: Both, clear: bool) -> None:
    both.prompt(0, click(SIDE))
    both.prompt(0, clicks(0, 0), clear_old_points=clear)
    both.prompt(0, clicks(0, 1, 1), clear_old_points=clear)
    both.track(0, 10)


def test_mask_refined_by_a_click(both: Both) -> None:
    both.prompt(0, mask(SIDE))
    both.prompt(0, clicks(0, 1))
    both.track(0, 9)


def test_clicks_replaced_by_a_mask(both: Both) -> None:
    both.prompt(0, clicks(0, 1, 0))
    both.prompt(0, mask(SIDE))
    both.track(0, 9)


# -- prompts in later frames -----------------------------------------------------------------


@pytest.mark.parametrize("labels", [(1,), (0,), (1, 0)])
def test_click_in_a_tracked_frame(both: Both, labels: tuple[int, ...]) -> None:
    both.prompt(0, click(SIDE))
    both.track(0, 5)
    both.prompt(5, clicks(5, *labels))
    both.track(6, LAST)


@pytest.mark.parametrize("clear", [False, True])
def test_several_clicks_in_a_tracked_frame(both: Both, clear: bool) -> None:
    both.prompt(0, mask(SIDE))
    both.track(0, 5)
    both.prompt(5, clicks(5, 0))
    both.prompt(5, clicks(5, 1), clear_old_points=clear)
    both.track(6, 10)


@pytest.mark.parametrize("make", [box, mask])
def test_another_prompt_in_a_tracked_frame(both: Both, make: Any) -> None:
    both.prompt(0, click(SIDE))
    both.track(0, 6)
    both.prompt(6, make(SIDE, 6))
    both.track(7, LAST)


def test_click_where_the_object_was_taken_for_absent(both: Both) -> None:
    both.prompt(0, click(SIDE))
    both.track(0, 8)
    both.prompt(8, clicks(8, 1))
    both.track(9, LAST)


@pytest.mark.parametrize("make", [click, mask])
def test_second_prompt_in_a_frame_not_tracked_yet(both: Both, make: Any) -> None:
    both.prompt(0, click(SIDE))
    both.track(0, 5)
    both.prompt(6, make(SIDE, 6))
    both.track(6, LAST)


def test_six_corrected_frames_are_all_kept(pair: Pair) -> None:
    both = Both(pair, Tracker(pair.model, limits=Limits(conditioning=None)))
    both.prompt(0, click(SIDE))
    both.track(0, 1)
    frames = (1, 3, 5, 9, 11, 12)
    for index, following in zip(frames, (*frames[1:], LAST), strict=True):
        both.prompt(index, clicks(index, 1) if index % 2 else mask(SIDE, index))
        both.track(index + 1, following)
    assert both.hidden


def test_corrections_that_are_no_conditioning_frames(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair.predictor, "add_all_frames_to_correct_as_cond", False)
    both = Both(pair, Tracker(pair.model, correct_as_conditioning=False))
    both.prompt(0, click(SIDE))
    both.track(0, 5)
    both.prompt(5, clicks(5, 0))
    both.prompt(5, clicks(5, 1))
    both.track(6, 9)
    both.prompt(9, mask(SIDE, 9))
    both.track(10, LAST)


@pytest.mark.parametrize("stride", [2, 3])
def test_memory_of_every_second_frame(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    monkeypatch.setattr(pair.predictor, "memory_temporal_stride_for_eval", stride)
    both = Both(pair, Tracker(pair.model, limits=Limits(stride=stride)))
    both.prompt(0, click(SIDE))
    both.track(0, LAST)


# -- other sizes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_size", "count"), [(512, 4), pytest.param(1024, 3, marks=pytest.mark.slow)]
)
def test_larger_images(pair: Pair, image_size: int, count: int) -> None:
    larger = pair.moved(image_size, count)
    both = Both(larger, Tracker(larger.model))
    both.prompt(0, click(image_size))
    both.track(0, count - 1)
    assert both.visible == count + 1


@pytest.mark.parametrize(
    "name",
    [
        "sam2.1-small",
        "sam2.1-base-plus",
        pytest.param("sam2.1-large", marks=pytest.mark.slow),
    ],
)
def test_larger_models(name: str) -> None:
    pair = sensitive_pair(name, SIDE, 5, covered=(3,))
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, 4)
    assert both.visible == 5
    assert both.hidden == 1


# -- the cases above can fail ------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(pair: Pair) -> list[Result]:
    """What the official predictor gives for a click, a box in a tracked frame, and what follows."""
    both = Both(pair, Tracker(pair.model))
    both.prompt(0, click(SIDE))
    both.track(0, 3)
    both.prompt(3, box(SIDE, 3))
    both.track(4, LAST)
    return [both.official.result(index) for index in range(COUNT)]


def worst(pair: Pair, expected: list[Result], **options: Any) -> float:
    """Track as `expected` was and return the largest difference of a logit."""
    tracker = Tracker(pair.model, **options)
    off = 0.0
    for index in range(COUNT):
        ours = tracker.step(index, pair.features[index]) if index else {}
        if index in (0, 3):
            prompt = box(SIDE, 3) if index else click(SIDE)
            ours = tracker.add_objects(index, pair.features[index], {1: prompt})
        off = max(
            off, (torch.as_tensor(ours[1].logits) - expected[index].logits).abs().max().item()
        )
        if index == 0:
            tracker.step(0, pair.features[0])
    return off


def one_off_in_time(pair: Pair) -> torch.Tensor:
    """`obj_ptr_tpos_proj.weight` that takes each distance for one frame more (a turn of sines)."""
    weight = pair.model.obj_ptr_tpos_proj.weight.detach()
    half = weight.shape[1] // 2
    slow = 10000.0 ** (2 * (torch.arange(half) // 2) / half)
    angle = 1 / (pair.model.max_obj_ptrs_in_encoder - 1) / slow
    sine, cosine = weight[:, :half], weight[:, half:]
    turned = sine * angle.cos() - cosine * angle.sin(), sine * angle.sin() + cosine * angle.cos()
    return torch.cat(turned, 1)


PARAMETERS = {
    "a row of the temporal code": ("maskmem_tpos_enc", lambda pair, old: old.roll(1, 0)),
    "pointer distances": ("obj_ptr_tpos_proj.weight", lambda pair, old: one_off_in_time(pair)),
    "pointer of an absent object": ("no_obj_ptr", lambda pair, old: 0.5 * old),
    "memory of an absent object": ("no_obj_embed_spatial", lambda pair, old: 0.9 * old),
    "frame without memory": ("no_mem_embed", lambda pair, old: 0.9 * old),
    "prompt of a box": ("sam_prompt_encoder.point_embeddings.2.weight", lambda p, old: 0.9 * old),
    "start from the last mask": (
        "sam_prompt_encoder.mask_downscaling.6.bias", lambda pair, old: old + 0.1
    ),
}  # fmt: skip


def test_the_probe_itself_is_equal(pair: Pair, expected: list[Result]) -> None:
    assert worst(pair, expected) < 3 * ATOL


@pytest.mark.parametrize("what", PARAMETERS)
def test_sees_a_wrong_parameter(pair: Pair, expected: list[Result], what: str) -> None:
    name, change = PARAMETERS[what]
    with changed(pair.model, name, change(pair, pair.model.get_parameter(name).detach())):
        assert worst(pair, expected) > CLEARLY


@pytest.mark.parametrize("limits", [Limits(recent_frames=5), Limits(recent_pointers=14)])
def test_sees_a_dropped_memory(pair: Pair, expected: list[Result], limits: Limits) -> None:
    assert worst(pair, expected, limits=limits) > CLEARLY


def test_sees_a_dropped_correction(pair: Pair, expected: list[Result]) -> None:
    assert worst(pair, expected, correct_as_conditioning=False) > CLEARLY


def test_sees_prompted_masks_left_soft(
    pair: Pair, expected: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair.model, "binarize_mask_from_pts_for_mem_enc", False)
    assert worst(pair, expected) > CLEARLY


def test_sees_an_unstable_mask_kept(
    pair: Pair, expected: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair.model.sam_mask_decoder, "dynamic_multimask_via_stability", False)
    assert worst(pair, expected) > CLEARLY


def test_sees_memories_that_are_not_rounded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def off() -> float:
        both = Both(pair, Tracker(pair.model))
        both.prompt(0, click(SIDE))
        theirs = both.official.propagate(0, 6)
        ours = [both.tracker.step(index, pair.features[index])[1] for index in range(7)]
        pairs = zip(ours, theirs, strict=True)
        return max((torch.as_tensor(a.logits) - b.logits).abs().mean().item() for a, b in pairs)

    rounded = off()
    exact = SimpleNamespace(**vars(torch) | {"bfloat16": torch.float32})
    monkeypatch.setattr(official_module, "torch", exact)
    assert off() > 10 * rounded
