"""Parity: what is counted as an error, and that one is never kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.backends import Network
from engines.errors import ModelError
from engines.networks import sam2_networks
from engines.registry import load_sam2
from export.film import reference_runners
from export.parity import (
    FilmError,
    TensorError,
    compare_films,
    compare_tensors,
    film_faults,
    tensor_faults,
)
from export.run import Order, Parity, ParityError, export, to_refine

SIZES = {"B": 2, "R": 1, "n": 16, "K": 20, "P": 3, "s": 4, "s2": 8, "s4": 16}


def test_errors_of_tensors() -> None:
    def reference(tensors: Any) -> dict[str, torch.Tensor]:
        return {"y": tensors["x"]}

    def candidate(tensors: Any) -> dict[str, torch.Tensor]:
        return {"y": tensors["x"] + torch.tensor([3.0, 0.0, 0.0, -4.0])}

    error = compare_tensors(reference, candidate, [{"x": torch.tensor([0.0, 6.0, 8.0, 0.0])}])["y"]
    assert (error.max_abs, error.mean_abs, error.largest) == (4.0, 1.75, 8.0)
    assert error.relative == pytest.approx(0.5)  # 5 over 10
    assert tensor_faults({"net": {"y": error}}, {"net": "bf16"}) == [
        "net.y is 0.5 off in bf16, accepted is 0.15"
    ]


def test_what_is_not_finite_is_a_fault() -> None:
    error = compare_tensors(
        lambda _: {"y": torch.ones(2)}, lambda _: {"y": torch.tensor([1.0, float("nan")])}, [{}]
    )["y"]
    assert tensor_faults({"net": {"y": error}}, {"net": "fp32"})


def logits(*rows: str) -> np.ndarray:
    return np.array([[1.0 if c == "#" else -1.0 for c in row] for row in rows], np.float32)


def test_errors_of_films() -> None:
    truth = [{1: logits("##.."), 2: logits("....")}, {1: logits("##.."), 2: logits("#...")}]
    found = [{1: logits("##.."), 2: logits("....")}, {1: logits("#..."), 2: logits("....")}]
    error = compare_films(truth, found)
    assert error == FilmError(mean_iou=0.625, least_iou=0.0, last_iou=0.25, frames=2, objects=2)
    assert film_faults(error, {"a": "fp32", "b": "bf16"}) == [
        "masks of 2 frames have a mean IoU of 0.6250 with torch's, accepted is 0.98"
    ]
    assert film_faults(compare_films(truth, truth), {"a": "fp32"}) == []
    with pytest.raises(ValueError, match="differ in their frames or their objects"):
        compare_films(truth, found[:1])


class Fixture:
    """One small network, ready for export."""

    def __init__(self) -> None:
        self.loaded = load_sam2("micro", "random:2", 64)
        self.networks: dict[str, Network] = sam2_networks(self.loaded.model, ("memory_encoder",))
        self.recorded = reference_runners(self.networks)
        self.recorded["memory_encoder"](self.networks["memory_encoder"].example(SIZES))

    def run(self, order: Order, fault: str = "") -> Path:
        def judge(_: Any, parity: Parity) -> None:
            parity.faults += [fault] if fault else []

        return export(
            order, "sam2", self.loaded, 64, self.networks, self.recorded, judge, lambda _: None
        )[0]


def test_an_export_that_agrees_is_kept_with_its_report(tmp_path: Path) -> None:
    order = Order("onnx", "auto", "the command", tmp_path / "out")
    folder = Fixture().run(order)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["manifest.json", "memory_encoder.onnx", "parity.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_out_of_tolerance_leaves_what_was_there(tmp_path: Path) -> None:
    fixture, order = Fixture(), Order("onnx", "auto", "the command", tmp_path / "out")
    fixture.run(order)
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(ParityError, match="out of tolerance, nothing was written: too far"):
        fixture.run(Order("onnx", "auto", "another", tmp_path / "out"), fault="too far")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_network_that_is_wrong_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = Fixture()

    def spoil(backend: str, network: Network, *rest: Any) -> None:
        with torch.no_grad():
            list(network.parameters())[-1].add_(0.5)
        write(backend, network, *rest)

    from export import formats

    write = formats.write
    monkeypatch.setattr(formats, "write", spoil)
    with pytest.raises(ParityError, match=r"memory_encoder.memory is .* off in fp32"):
        fixture.run(Order("onnx", "auto", "the command", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_only_the_network_that_does_not_tolerate_a_precision_gets_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    loaded = load_sam2("micro", "random:2", 64)
    networks = sam2_networks(loaded.model, ("memory_encoder", "shared_queries"))
    recorded = reference_runners(networks)
    for name, net in networks.items():
        recorded[name](net.example(SIZES))
    seen = []

    def judge(_: Any, parity: Parity) -> None:
        seen.append(dict(parity.precisions))
        parity.tensors["memory_encoder"] = {"memory": TensorError(1.0, 0.1, 0.1, 1.0)}
        if parity.precisions["memory_encoder"] == "bf16":
            parity.faults.append("masks are gone")

    order = Order("openvino", "auto", "the command", tmp_path / "out")
    folder, parity = export(order, "sam2", loaded, 64, networks, recorded, judge, lambda _: None)
    assert seen == [
        {"memory_encoder": "bf16", "shared_queries": "bf16"},
        {"memory_encoder": "fp32", "shared_queries": "bf16"},
    ]
    assert parity.tried == ["memory_encoder in bf16: masks are gone"]
    assert parity.faults == []
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {name: net["precision"] for name, net in manifest["networks"].items()}
    assert kept == parity.precisions


def test_networks_that_are_wrong_by_themselves_are_refined_together() -> None:
    far, near = TensorError(1.0, 0.1, 0.5, 1.0), TensorError(1.0, 0.1, 0.01, 1.0)
    found = Parity(
        {"a": "bf16", "b": "bf16", "c": "bf16", "d": "fp32"},
        {"a": {"x": far}, "b": {"x": near, "y": far}, "c": {"x": near}, "d": {"x": near}},
    )
    assert to_refine(found) == []
    found.faults = ["a and b are off"]
    assert to_refine(found) == ["a", "b"]
    found.precisions |= {"a": "fp32", "b": "fp32"}
    assert to_refine(found) == ["c"]
    found.precisions["c"] = "fp32"
    assert to_refine(found) == [], "there is nothing finer"


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(ModelError, match="is there and is no export; give another --out"):
        Fixture().run(Order("onnx", "auto", "c", tmp_path / "letters"))
    assert (tmp_path / "letters" / "dear.txt").read_text() == "dear"


def test_a_precision_that_a_backend_does_not_know() -> None:
    with pytest.raises(ModelError, match="--precision fp16: openvino computes in fp32, bf16, int8"):
        Fixture().run(Order("openvino", "fp16", "c"))
