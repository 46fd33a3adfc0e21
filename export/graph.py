"""Networks to ONNX graphs that any engine can take, and the check that they are such graphs."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engines.errors import ModelError
from engines.networks.base import OBJECTS, SHARED, Network

#: Old enough for TensorRT 8.6 and new enough for a layer norm of its own.
OPSET = 17
#: Operators that stand for control flow or for shapes that depend on data.
FORBIDDEN = frozenset(
    {
        "If",
        "Loop",
        "Scan",
        "NonZero",
        "Unique",
        "Compress",
        "NonMaxSuppression",
        "RandomNormal",
        "RandomUniform",
        "SequenceAt",
        "SequenceConstruct",
        "SplitToSequence",
        "STFT",
        "DFT",
    }
)
_COMPLEX = frozenset({14, 15})  # TensorProto.COMPLEX64 and COMPLEX128
#: Lengths of free axes for tracing; they differ, so that none is taken for another one.
TRACED = {OBJECTS: 2, SHARED: 2, "n": 12, "K": 23, "P": 5, "s": 4, "s2": 8, "s4": 16}


def write_onnx(network: Network, path: Path) -> None:
    """Trace a network and write it as ONNX, with its free axes free.

    Args:
        network: On the processor, in eval mode.
        path: The file; large weights may come to lie beside it.

    Raises:
        ModelError: The network has a part that ONNX does not know.
    """
    example = network.example(TRACED)
    ports = (*network.signature.inputs, *network.signature.outputs)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of shapes that become constants; which of them may is tested.
        warnings.simplefilter("ignore")
        try:
            # The tracer prints whole graphs when it fails.
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(
                    network,
                    tuple(example.values()),
                    str(path),
                    input_names=[port.name for port in network.signature.inputs],
                    output_names=[port.name for port in network.signature.outputs],
                    dynamic_axes={port.name: port.free for port in ports if port.free},
                    opset_version=OPSET,
                    do_constant_folding=True,
                    # The other exporter takes an axis of length 1 or B for two graphs.
                    dynamo=False,
                )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ModelError(
                f"{network.name} cannot be written as ONNX: {str(error).splitlines()[0]}"
            ) from error


def faults(path: Path) -> list[str]:
    """Say what in an ONNX file TensorRT and its like would refuse; empty where nothing is.

    Args:
        path: An ONNX file.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    found = []
    for operator, count in sorted(operators(model).items()):
        if operator in FORBIDDEN:
            found.append(f"{count} x {operator}: control flow, or a shape that depends on data")
    kinds = [tensor.data_type for tensor in model.graph.initializer]
    kinds += [value.type.tensor_type.elem_type for value in model.graph.value_info]
    if _COMPLEX & set(kinds):
        found.append("complex numbers")
    foreign = {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}
    if foreign:
        found.append(f"operators of {', '.join(sorted(foreign))}")
    return found


def operators(model: Any) -> Mapping[str, int]:
    """Count the operators of an ONNX model, those of subgraphs included."""
    counts: Counter[str] = Counter()

    def walk(graph: Any) -> None:
        for node in graph.node:
            counts[node.op_type] += 1
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    walk(attribute.g)

    walk(model.graph)
    return counts
