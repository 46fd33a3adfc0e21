"""Networks to the files of each backend."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from engines.backends.openvino_backend import shared_core
from engines.errors import ModelError
from engines.networks.base import Network
from engines.precision import PRECISIONS, with_weights_in
from export.graph import faults, write_onnx
from export.int8 import quantize
from export.tensorrt import write_engine

Writer = Callable[[Network, Path, str, list[dict[str, torch.Tensor]]], None]


class ExportError(ModelError):
    """A network cannot be exported as asked."""


def write(
    backend: str,
    network: Network,
    path: Path,
    precision: str,
    examples: list[dict[str, torch.Tensor]],
) -> None:
    """Write one network for a backend.

    Args:
        backend: `onnxruntime`, `openvino`, `tensorrt` or `torch`.
        network: On the processor, in eval mode.
        path: The file, with the backend's suffix.
        precision: What it shall compute in.
        examples: Inputs as they come, for int8 and for TensorRT's profiles.

    Raises:
        ExportError: The backend does not know the precision, or the graph is no clean one.
    """
    accepted = PRECISIONS_OF[backend]
    if precision not in accepted:
        raise ExportError(
            f"precision {precision!r} is not computed by {backend}; accepted are "
            f"{', '.join(accepted)}"
        )
    _WRITERS[backend](network, path, precision, examples)


def _onnx(
    network: Network, path: Path, precision: str, examples: list[dict[str, torch.Tensor]]
) -> None:
    write_onnx(network, path)
    if found := faults(path):
        raise ExportError(f"the graph of {network.name} is not clean: {'; '.join(found)}")
    if precision == "int8":
        quantize(path, examples)


def _openvino(
    network: Network, path: Path, precision: str, examples: list[dict[str, torch.Tensor]]
) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / f"{network.name}.onnx"
        _onnx(network, onnx, precision, examples)
        # Weights stay float32: what is computed in is the engine's choice at load.
        openvino.save_model(shared_core().read_model(onnx), path, compress_to_fp16=False)


def _torch(
    network: Network, path: Path, precision: str, examples: list[dict[str, torch.Tensor]]
) -> None:
    module: Any = network
    if precision != "fp32":
        module = with_weights_in(network, PRECISIONS[precision])
    state = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
    save_file({name: tensor.clone() for name, tensor in state.items()}, path)


_WRITERS: dict[str, Writer] = {
    "onnxruntime": _onnx,
    "openvino": _openvino,
    "tensorrt": write_engine,
    "torch": _torch,
}
PRECISIONS_OF: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "tensorrt": ("fp32", "fp16", "bf16"),
    "torch": ("fp32", "bf16", "fp16"),
}
#: `--to onnx` is what ONNX Runtime runs.
BACKEND_OF = {"onnx": "onnxruntime", "onnxruntime": "onnxruntime"} | {
    name: name for name in ("openvino", "tensorrt", "torch")
}
