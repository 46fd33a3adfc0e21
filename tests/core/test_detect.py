"""The detector's core: what the configuration says reaches the engine, and what a job gets."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from engines.crops import CROP_STYLES
from engines.dense import MODES
from engines.detection import MOST_GRID, MOST_TILES, DetectorSettings
from engines.registry import load_tracker
from engines.scoring import SCORE_MODES
from engines.verification import VERIFY_MODES
from stream.config import DetectorConfig, TrackerConfig, check
from stream.contracts import DetectionJob, DetectionResult, Exemplar, Question
from stream.core.detect import DetectCore, detector_settings
from stream.errors import ConfigError, UsageError
from stream.synth import CellFilm, CellFilmSpec

DETECTOR = DetectorConfig(sweep_grid=8, image_size=256)


def settings(**detector: Any) -> DetectorSettings:
    config = check({"detector": detector})
    return detector_settings(config.tracker, config.detector, 512)


def test_the_defaults_are_the_engine_s() -> None:
    plain = detector_settings(TrackerConfig(model="sam2.1-tiny"), DetectorConfig(), 512)
    assert plain == DetectorSettings()
    micro = settings()
    assert (micro.sweep_grid, micro.one_piece) == (16, True)
    assert (micro.min_quality, micro.min_probability) == (0.3, 0.72)


CHANGES: dict[str, Any] = {
    "peak_threshold": 0.2, "max_prompts": 7, "sweep_grid": 5, "recall_every": 4, "recall_grid": 6,
    "tiles": 3, "min_quality": 0.1, "nms_iou": 0.3, "contained": 0.6, "min_score": 0.2,
    "min_area_px": 9, "dense": "clearclip", "score": "multiplier", "logit_bias": -9.5,
    "verify": "crop", "finder": False, "finder_threshold": 0.5, "min_probability": 0.3,
}  # fmt: skip
CROPS: dict[str, Any] = {"style": "soft", "band": (0.1, 0.9), "most": 3, "weight": 0.25}


@pytest.mark.parametrize("key", CHANGES)
def test_every_key_reaches_the_engine(key: str) -> None:
    found = settings(**{key: CHANGES[key]})
    assert found == replace(settings(), **{key: CHANGES[key]})


@pytest.mark.parametrize("key", CROPS)
def test_every_key_of_crops_reaches_the_engine(key: str) -> None:
    given = list(CROPS[key]) if key == "band" else CROPS[key]
    found = settings(**{f"crop_{key}": given})
    assert found.crops == replace(settings().crops, **{key: CROPS[key]})


def test_no_setting_of_the_engine_is_forgotten() -> None:
    elsewhere = {"clip_size_px", "one_piece", "calibration", "accept_best", "crops"}
    assert {field.name for field in fields(DetectorSettings)} == elsewhere | CHANGES.keys()


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("dense", "best", [f"'{mode}'" for mode in MODES]),
        ("score", "best", [f"'{mode}'" for mode in SCORE_MODES]),
        ("verify", "look", [f"'{mode}'" for mode in VERIFY_MODES]),
        ("crop_style", "blur", [f"'{style}'" for style in CROP_STYLES]),
        ("crop_band", [0.7, 0.3], ["[low, high] with low <= high"]),
        ("crop_weight", 1.5, ["less than or equal to 1"]),
        ("crop_most", -1, ["greater than or equal to 0"]),
        ("tiles", MOST_TILES + 1, [f"less than or equal to {MOST_TILES}"]),
        ("recall_grid", MOST_GRID + 1, [f"less than or equal to {MOST_GRID}"]),
        ("recall_every", -1, ["greater than or equal to 0"]),
        ("logit_bias", "low", ["valid number"]),
    ],
)
def test_a_wrong_value_names_its_key_and_what_is_accepted(
    key: str, value: Any, accepted: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**{key: value})
    text = str(caught.value)
    assert text.startswith(f"detector.{key}")
    assert "\n" not in text
    assert all(word in text for word in accepted), text
    assert caught.value.exit_status == 2


def test_all_that_the_engine_accepts_is_accepted() -> None:
    for key, values in (
        ("dense", MODES), ("score", SCORE_MODES), ("verify", VERIFY_MODES),
        ("crop_style", CROP_STYLES),
    ):  # fmt: skip
        for value in values:
            settings(**{key: value})


def test_tiles_do_not_go_with_tokens() -> None:
    assert settings(tiles=2, verify="crop").tiles == 2
    with pytest.raises(ConfigError, match=r"detector.tiles.*beside verify token\+crop it should"):
        settings(tiles=2, verify="token+crop")


def test_a_sigmoid_without_a_bias_is_said_before_the_first_frame() -> None:
    config = DetectorConfig(score="sigmoid")
    with pytest.raises(UsageError, match="'sigmoid' needs a logit_bias"):
        DetectCore(TrackerConfig(), config, Question(("cell",))).prepare()


# -- jobs ------------------------------------------------------------------------------------------


class Stage:
    """The core of the micro models and a frame with eight cells."""

    def __init__(self) -> None:
        film = CellFilm(CellFilmSpec(seed=3, objects=8))
        film.skip(20)
        drawn = film.frame()
        self.image: np.ndarray = drawn.image.astype(np.uint8, copy=False)
        self.ids: np.ndarray = drawn.ids
        self.features = load_tracker("micro").encode(self.image).to_arrays()
        threads = torch.get_num_threads()
        self.core = DetectCore(TrackerConfig(), DETECTOR, Question(("cell",)))
        self.core.prepare()
        torch.set_num_threads(threads)

    def ask(self, question: Question, **more: Any) -> DetectionResult:
        return self.core.detect(DetectionJob(7, 3, self.image, self.features, question, **more))

    def box(self) -> tuple[float, float, float, float]:
        rows, cols = np.nonzero(self.ids == np.unique(self.ids)[1])
        x0, y0, x1, y1 = cols.min(), rows.min(), cols.max() + 1, rows.max() + 1
        return float(x0), float(y0), float(x1), float(y1)


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


def test_a_job_gets_objects_the_image_and_the_time(stage: Stage) -> None:
    result = stage.ask(Question(("cell",)))
    assert (result.frame_index, result.revision) == (7, 3)
    assert len(result.detections) >= 6
    assert all(item.frame_index == 7 and item.label == "cell" for item in result.detections)
    assert result.embedding is not None
    assert result.embedding.shape == (128,)
    assert np.linalg.norm(result.embedding) == pytest.approx(1.0, abs=1e-5)
    assert result.scores is None
    assert result.refused == {}
    assert result.detect_ns > 0


def test_known_embeddings_are_scored_under_texts_then_exemplars(stage: Stage) -> None:
    found = stage.ask(Question(("cell",))).detections
    known = np.stack([item.embedding for item in found if item.embedding is not None])
    result = stage.ask(
        Question(("a red car", "cell"), (), ("like it",)),
        shown=(Exemplar("like it", stage.box()),),
        known=known,
    )
    assert result.refused == {}
    assert result.scores is not None
    assert result.scores.shape == (len(known), 3)
    assert result.scores.dtype == np.float32
    assert np.median(result.scores[:, 1]) > 0.5 > result.scores[:, 0].max()
    assert np.median(result.scores[:, 2]) > 0.5
    none = stage.ask(Question(("cell", "dog")), known=known[:0])
    assert none.scores is not None
    assert none.scores.shape == (0, 2)


def test_a_later_job_finds_by_what_an_earlier_one_showed(stage: Stage) -> None:
    shown = stage.ask(Question(("a red car",)), shown=(Exemplar("these", stage.box()),))
    assert shown.refused == {}
    result = stage.ask(Question((), (), ("these",)))
    assert len(result.detections) >= 6
    assert {item.label for item in result.detections} == {"these"}


def test_a_box_of_nothing_is_refused_and_the_texts_go_on(stage: Stage) -> None:
    result = stage.ask(
        Question(("cell",), (), ("nothing", "unheard of")),
        shown=(Exemplar("nothing", (5000.0, 5000.0, 5050.0, 5050.0)),),
    )
    assert "covers no pixel" in result.refused["nothing"]
    assert "was not shown" in result.refused["unheard of"]
    assert len(result.detections) >= 6


def test_a_question_about_nothing_finds_nothing(stage: Stage) -> None:
    result = stage.ask(Question(()))
    assert result.detections == ()
    assert result.embedding is not None
