"""What an exported folder says of itself, and whether it still fits its weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from engines.checkpoint import RANDOM, sha256
from engines.errors import ModelError

FILE = "manifest.json"
REPORT_FILE = "parity.json"
#: Raised when graphs change in what goes in or comes out.
GRAPHS = 1
FOLDER_VARIABLE = "MASKCAST_ENGINES"

Kind = Literal["sam2", "clip"]


class Exported(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One network of a folder."""

    file: str
    precision: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder holds and what it was made from."""

    kind: Kind
    model: str
    weights: str
    """SHA-256 of the weights' file, or `random:SEED`."""
    image_size: int
    backend: str
    networks: dict[str, Exported]
    graphs: int
    versions: dict[str, str]
    """Of the packages that made it."""
    command: str
    """Makes it anew."""
    dense: str = ""
    """How CLIP's last block is read."""
    device: str = ""
    """Name of the card, where an engine serves only one."""


def fingerprint(origin: str) -> str:
    """Return what binds an artefact to weights.

    Args:
        origin: `registry.Loaded.origin`: a path or `random:SEED`.
    """
    return origin if origin.startswith(RANDOM) else sha256(Path(origin))


def engines_folder() -> Path:
    """Return where exported engines lie unless the user says else."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "maskcast" / "engines"


def default_folder(kind: Kind, model: str, image_size: int, backend: str, weights: str) -> Path:
    """Return where an export goes, and where it is looked for.

    Args:
        kind: Which of the two models that a name can mean.
        model: Its name.
        image_size: Side of its input in pixels.
        backend: Which backend's.
        weights: The weights' fingerprint.
    """
    short = weights.replace(":", "") if weights.startswith(RANDOM) else weights[:10]
    name = f"{kind}-{model.replace('/', '_')}-{image_size}px-{backend}-{short}"
    return engines_folder() / name


def write(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into a folder."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / FILE).write_bytes(data + b"\n")


def read(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        ModelError: There is none, or it is damaged.
    """
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ModelError(f"{folder}: holds no {FILE}; make it with `maskcast export`") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); make it anew") from error


def check(folder: Path, manifest: Manifest, wanted: dict[str, Any]) -> None:
    """Check that a folder is what is wanted.

    Args:
        folder: Where it lies.
        manifest: Its manifest.
        wanted: Fields of the manifest with the values that are needed.

    Raises:
        ModelError: A field differs, or a network's file is missing; says the command that makes
            the folder anew.
    """
    for field, value in {"graphs": GRAPHS, **wanted}.items():
        found = getattr(manifest, field)
        if found != value:
            raise ModelError(
                f"{folder}: is stale: its {field} is {_short(found)}, needed is {_short(value)}; "
                f"make it anew with `{manifest.command}`"
            )
    for name, network in manifest.networks.items():
        if not (folder / network.file).is_file():
            raise ModelError(
                f"{folder}: {network.file} of {name} is missing; make it anew with "
                f"`{manifest.command}`"
            )


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 40 else repr(value)
