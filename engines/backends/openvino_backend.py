"""OpenVINO on a processor: a graph for each shape that comes, bf16 where the chip has it."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engines.backends.face import BackendError, Running, Tensors
from engines.backends.objects import join, split
from engines.networks.base import Network

#: Compiled shapes that are kept of one network; the one unused for longest goes.
MOST_SHAPES = 64
#: Objects computed at once; more gain nothing, since one fills the processor.
MOST_OBJECTS = 8
_ATTENTION = frozenset({"Softmax", "ScaledDotProductAttention"})
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}


@functools.cache
def shared_core() -> Any:
    """Return the process's one `openvino.Core`, which stays to the end.

    Where the processor's plugin is loaded, it gives the thread a signal stack of its own and takes
    it back with its Core; Cores that go in another order than they came leave a stack that is not
    there, and the next signal ends the process.
    """
    import openvino

    return openvino.Core()


class OpenVino:
    """Runs ONNX files and OpenVINO's own."""

    name = "openvino"
    suffix = ".xml"
    fastest_first = 1

    def missing(self, device: str) -> str:
        """Say what is missing; see `face.Backend`."""
        if torch.device(device).type != "cpu":
            return f"it runs on the processor, not on {device}"
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed (pip install 'maskcast[openvino]')"
        return ""

    def load(self, path: Path, network: Network, precision: str, how: Running) -> OpenVinoRunner:
        """Load a network; see `face.Backend`."""
        if said := self.missing(how.device):
            raise BackendError(f"backend openvino: {said}")
        if precision not in _HINTS:
            raise BackendError(
                f"backend openvino: precision {precision!r} is unknown; accepted are "
                f"{', '.join(_HINTS)}"
            )
        return OpenVinoRunner(path, network, precision, how)


@dataclass(frozen=True, slots=True)
class _Request:
    infer: Callable[..., Any]
    lock: threading.Lock


class OpenVinoRunner:
    """One network, compiled for each shape once.

    A graph for one shape is up to a third faster than one for any shape. Threads may share a
    runner; of one shape they take turns.
    """

    def __init__(self, path: Path, network: Network, precision: str, how: Running) -> None:
        import openvino

        self._openvino = openvino
        self._signature = network.signature
        self._path = path
        self._properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": how.thread_count,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads that spin after their work would take the cores from the next network.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._model = shared_core().read_model(path)
        except RuntimeError as error:
            raise BackendError(
                f"{path}: OpenVINO {openvino.__version__.partition('-')[0]} cannot read it "
                f"({_last_line(error)}); export it again"
            ) from error
        attends = any(node.get_type_name() in _ATTENTION for node in self._model.get_ops())
        if attends and precision != "fp32" and not network.fuses:
            # Fused attention of OpenVINO 2026.4 is wrong in bf16 for some lengths: windows of the
            # encoder by 69 %, tokens of the decoder by 4 %, where 1 % is usual.
            self._properties["SNIPPETS_MODE"] = "DISABLE"
        if how.cache is not None:
            # OpenVINO would take what was compiled in the other mode for the same.
            folder = how.cache / self._properties.get("SNIPPETS_MODE", "fused").lower()
            self._properties["CACHE_DIR"] = str(folder)
        self._compiled: OrderedDict[tuple[tuple[int, ...], ...], _Request] = OrderedDict()
        self._compiling = threading.Lock()

    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Run once; see `face.Runner`."""
        parts = [self._run(some) for some in split(tensors, self._signature, MOST_OBJECTS)]
        return join(parts)

    def _run(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        arrays = [tensors[port.name].contiguous().numpy() for port in self._signature.inputs]
        with self._compiling:
            request = self._request(tuple(array.shape for array in arrays))
        with request.lock:
            given = dict(enumerate(arrays))
            found = request.infer(given, share_inputs=True, share_outputs=True)
            # What is shared is overwritten by the next call.
            return {
                port.name: torch.from_numpy(found[place].copy())
                for place, port in enumerate(self._signature.outputs)
            }

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> _Request:
        if shapes in self._compiled:
            self._compiled.move_to_end(shapes)
            return self._compiled[shapes]
        model = self._model.clone()
        model.reshape({i: self._openvino.PartialShape(list(s)) for i, s in enumerate(shapes)})
        try:
            compiled = shared_core().compile_model(model, "CPU", self._properties)
        except RuntimeError as error:
            raise BackendError(
                f"{self._path}: OpenVINO cannot compile it for {shapes}: {_last_line(error)}"
            ) from error
        if len(self._compiled) >= MOST_SHAPES:
            self._compiled.popitem(last=False)
        self._compiled[shapes] = _Request(compiled.create_infer_request().infer, threading.Lock())
        return self._compiled[shapes]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
