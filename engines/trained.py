"""Folders that training writes: weights, and beside them what they are weights of."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from engines.errors import ModelError

CARD_FILE = "maskcast_model.json"
WEIGHTS_FILE = "model.safetensors"
"""Weights of a trained SAM2 model; CLIP models are stored under open_clip's own file names."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """What `maskcast_model.json` says of a trained model."""

    kind: str
    """`sam2` or `clip`."""
    name: str
    """The model that was trained, as `--model` or `--clip` takes it."""
    image_size: int | None
    """Side of the square input in pixels; None where the model's own was kept."""
    base_sha256: str
    """Of the weights that training began with; empty for random ones."""
    sha256: str
    """Of the weights in this folder."""
    version: str
    """Of maskcast."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The whole configuration of the training."""
    data: dict[str, Any] = field(default_factory=dict)
    """The data set: format, counts and the name of its folder."""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    """Figures of the model before and after training."""


def write_trained(folder: Path, card: TrainedModel) -> None:
    """Write a folder's card, atomically."""
    partial = folder / f"{CARD_FILE}.partial"
    partial.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, folder / CARD_FILE)


def read_trained(folder: Path) -> TrainedModel | None:
    """Read a folder's card.

    Returns:
        The card, or None where the folder has none.

    Raises:
        ModelError: The card cannot be read, or is not one.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable ({error}); copy the folder again") from error
    names = {one.name for one in fields(TrainedModel)}
    if not isinstance(data, dict) or not {"kind", "name"} <= data.keys():
        raise ModelError(
            f"{path}: does not say what it is of; {', '.join(sorted(names))} are needed"
        )
    size = data.get("image_size")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ModelError(f"{path}: image_size is {size!r}; a whole number of pixels is needed")
    blank: dict[str, Any] = {"image_size": None, "base_sha256": "", "sha256": "", "version": ""}
    return TrainedModel(**blank | {key: value for key, value in data.items() if key in names})


def trained_of(kind: str, name: str, weights: str | None) -> TrainedModel | None:
    """Return what a `--weights` value is a training's folder of, checked against the model.

    Args:
        kind: `sam2` or `clip`.
        name: The model that the weights are wanted for.
        weights: A path, or anything else that names weights.

    Returns:
        The card; None where the weights are no folder that training wrote.

    Raises:
        ModelError: They are of another model, or the card cannot be read.
    """
    if weights is None or not (folder := Path(weights).expanduser()).is_dir():
        return None
    card = read_trained(folder)
    if card is None:
        return None
    if card.kind != kind:
        option = {"sam2": "--weights", "clip": "--clip-weights"}.get(card.kind)
        way = f"; give it as {option}" if option else ""
        raise ModelError(f"{folder}: holds a {card.kind} model, {kind} is needed here{way}")
    # The part after the slash names published weights of the same architecture.
    if card.name.partition("/")[0] != name.partition("/")[0]:
        raise ModelError(
            f"{folder}: was trained from {card.name}, not from {name}; "
            f"give {'--model' if kind == 'sam2' else '--clip'} {card.name}, or other weights"
        )
    return card
