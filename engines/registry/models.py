"""Loads a SAM2 or a CLIP model with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.build import SAM2_NAMES, build_sam2
from engines.checkpoint import RANDOM, build_random, load_weights, random_seed
from engines.clip_models import (
    apply_published_config,
    build_detector_clip,
    fit_state,
    published_config,
)
from engines.errors import ModelError
from engines.registry.names import CLIP_FILES, SAM2_ON_HUB, clip_config, clip_hub_id
from engines.registry.places import weights_path
from engines.trained import WEIGHTS_FILE, trained_of


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its weights."""

    name: str
    model: Any
    origin: str
    """Where the weights came from: a path or `random:SEED`."""

    @property
    def random(self) -> bool:
        """Whether the weights are random, so that results mean nothing."""
        return self.origin.startswith(RANDOM)


def load_sam2(name: str, weights: str | None = None, image_size: int | None = None) -> Loaded:
    """Load a SAM2 model; see `load_tracker`."""
    if name not in SAM2_NAMES:
        raise ModelError(
            f"model {name!r} is unknown; accepted are {', '.join(SAM2_NAMES)} "
            "(`maskcast models` says which are present)"
        )

    trained = trained_of("sam2", name, weights)
    size = image_size or (trained.image_size if trained else None)
    if trained is not None:
        weights = str(Path(str(weights)).expanduser() / WEIGHTS_FILE)

    def build() -> Any:
        try:
            return build_sam2(name, size)
        except ValueError as error:
            raise ModelError(str(error)) from error

    if weights is not None and weights.startswith(RANDOM):
        return Loaded(name, build_random(build, random_seed(weights)), weights)
    hub_id, hub_file = SAM2_ON_HUB.get(name, ("", WEIGHTS_FILE))
    path = weights_path("sam2", name, weights, hub_id, (hub_file,))
    model = build()
    load_weights(model, path, name)
    return Loaded(name, model, str(path))


def load_clip(name: str, weights: str | None = None) -> Loaded:
    """Load an open_clip model.

    Args:
        name: `micro`, or `ARCHITECTURE` or `ARCHITECTURE/TAG` of open_clip.
        weights: A local file, a folder with `open_clip_model.safetensors` (preferred) or
            `open_clip_pytorch_model.bin`, a hub id, `random:SEED`, or None for the default.

    Raises:
        ModelError: The name or the weights cannot be used.
    """
    architecture, _, tag = name.partition("/")
    trained_of("clip", name, weights)
    hub_id = clip_hub_id(architecture, tag) if architecture != "micro" else ""
    if weights is not None and weights.startswith(RANDOM):
        seed = random_seed(weights)
        return Loaded(name, build_random(lambda: build_detector_clip(architecture), seed), weights)
    path = weights_path("clip", name, weights, hub_id, CLIP_FILES)
    model = build_detector_clip(architecture, path.parent)
    published = published_config(path.parent) or clip_config(architecture, tag)
    apply_published_config(model, architecture, name, published)
    load_weights(model, path, name, fit_state)
    return Loaded(name, model, str(path))
