"""Backends by name, and the fastest that is there."""

from __future__ import annotations

from engines.backends.face import Backend, BackendError
from engines.backends.onnxruntime_backend import OnnxRuntime
from engines.backends.openvino_backend import OpenVino
from engines.backends.tensorrt_backend import TensorRT
from engines.backends.torch_backend import Torch

AUTO = "auto"
BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (TensorRT(), OpenVino(), OnnxRuntime(), Torch())
}
NAMES = (AUTO, *BACKENDS)


def get(name: str) -> Backend:
    """Return a backend by its name.

    Raises:
        BackendError: There is none of this name.
    """
    if name not in BACKENDS:
        raise BackendError(f"backend {name!r} is unknown; accepted are {', '.join(NAMES)}")
    return BACKENDS[name]


def choose(device: str, among: tuple[str, ...] = tuple(BACKENDS)) -> tuple[Backend, str]:
    """Return the fastest backend that can run on a device, and why.

    Args:
        device: A torch device.
        among: Names to choose from; torch is always there.
    """
    passed: list[str] = []
    for backend in sorted(BACKENDS.values(), key=lambda one: one.fastest_first):
        if backend.name not in among:
            continue
        missing = backend.missing(device)
        if not missing:
            why = f"{backend.name} is the fastest that is here"
            return backend, f"{why} ({'; '.join(passed)})" if passed else why
        passed.append(f"{backend.name}: {missing}")
    return BACKENDS["torch"], "torch is always here"
