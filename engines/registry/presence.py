"""Which models' weights are on this machine, and whether their files are intact."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engines.checkpoint import cached_on_disk, sha256
from engines.manifest import Kind
from engines.registry.names import CLIP_FILES, DEFAULT_CLIP, SAM2_ON_HUB, clip_hub_id
from engines.registry.places import MICRO_FILES, WEIGHTS_DIR


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of `maskcast models`."""

    name: str
    kind: Kind
    present: bool
    path: str
    sha256: str
    check: str
    """`ok`, `differs` or `not checked`; empty where nothing is present."""
    get: str
    """The command that gets the weights, where they are not present."""


def status() -> list[ModelStatus]:
    """Return what models there are, which are present and whether their files are intact."""
    rows = [_packaged("micro", "sam2"), _packaged("micro", "clip")]
    for name, (hub_id, filename) in SAM2_ON_HUB.items():
        rows.append(_on_hub(name, "sam2", hub_id, (filename,)))
    hub_id = clip_hub_id(*DEFAULT_CLIP.split("/"))
    rows.append(_on_hub(DEFAULT_CLIP, "clip", hub_id, CLIP_FILES))
    return rows


def _packaged(name: str, kind: Kind) -> ModelStatus:
    path = WEIGHTS_DIR / MICRO_FILES[kind]
    if not path.is_file():
        return ModelStatus(name, kind, False, str(path), "", "", "reinstall maskcast")
    digest = sha256(path)
    sums = WEIGHTS_DIR / "SHA256SUMS"
    listed = sums.read_text().split() if sums.is_file() else []
    check = ("ok" if digest in listed else "differs") if listed else "not checked"
    return ModelStatus(name, kind, True, str(path), digest, check, "")


def _on_hub(name: str, kind: Kind, hub_id: str, files: tuple[str, ...]) -> ModelStatus:
    path = cached_on_disk(hub_id, files)
    if path is None:
        get = f"huggingface-cli download {hub_id} {files[0]}"
        return ModelStatus(name, kind, False, "", "", "", get)
    digest = sha256(path)
    # The hub's cache names large files by their SHA-256, which the hub itself states.
    blob = os.path.basename(os.path.realpath(path))
    check = "not checked" if len(blob) != 64 else ("ok" if blob == digest else "differs")
    return ModelStatus(name, kind, True, str(path), digest, check, "")
