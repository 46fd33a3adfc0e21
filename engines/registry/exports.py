"""Finds what runs the networks of a loaded model: exported ones, or torch's own modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engines.backends import Network, Running
from engines.backends.choose import AUTO
from engines.engine_folder import Engines, Wanted, find
from engines.manifest import Kind, fingerprint
from engines.networks import clip_networks, sam2_networks
from engines.registry.models import Loaded


def sam2_engines(
    loaded: Loaded,
    backend: str,
    precision: str,
    how: Running,
    folder: Path | None = None,
    only: Sequence[str] = (),
) -> Engines:
    """Find what runs the networks of a SAM2 model.

    Args:
        loaded: The model.
        backend: See `load_tracker`.
        precision: See `load_tracker`.
        how: Device and threads.
        folder: See `load_tracker`.
        only: Names of networks that are needed; empty for all.

    Raises:
        ModelError: Nothing fit is exported for the backend that was named.
    """
    return _find(
        loaded,
        lambda: sam2_networks(loaded.model, only),
        how,
        kind="sam2",
        image_size=int(loaded.model.image_size),
        backend=backend,
        precision=precision,
        folder=folder,
    )


def clip_engines(
    loaded: Loaded,
    side_px: int,
    mode: str,
    backend: str,
    how: Running,
    folder: Path | None = None,
) -> Engines:
    """Find what runs the towers of a CLIP model.

    Args:
        loaded: The model.
        side_px: Side of the square that it sees at once.
        mode: How its last block is read.
        backend: See `load_tracker`.
        how: Device and threads.
        folder: Folder with exported networks; None for where `maskcast export` puts them.

    Raises:
        ModelError: Nothing fit is exported for the backend that was named.
    """
    return _find(
        loaded,
        lambda: clip_networks(loaded.model, side_px, mode),
        how,
        kind="clip",
        image_size=side_px,
        backend=backend,
        folder=folder,
        dense=mode,
    )


def _find(
    loaded: Loaded,
    networks: Callable[[], Mapping[str, Network]],
    how: Running,
    *,
    kind: Kind,
    image_size: int,
    backend: str,
    folder: Path | None,
    precision: str = AUTO,
    dense: str = "",
) -> Engines:
    # Where torch was asked for, not even the weights' fingerprint is needed.
    if backend == "torch" and folder is None:
        return Engines("torch", None, "", {})
    wanted = Wanted(
        kind=kind,
        model=loaded.name,
        weights=fingerprint(loaded.origin),
        image_size=image_size,
        backend=backend,
        precision=precision,
        folder=folder,
        dense=dense,
    )
    return find(wanted, networks(), how)
