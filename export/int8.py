"""ONNX files in int8: products quantised to what calibration pictures need, the rest in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

#: Products only: norms, softmax and the ends of the graph stay float32.
_QUANTISED = ["Conv", "MatMul", "Gemm"]


class _Reader:
    """Hands calibration inputs to the quantiser, which asks for one after the other."""

    def __init__(self, examples: list[dict[str, torch.Tensor]]) -> None:
        self._rest = iter(examples)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next inputs as arrays, or None."""
        tensors = next(self._rest, None)
        if tensors is None:
            return None
        return {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}


def quantize(path: Path, examples: list[dict[str, torch.Tensor]]) -> None:
    """Quantise an ONNX file in place, statically, with one scale a channel of the weights.

    Args:
        path: The file.
        examples: Inputs as they come.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(path, prepared, skip_optimization=True, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        path,
        _Reader(examples),
        nodes_to_exclude=_without_weights(prepared),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_QUANTISED,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def _without_weights(path: Path) -> list[str]:
    """Return the names of products of two results, such as those of attention.

    Their ranges differ from head to head, and engines quantise them wrongly or not at all.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    # A transposed weight is one still.
    weights |= {
        node.output[0]
        for node in graph.node
        if node.op_type in ("Transpose", "Identity") and node.input[0] in weights
    }
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and not weights & set(node.input)
    ]
