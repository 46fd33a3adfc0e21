"""Where a model's weights lie: in the package, in a file or folder that was named, or on a hub."""

from __future__ import annotations

from pathlib import Path

from engines.checkpoint import cached_on_disk, from_hub
from engines.errors import ModelError
from engines.manifest import Kind

WEIGHTS_DIR = Path(__file__).parents[1] / "weights"
MICRO_FILES: dict[Kind, str] = {"sam2": "micro_sam2.safetensors", "clip": "micro_clip.safetensors"}

_OPTIONS: dict[Kind, str] = {"sam2": "--weights", "clip": "--clip-weights"}


def weights_path(
    kind: Kind, name: str, weights: str | None, hub_id: str, files: tuple[str, ...]
) -> Path:
    """Find a model's weights.

    Args:
        kind: Which of the two models it is.
        name: Its name.
        weights: A file, a folder, a hub id, or None for the model's default.
        hub_id: The repository of its default weights; "" where none is known.
        files: Names of weights in folders and repositories, best first.

    Raises:
        ModelError: They are not there; a path that names no folder is returned unchecked.
    """
    if weights is not None:
        return _given_weights(weights, files)
    if name == "micro":
        return WEIGHTS_DIR / MICRO_FILES[kind]
    return _default_weights(name, hub_id, files, _OPTIONS[kind])


def _default_weights(name: str, hub_id: str, files: tuple[str, ...], option: str) -> Path:
    if not hub_id:
        raise ModelError(
            f"{name}: no default weights are known for it; give {option} with a file, a folder, a "
            "hub id or random:SEED, or use the model micro, which needs none"
        )
    found = cached_on_disk(hub_id, files)
    if found is None:
        raise ModelError(
            f"{name}: its weights ({files[0]} of {hub_id}) are not on this machine; get them with "
            f"`huggingface-cli download {hub_id} {files[0]}`, or give {option} PATH, or use the "
            "model micro, which needs none"
        )
    return found


def _given_weights(weights: str, files: tuple[str, ...]) -> Path:
    path = Path(weights).expanduser()
    if path.is_dir():
        for filename in files:
            if (path / filename).is_file():
                return path / filename
        raise ModelError(f"{path}: holds no weights; looked for {' and '.join(files)}")
    looks_like_hub = weights.count("/") == 1 and not path.suffix and not weights.startswith(".")
    if not path.exists() and looks_like_hub:
        return from_hub(weights, files)
    return path
