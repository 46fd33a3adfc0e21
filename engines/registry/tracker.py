"""A tracker from a model's name: the model, what it remembers, and what runs its networks."""

from __future__ import annotations

from pathlib import Path

from engines.backends import Running
from engines.build import RENDERED_PROMPTS
from engines.registry.device import check_device
from engines.registry.exports import sam2_engines
from engines.registry.models import load_sam2
from engines.registry.names import default_cleanup, default_limits
from engines.settings import Cleanup, Limits, Savings
from engines.tracker import Tracker


def load_tracker(
    name: str = "micro",
    *,
    weights: str | None = None,
    image_size: int | None = None,
    backend: str = "torch",
    precision: str = "fp32",
    device: str = "cpu",
    limits: Limits | None = None,
    savings: Savings | None = None,
    cleanup: Cleanup | None = None,
    engines: Path | None = None,
    threads: int | None = None,
) -> Tracker:
    """Load a SAM2 model and wrap it in a tracker.

    Args:
        name: `micro`, `sam2.1-tiny`, `sam2.1-small`, `sam2.1-base-plus` or `sam2.1-large`.
        weights: A local path, a folder that training wrote, a hub id, `random:SEED`, or None for
            the model's own default.
        image_size: Side of the square input in pixels; None for the one it was trained at, or the
            model's own.
        backend: `torch`, `openvino`, `onnxruntime` or `tensorrt`, which run what `maskcast export`
            wrote, or `auto`: the fastest that is exported here, else torch.
        precision: `fp32`, `bf16`, `fp16`, or `auto`: bf16 where the processor has it.
        device: A torch device.
        limits: How much is remembered; None for what the model was made for.
        savings: What is left out for speed; None for nothing.
        cleanup: What is done to masks after the model; None for the model's own way: `micro` keeps
            one piece of each mask and lets none overlap, the official models do nothing.
        engines: Folder with exported networks; None for where `maskcast export` puts them.
        threads: Threads of exported networks; None for torch's number.

    Raises:
        ModelError: The name, the weights, the backend or the size cannot be used, or nothing fit
            is exported for the backend that was named.
    """
    check_device(device)
    loaded = load_sam2(name, weights, image_size)
    found = sam2_engines(loaded, backend, precision, Running(device, threads), engines)
    return Tracker(
        loaded.model,
        precision=precision,
        device=device,
        rendered_prompts=name in RENDERED_PROMPTS,
        limits=limits or default_limits(name),
        savings=savings,
        cleanup=cleanup or default_cleanup(name),
        engines=found,
    )
