"""torch itself: eager on a processor, CUDA graphs on a card, one for each shape that comes."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from engines.backends.face import BackendError, Running, Tensors
from engines.backends.objects import join, split
from engines.errors import gist
from engines.networks.base import Network
from engines.precision import PRECISIONS, with_weights_in

#: Graphs that are kept of one network; the one unused for longest goes.
MOST_GRAPHS = 24
MOST_OBJECTS = 16
#: Runs before a graph is captured, in which libraries choose their kernels.
WARM_UPS = 3


class Torch:
    """Runs the modules as they are, with the weights of a file."""

    name = "torch"
    suffix = ".safetensors"
    fastest_first = 3

    def missing(self, device: str) -> str:
        """Nothing is missing, if the device is there; see `face.Backend`."""
        kind = torch.device(device).type
        if kind == "cuda" and not torch.cuda.is_available():
            return "torch sees no CUDA device"
        return ""

    def load(self, path: Path, network: Network, precision: str, how: Running) -> TorchRunner:
        """Load a network; see `face.Backend`."""
        if said := self.missing(how.device):
            raise BackendError(f"backend torch: {said}")
        module = copy.deepcopy(network)
        try:
            module.load_state_dict(load_file(path), strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise BackendError(
                f"{path}: not the weights of this network ({gist(error)}); export it again"
            ) from error
        return TorchRunner(module, precision, how)


class TorchRunner:
    """One network in eager mode, or as CUDA graphs.

    Args:
        network: The module with its weights, float32.
        precision: `fp32`, `bf16` or `fp16`; below fp32 it runs under autocast.
        how: The device.

    Raises:
        BackendError: The precision is none of torch's.
    """

    def __init__(self, network: Network, precision: str, how: Running) -> None:
        if precision not in PRECISIONS:
            raise BackendError(
                f"backend torch: precision {precision!r} is not one of {', '.join(PRECISIONS)}"
            )
        self._signature = network.signature
        self._device = torch.device(how.device)
        dtype = PRECISIONS[precision]
        module: nn.Module = network.to(self._device).eval()
        self._module = module if dtype == torch.float32 else with_weights_in(module, dtype)
        self._dtype = dtype
        self._graphs: OrderedDict[tuple[tuple[int, ...], ...], _Graph] = OrderedDict()

    @torch.inference_mode()
    def __call__(self, tensors: Tensors) -> dict[str, torch.Tensor]:
        """Run once; see `face.Runner`."""
        run = self._captured if self._device.type == "cuda" else self._eager
        return join([run(some) for some in split(tensors, self._signature, MOST_OBJECTS)])

    def _eager(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with torch.autocast(
            self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
        ):
            found = self._module(*(tensors[port.name] for port in self._signature.inputs))
        found = found if isinstance(found, tuple) else (found,)
        pairs = zip(self._signature.outputs, found, strict=True)
        return {port.name: tensor.float() for port, tensor in pairs}

    def _captured(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        shapes = tuple(tuple(tensors[port.name].shape) for port in self._signature.inputs)
        graph = self._graphs.get(shapes)
        if graph is None:
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.popitem(last=False)
            graph = self._graphs[shapes] = _capture(self._eager, tensors)
        self._graphs.move_to_end(shapes)
        return graph(tensors)


@dataclass(slots=True)
class _Graph:
    """A captured run with the memory that it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for name, tensor in self.inputs.items():
            tensor.copy_(tensors[name], non_blocking=True)
        self.graph.replay()
        return {name: tensor.clone() for name, tensor in self.outputs.items()}


def _capture(
    run: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]],
    tensors: Mapping[str, torch.Tensor],
) -> _Graph:
    inputs = {name: tensor.clone() for name, tensor in tensors.items()}
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            run(inputs)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on using the card meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = run(inputs)
    return _Graph(graph, inputs, outputs)
