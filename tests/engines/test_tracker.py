"""The streaming tracker against the official predictor, and its own promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engines.build import _sam2_config, build_sam2
from engines.memory import Limits
from engines.objects import Prompt
from engines.precision import choose_precision
from engines.tracker import Tracker

SIDE = 256
FRAMES = 10


def film(count: int = FRAMES) -> list[np.ndarray]:
    """A bright disc that moves over a gradient with fixed noise."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 40, (SIDE, SIDE, 3))
    ys, xs = np.mgrid[:SIDE, :SIDE]
    frames = []
    for t in range(count):
        disc = (xs - 80 - 6 * t) ** 2 + (ys - 120 - 2 * t) ** 2 < 30**2
        image = noise + (xs[..., None] // 4) + disc[..., None] * np.array([120, 60, 20])
        frames.append(image.clip(0, 255).astype(np.uint8))
    return frames


def official(seed: int, overrides: dict[str, Any] | None = None) -> Any:
    """The official predictor with random weights, as `build_sam2_video_predictor` makes it."""
    from hydra.utils import instantiate

    config = _sam2_config("sam2.1-tiny")
    from engines.build import _override_image_size

    _override_image_size(config, SIDE)
    config._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    torch.manual_seed(seed)
    return instantiate(config, _recursive_=True).eval()


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    """The official predictor and a plain model with the same weights, whose masks are not empty."""
    predictor = official(seed=0)
    with torch.no_grad():  # random object scores would switch most masks off
        predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(3.0)
        predictor.no_obj_ptr.normal_()
        predictor.maskmem_tpos_enc.normal_()
    model = build_sam2("sam2.1-tiny", SIDE)
    model.load_state_dict(predictor.state_dict())
    return predictor, model


@pytest.fixture
def clip_dir(tmp_path: Path) -> Path:
    for index, frame in enumerate(film()):
        Image.fromarray(frame).save(tmp_path / f"{index}.jpg", quality=100)
    return tmp_path


def decoded(folder: Path) -> list[np.ndarray]:
    return [np.array(Image.open(folder / f"{i}.jpg")) for i in range(FRAMES)]


def run_official(predictor: Any, folder: Path, prompt: str) -> list[torch.Tensor]:
    state = predictor.init_state(str(folder))
    if prompt == "mask":
        predictor.add_new_mask(state, 0, 1, square())
    elif prompt == "box":
        predictor.add_new_points_or_box(state, 0, 1, box=[50, 90, 110, 150])
    else:
        predictor.add_new_points_or_box(state, 0, 1, points=[[80, 120]], labels=[1])
    out = []
    for _ in predictor.propagate_in_video(state):
        pass
    per_object = state["output_dict_per_obj"][0]
    stored = per_object["cond_frame_outputs"] | per_object["non_cond_frame_outputs"]
    out = [stored[t]["pred_masks"][0, 0] for t in range(FRAMES)]
    return out


def square() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[90:150, 50:110] = True
    return mask


PROMPTS: dict[str, dict[str, Any]] = {
    "mask": {"mask": square()},
    "box": {"box": (50.0, 90.0, 110.0, 150.0)},
    "click": {"points": [(80.0, 120.0)], "labels": [1]},
}


@pytest.mark.parametrize("prompt", list(PROMPTS))
def test_equals_the_official_predictor(pair: tuple[Any, Any], clip_dir: Path, prompt: str) -> None:
    predictor, model = pair
    expected = run_official(predictor, clip_dir, prompt)
    tracker = Tracker(model)
    for index, image in enumerate(decoded(clip_dir)):
        features = tracker.encode(image)
        if index == 0:
            tracker.add_object(1, 0, features, **PROMPTS[prompt])
        ours = torch.from_numpy(tracker.step(index, features)[1].logits)
        assert 0.0 < (expected[index] > 0).float().mean() < 1.0, "the case must not be trivial"
        torch.testing.assert_close(ours, expected[index], atol=2e-3, rtol=1e-3)


def test_objects_do_not_disturb_each_other(pair: tuple[Any, Any]) -> None:
    _, model = pair
    alone, among = Tracker(model), Tracker(model)
    for index, image in enumerate(film()):
        features = alone.encode(image)
        among.encode(image)
        if index == 0:
            alone.add_object(7, 0, features, mask=square())
            among.add_object(7, 0, features, mask=square())
        if index in (0, 2, 5):
            among.add_object(20 + index, index, features, box=(100.0, 20.0, 180.0, 90.0))
        if index == 7:
            among.remove_object(20)
        a, b = alone.step(index, features)[7], among.step(index, features)[7]
        np.testing.assert_allclose(a.logits, b.logits, atol=1e-3)


def test_late_prompt_is_remembered_at_its_own_frame(pair: tuple[Any, Any]) -> None:
    _, model = pair
    tracker = Tracker(model)
    images = film()
    features = [tracker.encode(image) for image in images]
    for index in range(5):
        assert tracker.step(index, features[index]) == {}
    tracker.add_object(1, 2, features[2], mask=square())
    result = tracker.step(5, features[5])[1]
    memory = tracker._memories[1]
    assert list(memory.conditioning) == [2]
    assert memory.attended(6, 6)[1][0][0] == 4, "the pointer's distance counts from the true frame"
    assert np.isfinite(result.logits).all()


def test_memory_is_bounded(pair: tuple[Any, Any]) -> None:
    _, model = pair
    tracker = Tracker(model)
    features = tracker.encode(film(1)[0])
    for index in range(24):
        if index % 2 == 0:
            tracker.add_object(1, index, features, mask=square())
        tracker.step(index, features)
    memory = tracker._memories[1]
    assert sorted(memory.conditioning) == [0, 18, 20, 22], "the first and the newest are kept"
    assert len(memory.conditioning) == Limits().conditioning
    assert len(memory.spatial) <= 6
    assert len(memory.pointers) <= 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing is prompted"),
        ({"mask": square(), "box": (0.0, 0.0, 1.0, 1.0)}, "a mask excludes box and points"),
        ({"points": [(1.0, 1.0)]}, "1 points but 0 labels"),
        ({"points": [(1.0, 1.0)], "labels": [3]}, "labels are [3]; accepted are 1 (object)"),
    ],
)
def test_bad_prompts_say_what_is_accepted(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(
        ValueError, match=message.replace("[", r"\[").replace("(", r"\(").replace(")", r"\)")
    ):
        Prompt(**arguments)


def test_auto_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_bf16, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has_bf16: has)
        assert choose_precision("auto", "cpu") == expected
    assert choose_precision("fp16", "cpu") == "fp16"
    with pytest.raises(ValueError, match="accepted are auto, fp32, bf16, fp16"):
        choose_precision("int8", "cpu")


def test_objects_share_no_pixel_when_asked(pair: tuple[Any, Any]) -> None:
    _, model = pair
    shared = {}
    for non_overlap in (False, True):
        tracker = Tracker(model, non_overlap=non_overlap)
        features = tracker.encode(film(1)[0])
        tracker.add_object(1, 0, features, mask=square())
        tracker.add_object(2, 0, features, box=(50.0, 90.0, 110.0, 150.0))
        tracker.step(0, features)
        both = tracker.step(1, features)
        shared[non_overlap] = int((both[1].mask & both[2].mask).sum())
    assert shared[False] > 0, "the case must not be trivial"
    assert shared[True] == 0
