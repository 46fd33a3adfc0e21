"""The detector on a drawn film with the packaged models: what is found and why."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from engines.clip_models import image_statistics
from engines.crops import CROP_STYLES
from engines.dense import dense_features
from engines.detector import DetectorSettings, Found, TextDetector
from engines.errors import ModelError
from engines.features import Features
from engines.images import to_input
from engines.registry import load_clip, load_tracker
from engines.texts import TextBank, text_bank
from engines.verification import VERIFY_MODES, CropSettings
from stream.synth import CellFilm, CellFilmSpec

SETTINGS = DetectorSettings(sweep_grid=16, one_piece=True)
TEXTS = ["cell", "a red car"]


class Bench:
    """The packaged models and one frame with eight cells."""

    def __init__(self) -> None:
        tracker = load_tracker("micro")
        self.sam = tracker.model
        self.clip = load_clip("micro").model
        film = CellFilm(CellFilmSpec(seed=3, objects=8))
        film.skip(20)
        drawn = film.frame()
        self.image: np.ndarray = drawn.image.astype(np.uint8, copy=False)
        self.ids: np.ndarray = drawn.ids
        self.features: Features = tracker.encode(self.image)

    def detector(self, settings: DetectorSettings = SETTINGS) -> TextDetector:
        return TextDetector(self.sam, self.clip, self.bank(), settings, rendered_prompts=True)

    def bank(self) -> TextBank:
        return text_bank(self.clip, "micro")

    def detect(self, settings: DetectorSettings = SETTINGS) -> list[Found]:
        return self.detector(settings).detect(self.image, self.features, TEXTS, ["dust"])


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def test_cells_are_found_where_they_are(bench: Bench) -> None:
    found = bench.detect()
    height, width = bench.ids.shape
    there = {
        int(bench.ids[min(int(y), height - 1), min(int(x), width - 1)])
        for x, y in (item.point for item in found)
    } - {0}
    assert len(there) >= 6
    assert {item.label for item in found} == {"cell"}
    assert [item.score for item in found] == sorted((i.score for i in found), reverse=True)


def test_the_heatmap_is_a_plain_softmax_of_each_text(bench: Bench) -> None:
    heat = bench.detector().heatmap(bench.image, TEXTS, ["cells", "debris"])
    bank, visual = bench.bank(), bench.clip.visual
    against = bank.embed([*bank.negatives, "cells"])  # "debris" is among them already
    with torch.inference_mode():
        planes = to_input(bench.image, (512, 512), *image_statistics(visual), torch.device("cpu"))
        dense = F.normalize(dense_features(visual, planes)[1][0], dim=-1)
        for row, text in enumerate(TEXTS):
            vectors = torch.cat([bank.embed([text]), against])
            logits = bench.clip.logit_scale.exp() * dense @ vectors.T
            expected = logits.softmax(-1)[..., 0].numpy()
            assert np.allclose(heat[row], expected, atol=1e-5)
    assert heat.shape == (2, 32, 32)


def test_a_result_says_what_its_score_was_made_of(bench: Bench) -> None:
    for item in bench.detect():
        why = item.evidence
        assert why is not None
        assert list(why.own) == list(why.p_pos) == TEXTS
        assert list(why.p_neg) == [*bench.bank().negatives, "dust"]
        assert why.p_pos_sum == pytest.approx(sum(why.p_pos.values()), abs=1e-5)
        assert why.p_pos_sum + why.p_neg_sum == pytest.approx(1.0, abs=1e-4)
        assert item.label == max(why.own, key=lambda text: why.own[text])
        # The score is the root of probability and quality, and quality is at most 1.
        assert item.score <= why.own[item.label] ** 0.5 + 1e-4
        assert why.multiplier in (pytest.approx(2.0), pytest.approx(1.0), pytest.approx(0.1))


def test_the_bank_holds_texts_that_can_change_meanwhile(bench: Bench) -> None:
    bank = bench.bank()
    detector = TextDetector(bench.sam, bench.clip, bank, SETTINGS, rendered_prompts=True)
    with pytest.raises(ModelError, match="no text is given"):
        detector.detect(bench.image, bench.features)
    bank.add("cell")
    by_bank = detector.detect(bench.image, bench.features)
    by_hand = detector.detect(bench.image, bench.features, ["cell"])
    assert [i.score for i in by_bank] == [i.score for i in by_hand]
    bank.edit("cell", "a red car")
    assert detector.heatmap(bench.image).max() < detector.heatmap(bench.image, ["cell"]).max()


@pytest.mark.parametrize("verify", VERIFY_MODES)
def test_every_way_to_verify_finds_cells_and_no_cars(bench: Bench, verify: Any) -> None:
    settings = replace(SETTINGS, verify=verify, min_score=0.0, crops=CropSettings(most=3))
    found = bench.detect(settings)
    assert len(found) >= 6
    assert all(item.evidence is not None for item in found)
    assert sum(item.label == "cell" for item in found) >= 0.8 * len(found)


@pytest.mark.parametrize("style", CROP_STYLES)
def test_crops_change_the_doubtful_only(bench: Bench, style: Any) -> None:
    every = replace(SETTINGS, min_score=0.0)
    before = {i.point: i.evidence for i in bench.detect(every)}
    probabilities = sorted(max(why.own.values()) for why in before.values() if why)
    band = (probabilities[1] - 1e-6, probabilities[2] + 1e-6)
    crops = CropSettings(style=style, band=band)
    after = {i.point: i.evidence for i in bench.detect(replace(every, verify="crop", crops=crops))}
    changed = sum(before[point] != after[point] for point in before)
    assert before.keys() == after.keys()
    assert changed == 2


def test_the_multiplier_scores_where_it_is_chosen(bench: Bench) -> None:
    every = replace(SETTINGS, min_score=0.0)
    plain = {i.point: i for i in bench.detect(every)}
    for item in bench.detect(replace(every, score="multiplier")):
        why, before = item.evidence, plain[item.point]
        assert why is not None
        own = why.own[item.label]
        factor = min(own * why.multiplier, 1.0) / own
        assert item.score == pytest.approx(before.score * factor**0.5, abs=2e-3)


def test_a_sigmoid_scores_with_a_bias_only(bench: Bench) -> None:
    with pytest.raises(ModelError, match="needs a logit_bias"):
        bench.detector(replace(SETTINGS, score="sigmoid"))
    found = bench.detect(replace(SETTINGS, score="sigmoid", logit_bias=-5.0, min_score=0.0))
    for item in found:
        assert item.evidence is not None
        assert item.score <= item.evidence.sigmoid[item.label] ** 0.5 + 1e-4


def test_the_dense_map_and_the_picture_statistics_can_be_chosen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = [
        bench.detector(replace(SETTINGS, dense=mode)).heatmap(bench.image, ["cell"])
        for mode in ("naclip", "clearclip", "maskclip")
    ]
    assert not np.allclose(maps[0], maps[1], atol=1e-3)
    assert not np.allclose(maps[0], maps[2], atol=1e-3)
    monkeypatch.setattr(bench.clip.visual, "image_mean", (0.1, 0.1, 0.1), raising=False)
    assert not np.allclose(maps[0], bench.detector().heatmap(bench.image, ["cell"]), atol=1e-3)


def test_what_cannot_be_is_said_at_once(bench: Bench) -> None:
    with pytest.raises(ModelError, match="dense 'best' is unknown; accepted are naclip"):
        replace(SETTINGS, dense="best")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="verify 'look' is unknown"):
        replace(SETTINGS, verify="look")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="score 'best' is unknown"):
        replace(SETTINGS, score="best")  # type: ignore[arg-type]
    config = open_clip.get_model_config("RN50")["vision_cfg"] | {"layers": [1, 1, 1, 1]}
    other = SimpleNamespace(visual=open_clip.model._build_vision_tower(64, config))
    with pytest.raises(ModelError, match="ModifiedResNet has no"):
        TextDetector(bench.sam, other, bench.bank(), SETTINGS)
