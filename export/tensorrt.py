"""Networks to TensorRT engines, through Torch-TensorRT 2.12's documented API. Untested on hardware.

An engine is built for a profile of shapes on the card at hand and serves that card. Tensors that
all objects share are exported as such: windows, where each object has its own, are not for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engines.backends.tensorrt_backend import MOST_OBJECTS, TensorRT
from engines.errors import ModelError
from engines.networks.base import OBJECTS, SHARED, Network, Port

_LOW = {"fp16": torch.float16, "bf16": torch.bfloat16}


def write_engine(
    network: Network, path: Path, precision: str, examples: list[dict[str, torch.Tensor]]
) -> None:
    """Build an engine and save it.

    Args:
        network: In eval mode.
        path: The file.
        precision: `fp32`, `fp16` or `bf16`.
        examples: Inputs as they come; their lengths are what the engine is tuned for.

    Raises:
        ModelError: TensorRT is not there.
    """
    if said := TensorRT().missing("cuda"):
        raise ModelError(f"an engine of TensorRT cannot be built here: {said}")
    import torch_tensorrt

    example = {name: tensor.cuda() for name, tensor in examples[-1].items()}
    profile = profiles(network, examples)
    limits: dict[str, Any] = {
        side: torch.export.Dim(side, min=low, max=high)
        for side, (low, _, high) in profile.items()
        if low < high
    }
    shapes = {
        port.name: {at: limits[side] for at, side in port.free.items() if side in limits}
        for port in network.signature.inputs
    }
    program = torch.export.export(
        network.cuda(), tuple(example.values()), dynamic_shapes=shapes, strict=False
    )
    low = _LOW.get(precision)
    engine = torch_tensorrt.dynamo.compile(
        program,
        arg_inputs=[_input(torch_tensorrt, port, profile) for port in network.signature.inputs],
        use_explicit_typing=True,
        enable_autocast=low is not None,
        autocast_low_precision_type=low,
        min_block_size=1,
        cache_built_engines=True,
        reuse_cached_engines=True,
        timing_cache_path=str(path.with_suffix(".timing")),
    )
    torch_tensorrt.save(engine, str(path), arg_inputs=list(example.values()))
    network.cpu()


def profiles(
    network: Network, examples: list[dict[str, torch.Tensor]]
) -> dict[str, tuple[int, int, int]]:
    """Return the shortest, the usual and the greatest length of each free axis.

    Args:
        network: Whose.
        examples: Inputs as they come, the usual ones last.
    """
    seen: dict[str, list[int]] = {}
    for example in examples:
        for side, length in network.signature.check(example).items():
            seen.setdefault(side, []).append(length)
    found = {side: (min(some), some[-1], max(some)) for side, some in seen.items()}
    if OBJECTS in found:
        found[OBJECTS] = (1, found[OBJECTS][1], MOST_OBJECTS)
    if SHARED in found:
        found[SHARED] = (1, 1, 1)
    return found


def _input(torch_tensorrt: Any, port: Port, profile: dict[str, tuple[int, int, int]]) -> Any:
    shapes = [
        [profile[side][which] if isinstance(side, str) else side for side in port.shape]
        for which in range(3)
    ]
    return torch_tensorrt.Input(
        min_shape=shapes[0], opt_shape=shapes[1], max_shape=shapes[2], dtype=port.torch_dtype
    )
