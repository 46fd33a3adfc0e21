"""`maskcast export`: from a model to a run on what was exported, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream.cli import _status

SMALL = ["--image-size", "64", "--frames", "8", "--objects", "2", "--weights", "random:1"]


def test_an_export_is_found_by_the_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MASKCAST_ENGINES", str(tmp_path / "engines"))
    line = ["export", "micro", "--to", "openvino", "--precision", "fp32", "--only", "sam2", *SMALL]
    assert _status([*line, "--json", str(tmp_path / "e.json")]) == 0
    said = capsys.readouterr().out
    assert "mean IoU with torch 1.0000" in said
    assert "memory_attention" in said
    written = json.loads((tmp_path / "e.json").read_text())["sam2"]
    assert written["backend"] == "openvino"
    assert written["faults"] == []
    assert written["film"]["mean_iou"] > 0.999
    manifest = json.loads((Path(written["folder"]) / "manifest.json").read_text())
    assert manifest["command"] == (
        "maskcast export micro --to openvino --only sam2 --precision fp32 --image-size 64 "
        "--weights random:1"
    )

    from engines.registry import load_tracker

    tracker = load_tracker("micro", weights="random:1", image_size=64, backend="auto")
    assert tracker.engines.backend == "openvino"
    tracker.warm_up()
    other = load_tracker("micro", weights="random:2", image_size=64, backend="auto")
    assert other.engines.backend == "torch"


def test_clip_is_exported_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKCAST_ENGINES", str(tmp_path / "engines"))
    line = ["export", "micro", "--to", "onnx", "--only", "clip", "--clip-size", "64"]
    assert _status([*line, "--clip-weights", "random:1", "--frames", "8"]) == 0

    from engines.backends import Running
    from engines.registry import clip_engines, load_clip

    loaded = load_clip("micro", "random:1")
    found = clip_engines(loaded, 64, "naclip", "auto", Running())
    assert found.backend == "onnxruntime"
    assert clip_engines(loaded, 64, "maskclip", "auto", Running()).backend == "torch"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["micro", "--to", "onix"], "--to onix: accepted are onnx, openvino, tensorrt, torch"),
        (["micro", "--to", "onnx", "--precision", "fp8"], "--precision fp8: accepted are auto"),
        (["micro", "--to", "onnx", "--only", "text"], "--only text: accepted are sam2, clip"),
        (["sam2.1-tiny", "--to", "onnx", "--only", "clip"], "sam2.1-tiny is a model of sam2"),
        (["nothing-like-it", "--to", "onnx"], "nothing-like-it"),
        (["micro", "--to", "onnx", "--precision", "bf16", "--only", "sam2", *SMALL],
         "--precision bf16: onnx computes in fp32, int8 only"),
        (["micro", "--to", "tensorrt", "--only", "sam2", *SMALL],
         "--to tensorrt: it runs on an NVIDIA card, not on cpu"),
        (["micro", "--to", "onnx", "--device", "cuda:7"], "CUDA"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(["export", *line]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
