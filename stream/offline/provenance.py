"""What figures depend on besides the code: models, their weights, libraries, the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from engines.checkpoint import RANDOM, sha256
from engines.registry import default_clip, status
from stream.config import Config

LIBRARIES: Final = ("torch", "sam2", "open_clip_torch", "numpy", "scipy", "py-ctcmetrics")
SUFFIXES: Final = (".safetensors", ".pt", ".bin")


def versions() -> dict[str, str | None]:
    """Return the versions of maskcast, Python and the libraries; None for one that is not there."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("maskcast", *LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def models(config: Config, with_texts: bool) -> dict[str, dict[str, Any] | None]:
    """Return names, weights and their SHA-256, of the tracker and, if it was used, the detector."""
    tracker, clip = config.tracker, config.detector.clip or default_clip(config.tracker.model)
    return {
        "tracker": {
            "name": tracker.model,
            "weights": tracker.weights,
            "sha256": weights_sha256(tracker.model, "sam2", tracker.weights),
            "image_size": tracker.image_size,
            "precision": tracker.precision,
            "device": tracker.device,
        },
        "detector": {
            "name": clip,
            "weights": config.detector.weights,
            "sha256": weights_sha256(clip, "clip", config.detector.weights),
        }
        if with_texts
        else None,
    }


def weights_sha256(name: str, kind: str, weights: str | None) -> str | None:
    """Return the SHA-256 of a model's weights.

    Args:
        name: The model's.
        kind: `sam2` or `clip`.
        weights: As in the configuration.

    Returns:
        None for random weights, for a hub id, and for a folder with more than one file of weights.
    """
    if weights is None:
        rows = [row for row in status() if row.name == name and row.kind == kind and row.present]
        return rows[0].sha256 if rows else None
    if weights.startswith(RANDOM):
        return None
    path = Path(weights).expanduser()
    files = [path] if path.is_file() else []
    if path.is_dir():
        files = [item for item in path.iterdir() if item.suffix in SUFFIXES]
    return sha256(files[0]) if len(files) == 1 else None


def machine() -> dict[str, Any]:
    """Return what speed depends on."""
    import torch

    return {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
