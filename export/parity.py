"""How far exported networks are from torch: tensor by tensor, and over a film.

Errors compound where a memory is in the loop, so that both are asked: what one call gives, and what
is left of the masks after many frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from engines.backends import Runner

#: Relative error of one call, by precision: the norm of the difference over the norm of the truth.
TENSOR_TOLERANCE = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.15, "int8": 0.3}
#: Mean IoU of the masks of a whole film with those of torch in float32.
FILM_TOLERANCE = {"fp32": 0.995, "fp16": 0.98, "bf16": 0.98, "int8": 0.98}


class TensorError(msgspec.Struct, frozen=True):
    """How far one output of a network is from torch's, over all recorded calls."""

    max_abs: float
    mean_abs: float
    relative: float
    """Norm of the difference over the norm of torch's."""
    largest: float
    """Of torch's, sign left out."""


class FilmError(msgspec.Struct, frozen=True):
    """How far the masks of a film are from torch's."""

    mean_iou: float
    least_iou: float
    """Of any object in any frame."""
    last_iou: float
    """Mean of the last frame: errors compound."""
    frames: int
    objects: int


def compare_tensors(
    reference: Runner, candidate: Runner, calls: list[dict[str, torch.Tensor]]
) -> dict[str, TensorError]:
    """Run a network and its export on the same inputs.

    Args:
        reference: In torch.
        candidate: The export.
        calls: Inputs by name, one map for each call.

    Returns:
        The error of each output by name.
    """
    pairs: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for tensors in calls:
        wanted, found = reference(tensors), candidate(tensors)
        for name, truth in wanted.items():
            pairs.setdefault(name, []).append((truth.flatten(), found[name].flatten()))
    return {name: _error(some) for name, some in pairs.items()}


def _error(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> TensorError:
    truth = torch.cat([t for t, _ in pairs]).double()
    found = torch.cat([f for _, f in pairs]).double()
    away = (found - truth).abs()
    norm = float(truth.norm())
    return TensorError(
        max_abs=_finite(away.max()),
        mean_abs=_finite(away.mean()),
        relative=_finite(away.norm()) / norm if norm else _finite(away.norm()),
        largest=float(truth.abs().max()),
    )


def _finite(value: torch.Tensor) -> float:
    """Return a number that JSON knows: what is not finite is as wrong as can be."""
    number = float(value)
    return number if np.isfinite(number) else 1e30


def compare_films(
    truth: list[dict[int, npt.NDArray[np.float32]]],
    found: list[dict[int, npt.NDArray[np.float32]]],
) -> FilmError:
    """Compare masks frame by frame; two empty masks are equal.

    Args:
        truth: Logits by object, of each frame.
        found: Likewise.

    Raises:
        ValueError: The films differ in length or in their objects.
    """
    if [sorted(frame) for frame in truth] != [sorted(frame) for frame in found]:
        raise ValueError("the two films differ in their frames or their objects")
    rows = [
        [_iou(frame[i] > 0, other[i] > 0) for i in frame]
        for frame, other in zip(truth, found, strict=True)
    ]
    return FilmError(
        mean_iou=float(np.mean([iou for row in rows for iou in row])),
        least_iou=float(min(iou for row in rows for iou in row)),
        last_iou=float(np.mean(rows[-1])),
        frames=len(rows),
        objects=len(rows[0]),
    )


def _iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def tensor_faults(
    errors: Mapping[str, Mapping[str, TensorError]], precisions: Mapping[str, str]
) -> list[str]:
    """Say which outputs are out of tolerance."""
    found = []
    for network, outputs in errors.items():
        most = TENSOR_TOLERANCE[precisions[network]]
        for name, error in outputs.items():
            if error.relative > most:
                found.append(
                    f"{network}.{name} is {error.relative:.2g} off in {precisions[network]}, "
                    f"accepted is {most}"
                )
    return found


def film_faults(error: FilmError, precisions: Mapping[str, str]) -> list[str]:
    """Say whether the film is out of tolerance: that of the coarsest precision counts."""
    least = min(FILM_TOLERANCE[precision] for precision in precisions.values())
    if error.mean_iou >= least:
        return []
    return [
        f"masks of {error.frames} frames have a mean IoU of {error.mean_iou:.4f} with torch's, "
        f"accepted is {least}"
    ]


def to_json(value: Any) -> Any:
    """Return plain data."""
    return msgspec.to_builtins(value)
