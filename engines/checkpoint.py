"""Weights from disk, hub or seed into a model, or a clear error. Nothing is swapped silently."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from engines.errors import ModelError

RANDOM = "random:"
Module = TypeVar("Module", bound=nn.Module)
State = dict[str, torch.Tensor]


def random_seed(weights: str) -> int:
    """Return the seed of a `random:SEED` specification.

    Raises:
        ModelError: The part after the colon is not a whole number of 0 or more.
    """
    text = weights.removeprefix(RANDOM)
    if not text.isdigit():
        raise ModelError(f"weights {weights!r}: random:SEED takes a whole number, as in random:0")
    return int(text)


def build_random(build: Callable[[], Module], seed: int) -> Module:
    """Build a model whose random weights depend on the seed only; the global generator is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def load_weights(
    model: nn.Module,
    path: Path,
    name: str,
    fit: Callable[[State, nn.Module], State] | None = None,
) -> None:
    """Load a state dict into a model, every key or nothing.

    Args:
        model: The model to fill.
        path: `.safetensors`, or a torch file holding a state dict, plain or under `model` or
            `state_dict`.
        name: The model's name, for messages.
        fit: What is done to the state dict first, given the model.

    Raises:
        ModelError: The file is missing, unreadable, or of another model (the keys are named).
    """
    state = read_state(path)
    if fit is not None:
        state = fit(state, model)
    own = model.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or unexpected or shapes:
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if keys
        ]
        raise ModelError(
            f"{path}: these weights are not of {name}: {'; '.join(parts)}; "
            "give the file that belongs to the model, or the model that belongs to the file"
        )
    model.load_state_dict(state)


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict without running any code from the file.

    Raises:
        ModelError: The file is missing, unreadable or holds no state dict.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file; accepted are a local .safetensors, .pt or .bin file, "
            "a hub id, or random:SEED"
        )
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        data = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        KeyError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        first = str(error).strip().splitlines()[0][:160] if str(error).strip() else "empty"
        raise ModelError(
            f"{path}: not readable as weights ({type(error).__name__}: {first}); accepted are "
            ".safetensors files and torch files with tensors only"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(data, dict) and isinstance(data.get(key), dict):
            data = data[key]
    if not isinstance(data, dict) or not all(isinstance(v, torch.Tensor) for v in data.values()):
        raise ModelError(f"{path}: holds no state dict (names with tensors), so it is not weights")
    return {key.removeprefix("module."): value for key, value in data.items()}


def from_hub(repo_id: str, filenames: tuple[str, ...]) -> Path:
    """Return the local copy of a file of a hub repository, downloading it where there is a network.

    Args:
        repo_id: `organisation/name`.
        filenames: Names to try, best first.

    Raises:
        ModelError: The hub cannot be reached, or has none of the files.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    reasons = []
    for filename in filenames:
        try:
            return Path(hf_hub_download(repo_id, filename))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            reasons.append(f"{filename}: {type(error).__name__}")
    raise ModelError(
        f"{repo_id}: not in the local hub cache and not to be had from the hub "
        f"({'; '.join(reasons)}); download it where there is a network "
        f"(huggingface-cli download {repo_id} {filenames[0]}) and give the file's path"
    )


def cached_on_disk(repo_id: str, filenames: tuple[str, ...]) -> Path | None:
    """Return the file's place in the local hub cache, or None; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    for filename in filenames:
        found = try_to_load_from_cache(repo_id, filename)
        if isinstance(found, str) and os.path.exists(found):
            return Path(found)
    return None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
