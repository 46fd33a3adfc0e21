"""Graphs: clean enough for TensorRT, and a checker that says so only when they are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from engines.errors import ModelError
from engines.networks import Network, Port, Signature, clip_networks, sam2_networks
from engines.registry import load_clip, load_sam2
from export.graph import OPSET, faults, operators, write_onnx


@cache
def networks() -> dict[str, Network]:
    sam = load_sam2("micro", "random:1", 64).model
    return {
        **sam2_networks(sam),
        **clip_networks(load_clip("micro", "random:1").model, 64, "naclip"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "image_encoder", "shared_queries", "memory_attention", "mask_decoder", "memory_encoder",
        "image_tower", "crop_tower", "text_tower",
    ],
)  # fmt: skip
def test_every_network_is_a_clean_graph(name: str, tmp_path: Path) -> None:
    network = networks()[name]
    path = tmp_path / f"{name}.onnx"
    write_onnx(network, path)
    assert faults(path) == []
    model = onnx.load(str(path))
    assert model.opset_import[0].version == OPSET
    for port, value in zip(network.signature.inputs, model.graph.input, strict=True):
        sides = value.type.tensor_type.shape.dim
        free = [i for i, side in enumerate(sides) if side.HasField("dim_param")]
        assert free == list(port.free), f"{port.name}: its free axes are fixed, or others free"


def test_the_official_encoder_would_not_be_clean(tmp_path: Path) -> None:
    class Official(Network):
        name = "official"
        signature = Signature((Port("image", (1, 3, 64, 64)),), (Port("top", (1, 128, 4, 4)),))

        def __init__(self) -> None:
            super().__init__()
            self.model = load_sam2("micro", "random:1", 64).model

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            top: torch.Tensor = self.model.forward_image(image)["backbone_fpn"][2]
            return top

    write_onnx(Official().eval(), tmp_path / "o.onnx")
    found = faults(tmp_path / "o.onnx")
    assert len(found) == 1
    assert "If: control flow" in found[0]


def test_faults_are_found(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [1, None])
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y])
    graph.initializer.append(helper.make_tensor("c", TensorProto.COMPLEX64, [1], [1 + 2j]))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    onnx.save(model, str(tmp_path / "m.onnx"))
    assert operators(model) == {"NonZero": 1}
    assert faults(tmp_path / "m.onnx") == [
        "1 x NonZero: control flow, or a shape that depends on data",
        "complex numbers",
        "operators of com.example",
    ]


def test_what_onnx_does_not_know_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Strange(Network):
        name = "strange"
        signature = Signature((Port("x", (4, 4)),), (Port("y", (4, 4)),))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.matrix_exp(x)

    with pytest.raises(ModelError, match="strange cannot be written as ONNX") as error:
        write_onnx(Strange(), tmp_path / "s.onnx")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
