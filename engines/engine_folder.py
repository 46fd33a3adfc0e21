"""From a backend's name to networks that run: the folder is found, checked and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.backends import BACKENDS, Network, Runner, Running, get
from engines.backends.choose import AUTO
from engines.errors import ModelError
from engines.manifest import Kind, Manifest, check, default_folder, read


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which exported networks are wanted."""

    kind: Kind
    model: str
    weights: str
    """The weights' fingerprint (`manifest.fingerprint`)."""
    image_size: int
    backend: str = AUTO
    """A backend's name, or `auto`."""
    precision: str = AUTO
    """That the folder must have been made in, or `auto` for any."""
    folder: Path | None = None
    """Where they lie; None for where `maskcast export` puts them."""
    dense: str = ""
    """How CLIP's last block is to be read."""

    @property
    def command(self) -> str:
        """The command that makes them."""
        to = "openvino" if self.backend == AUTO else self.backend
        return f"maskcast export {self.model} --to {to} --image-size {self.image_size}"


@dataclass(frozen=True, slots=True)
class Engines:
    """Networks that are ready to run, or None where torch runs the model's own modules."""

    backend: str
    runners: Mapping[str, Runner] | None
    why: str
    """How it came to this choice, in a line for people; empty where the user chose torch."""
    precisions: Mapping[str, str]


def find(wanted: Wanted, networks: Mapping[str, Network], how: Running) -> Engines:
    """Find, check and load exported networks.

    Args:
        wanted: Which.
        networks: The same networks as modules, by name.
        how: Device and threads.

    Returns:
        What runs; torch's own modules for the backend `torch` without a folder, and for `auto`
        where nothing is exported.

    Raises:
        ModelError: A backend that was named is not there, or what is exported for it is missing,
            stale or damaged.
    """
    if wanted.backend != AUTO:
        if wanted.backend == "torch" and wanted.folder is None:
            return Engines("torch", None, "", {})
        if missing := get(wanted.backend).missing(how.device):
            raise ModelError(f"backend {wanted.backend}: {missing}")
        manifest, folder = _read(wanted, wanted.backend)
        return _load(folder, manifest, networks, how, f"{wanted.backend} was asked for")
    passed = []
    for backend in sorted(BACKENDS.values(), key=lambda one: one.fastest_first):
        if backend.name == "torch" and wanted.folder is None:
            continue
        if backend.missing(how.device):
            continue
        try:
            manifest, folder = _read(wanted, backend.name)
        except ModelError as error:
            if wanted.folder is not None:
                raise
            passed.append(str(error))
            continue
        why = f"{backend.name} is the fastest that is exported here"
        return _load(folder, manifest, networks, how, why)
    reason = f"nothing faster is exported; `{wanted.command}` makes it" if passed else ""
    if passed and any("stale" in one for one in passed):
        reason = next(one for one in passed if "stale" in one)
    return Engines("torch", None, reason or "no other backend runs here", {})


def _read(wanted: Wanted, backend: str) -> tuple[Manifest, Path]:
    folder = wanted.folder or default_folder(
        wanted.kind, wanted.model, wanted.image_size, backend, wanted.weights
    )
    if not folder.is_dir():
        raise ModelError(
            f"{wanted.model} is not exported for {backend} at {wanted.image_size} px with these "
            f"weights; make it with `{wanted.command.replace('--to openvino', f'--to {backend}')}`"
        )
    manifest = read(folder)
    needed = {
        "kind": wanted.kind,
        "model": wanted.model,
        "weights": wanted.weights,
        "image_size": wanted.image_size,
    }
    if wanted.folder is None or wanted.backend != AUTO:
        needed["backend"] = backend
    if wanted.dense:
        needed["dense"] = wanted.dense
    check(folder, manifest, needed)
    if wanted.precision != AUTO:
        others = {n: e.precision for n, e in manifest.networks.items()}
        if wanted.precision not in others.values():
            raise ModelError(
                f"{folder}: was made in {', '.join(sorted(set(others.values())))}, asked for is "
                f"{wanted.precision}; take precision auto, or make it anew with "
                f"`{manifest.command} --precision {wanted.precision}`"
            )
    return manifest, folder


def _load(
    folder: Path, manifest: Manifest, networks: Mapping[str, Network], how: Running, why: str
) -> Engines:
    _check_card(folder, manifest, how)
    backend = get(manifest.backend)
    how = Running(how.device, how.threads, folder / "cache")
    runners = {
        name: backend.load(folder / made.file, networks[name], made.precision, how)
        for name, made in manifest.networks.items()
        if name in networks
    }
    if lacking := [name for name in networks if name not in runners]:
        raise ModelError(
            f"{folder}: has no {', '.join(lacking)}; make it anew with `{manifest.command}`"
        )
    precisions = {name: manifest.networks[name].precision for name in runners}
    return Engines(manifest.backend, runners, why, precisions)


def _check_card(folder: Path, manifest: Manifest, how: Running) -> None:
    if not manifest.device:
        return
    here = torch.cuda.get_device_name(how.device)
    if here != manifest.device:
        raise ModelError(
            f"{folder}: was built on {manifest.device}, here is {here}; make it anew with "
            f"`{manifest.command}`"
        )
