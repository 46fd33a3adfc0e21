from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch

from engines.calibration import (
    CALIBRATION_FILE,
    PACKAGED,
    Calibration,
    calibration,
    calibration_path,
    read_calibration,
)
from engines.errors import ModelError
from engines.registry import load_clip

FITTED = Calibration(2.5, -1.25, "sam2.1-tiny", "ViT-B-32", 200, 120, 0.2, 0.04)


def said(sam2: str, clip: str, origin: str | None) -> tuple[tuple[float, float], list[str]]:
    with structlog.testing.capture_logs() as lines:
        found = calibration(sam2, clip, origin)
    return found, [line["event"] for line in lines]


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / CALIBRATION_FILE
    path.write_text("an older one")
    FITTED.write(path)
    assert read_calibration(path) == FITTED
    assert [p.name for p in tmp_path.iterdir()] == [CALIBRATION_FILE]


def test_the_file_beside_the_weights_is_taken(tmp_path: Path) -> None:
    weights = tmp_path / "open_clip_model.safetensors"
    FITTED.write(tmp_path / CALIBRATION_FILE)
    assert said("sam2.1-tiny", "ViT-B-32", str(weights)) == ((2.5, -1.25), [])


def test_without_a_file_scores_stay_and_it_is_said_once(tmp_path: Path) -> None:
    found, lines = said("sam2.1-tiny", "ViT-B-32", str(tmp_path / "weights.pt"))
    assert found == (1.0, 0.0)
    assert len(lines) == 1
    assert "uncalibrated" in lines[0]


def test_a_file_for_another_pair_is_not_taken(tmp_path: Path) -> None:
    FITTED.write(tmp_path / CALIBRATION_FILE)
    found, lines = said("sam2.1-large", "ViT-B-32", str(tmp_path / "weights.pt"))
    assert found == (1.0, 0.0)
    assert "is for sam2.1-tiny with ViT-B-32" in lines[0]


def test_random_weights_have_no_calibration_and_nothing_to_say() -> None:
    assert said("micro", "micro", "random:3") == ((1.0, 0.0), [])


def test_the_micro_pair_brings_its_own() -> None:
    packaged = read_calibration(PACKAGED)
    own = (packaged.slope, packaged.offset)
    assert own != (1.0, 0.0)
    assert said("micro", "micro", None) == (own, [])
    assert said("micro", "micro", load_clip("micro").origin) == (own, [])


def test_other_weights_of_micro_do_not_take_what_was_fitted_for_the_packaged(
    tmp_path: Path,
) -> None:
    found, lines = said("micro", "micro", str(tmp_path / "mine.safetensors"))
    assert found == (1.0, 0.0)
    assert lines
    assert calibration_path("micro", str(tmp_path / "x.pt")) == tmp_path / CALIBRATION_FILE


def test_a_missing_packaged_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.calibration.PACKAGED", tmp_path / "micro_calibration.json")
    with pytest.raises(ModelError, match="missing; reinstall"):
        calibration("micro", "micro")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"slope": None}, "slope is None, not a finite number"),
        ({"slope": "2"}, "slope is '2', not a finite number"),
        ({"slope": True}, "slope is True, not a finite number"),
        ({"offset": float("nan")}, "offset is nan, not a finite number"),
        ({"slope": -0.5}, "slope -0.5 is not above 0"),
        ({"clip": 7}, "clip is 7, not the name of a model"),
    ],
)
def test_a_damaged_field_is_named_in_one_line(
    change: dict[str, Any], word: str, tmp_path: Path
) -> None:
    path = tmp_path / CALIBRATION_FILE
    FITTED.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError) as caught:
        calibration("sam2.1-tiny", "ViT-B-32", str(tmp_path / "weights.pt"))
    assert word in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{\n\n", b"[1, 2]", b"\xff\xfe\x00", b"{}"])
def test_a_damaged_file_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / CALIBRATION_FILE
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_calibration(path)
    assert str(path) in str(caught.value)
    assert "fit it anew" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_packaged_slope_keeps_the_order_of_scores() -> None:
    from engines.detector import calibrate

    raw = torch.linspace(0.05, 0.95, 10)
    out = calibrate(raw, calibration("micro", "micro"))
    assert torch.equal(out.argsort(), raw.argsort())
