"""TensorRT through `torch_tensorrt`: engines built at export, loaded here. Untested on hardware.

The API is that of Torch-TensorRT 2.12 (docs.pytorch.org/TensorRT): `dynamo.compile` of an exported
program with a profile of shapes, `save` and `load` as exported programs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engines.backends.face import BackendError, Running, Tensors
from engines.backends.objects import join, split
from engines.networks.base import Network, Signature

#: Objects computed at once: the largest of an engine's profile.
MOST_OBJECTS = 16


class TensorRT:
    """Runs engines that `export` built on the same kind of card."""

    name = "tensorrt"
    suffix = ".ep"
    fastest_first = 0

    def missing(self, device: str) -> str:
        """Say what is missing; see `face.Backend`."""
        if torch.device(device).type != "cuda":
            return f"it runs on an NVIDIA card, not on {device}"
        if importlib.util.find_spec("torch_tensorrt") is None:
            return "torch_tensorrt is not installed (pip install 'maskcast[tensorrt]')"
        return "" if torch.cuda.is_available() else "torch sees no CUDA device"

    def load(self, path: Path, network: Network, precision: str, how: Running) -> TensorRTRunner:
        """Load an engine; see `face.Backend`."""
        if said := self.missing(how.device):
            raise BackendError(f"backend tensorrt: {said}")
        import torch_tensorrt

        try:
            module = torch_tensorrt.load(str(path)).module()
        except Exception as error:  # whatever TensorRT raises for an engine of another card
            raise BackendError(
                f"{path}: this engine cannot be loaded here ({str(error).splitlines()[0]}); an "
                "engine serves the card and the version that it was built with: export it again"
            ) from error
        return TensorRTRunner(module, network.signature)


class TensorRTRunner:
    """One engine.

    Args:
        module: What `torch_tensorrt.load(...).module()` gives.
        signature: Its tensors.
    """

    def __init__(self, module: Any, signature: Signature) -> None:
        self._module = module
        self._signature = signature

    @torch.inference_mode()
    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Run once; see `face.Runner`."""
        return join([self._run(some) for some in split(tensors, self._signature, MOST_OBJECTS)])

    def _run(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = self._module(*(tensors[port.name] for port in self._signature.inputs))
        found = found if isinstance(found, list | tuple) else (found,)
        pairs = zip(self._signature.outputs, found, strict=True)
        return {port.name: tensor.float() for port, tensor in pairs}
