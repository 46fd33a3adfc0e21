"""What `compare_sam2.py` needs for backends: engines of weights in memory, the machine's speed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from engines.backends import Running, get
from engines.engine_folder import Engines
from engines.networks import ImageEncoder, sam2_networks
from engines.registry import check_device
from export.formats import PRECISIONS_OF, write
from stream.errors import UsageError

BACKENDS = ("torch", "onnxruntime", "openvino")
MATRIX = 2048
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def check_backend(backend: str, precision: str) -> None:
    """Check that a backend is there and computes in a precision.

    Raises:
        UsageError: It is not, or does not.
    """
    if said := get(backend).missing("cpu"):
        raise UsageError(f"--backend {backend}: {said}")
    if backend != "torch" and precision not in PRECISIONS_OF[backend]:
        raise UsageError(
            f"--precision {precision}: {backend} computes in {', '.join(PRECISIONS_OF[backend])}"
        )


def check_card(device: str, backend: str, *, vos_optimized: bool, floor: bool) -> None:
    """Check that a device is there, and that what is asked for can be measured on it.

    Raises:
        ModelError: It is not there.
        UsageError: It cannot.
    """
    check_device(device)
    if device == "cpu":
        if vos_optimized:
            raise UsageError("--vos-optimized: the compiled predictor needs --device cuda")
        return
    if backend != "torch":
        raise UsageError(f"--backend {backend}: with --device {device} it is torch only")
    if floor:
        raise UsageError("--floor: it counts threads, which a card has none of; leave it out")


def engines_of(model: Any, backend: str, precision: str) -> Engines | None:
    """Export a model's networks into a folder that lasts as long as the program, and load them.

    Args:
        model: A `SAM2Base`.
        backend: One of `BACKENDS`; None comes back for torch, whose own way the tracker takes.
        precision: What all networks compute in.
    """
    if backend == "torch":
        return None
    folder = tempfile.TemporaryDirectory(prefix="maskcast-engines-")
    _KEPT.append(folder)
    chosen, runners = get(backend), {}
    for name, network in sam2_networks(model).items():
        path = Path(folder.name) / f"{name}{chosen.suffix}"
        write(backend, network, path, precision, [])
        runners[name] = chosen.load(path, network, precision, Running())
    return Engines(backend, runners, "", dict.fromkeys(runners, precision))


def count_encoder(model: Any) -> int:
    """Count the operations of a model's image encoder, a multiplication and an addition as two."""
    side = int(model.image_size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        ImageEncoder(model)(torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops())


def best_product(precision: str, repeats: int = 5) -> float:
    """Return the operations a second of the fastest of some matrix products, in torch.

    Args:
        precision: `fp32` or `bf16`.
        repeats: How often; the best counts.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(MATRIX, MATRIX).to(dtype)
    spent = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            a @ a
            spent.append(time.perf_counter() - start)
    return 2 * MATRIX**3 / min(spent[1:])


def encoder_times(
    model: Any, engines: Engines | None, precision: str, rounds: int = 7
) -> tuple[float, float, float]:
    """Time the image encoder in turn: the official one, ours and ours in a backend.

    Returns:
        Medians in seconds; the first two of torch eager in float32.
    """
    side = int(model.image_size)
    image = torch.randn(1, 3, side, side)
    network = ImageEncoder(model)
    run: Callable[[], Any]
    if engines is not None and engines.runners is not None:
        runner = engines.runners["image_encoder"]
        run = lambda: runner({"image": image})  # noqa: E731
    else:
        low = precision == "bf16"

        def run() -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                return network(image)

    official: list[float] = []
    eager: list[float] = []
    other: list[float] = []
    turns: tuple[tuple[list[float], Callable[[], Any]], ...] = (
        (official, lambda: model.forward_image(image)),
        (eager, lambda: network(image)),
        (other, run),
    )
    with torch.inference_mode():
        for number in range(rounds + 2):
            for spent, call in turns:
                start = time.perf_counter()
                call()
                if number > 1:
                    spent.append(time.perf_counter() - start)
    return median(official), median(eager), median(other)
