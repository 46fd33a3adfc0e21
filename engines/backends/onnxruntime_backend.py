"""ONNX Runtime: anywhere there is a processor; on NVIDIA cards by its CUDA or TensorRT provider."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engines.backends.face import BackendError, Running, Tensors
from engines.backends.objects import join, split
from engines.networks.base import Network, Signature

#: Objects computed at once.
MOST_OBJECTS = 16
_CUDA_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


class OnnxRuntime:
    """Runs ONNX files."""

    name = "onnxruntime"
    suffix = ".onnx"
    fastest_first = 2

    def missing(self, device: str) -> str:
        """Say what is missing; see `face.Backend`."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed (pip install 'maskcast[onnx]')"
        if torch.device(device).type == "cpu":
            return ""
        import onnxruntime

        if not set(_CUDA_PROVIDERS) & set(onnxruntime.get_available_providers()):
            return "this onnxruntime has no CUDA provider (pip install onnxruntime-gpu)"
        return ""

    def load(self, path: Path, network: Network, precision: str, how: Running) -> OnnxRuntimeRunner:
        """Load a network; see `face.Backend`."""
        if said := self.missing(how.device):
            raise BackendError(f"backend onnxruntime: {said}")
        return OnnxRuntimeRunner(path, network.signature, how)


class OnnxRuntimeRunner:
    """One network; its precision is that of the file."""

    def __init__(self, path: Path, signature: Signature, how: Running) -> None:
        import onnxruntime

        self._signature = signature
        self._device = torch.device(how.device)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = how.thread_count
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin after their work would take the cores from the next network.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=_providers(onnxruntime, self._device, how.cache)
            )
        except Exception as error:  # its errors have no common base
            raise BackendError(
                f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it "
                f"({str(error).strip().splitlines()[-1]}); export it again"
            ) from error
        self._names = [port.name for port in signature.outputs]

    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Run once; see `face.Runner`."""
        run = self._on_processor if self._device.type == "cpu" else self._on_card
        return join([run(some) for some in split(tensors, self._signature, MOST_OBJECTS)])

    def _on_processor(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}
        found = self._session.run(self._names, arrays)
        pairs = zip(self._names, found, strict=True)
        return {name: torch.from_numpy(array) for name, array in pairs}

    def _on_card(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Bind device memory to device memory; nothing passes through the host."""
        binding = self._session.io_binding()
        index = self._device.index or 0
        kept = []
        for port in self._signature.inputs:
            tensor = tensors[port.name].contiguous()
            kept.append(tensor)  # until the run is over
            shape = tuple(tensor.shape)
            binding.bind_input(port.name, "cuda", index, port.dtype, shape, tensor.data_ptr())
        for name in self._names:
            binding.bind_output(name, "cuda", index)
        torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        pairs = zip(self._names, binding.get_outputs(), strict=True)
        return {name: torch.utils.dlpack.from_dlpack(value) for name, value in pairs}


def _providers(onnxruntime: Any, device: torch.device, cache: Path | None) -> list[Any]:
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    there = onnxruntime.get_available_providers()
    chosen: list[Any] = []
    if _CUDA_PROVIDERS[0] in there:
        settings: dict[str, Any] = {
            "device_id": device.index or 0,
            "trt_engine_cache_enable": cache is not None,
        }
        if cache is not None:
            settings["trt_engine_cache_path"] = str(cache)
        chosen.append((_CUDA_PROVIDERS[0], settings))
    if _CUDA_PROVIDERS[1] in there:
        chosen.append((_CUDA_PROVIDERS[1], {"device_id": device.index or 0}))
    return chosen
