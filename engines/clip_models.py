"""open_clip models for the detector: built without a network, and what their files need besides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engines.build import build_clip
from engines.dense import require_plain_vit
from engines.errors import ModelError
from engines.images import OPENAI_MEAN, OPENAI_STD
from engines.multilingual import build_multilingual, text_config

CONFIG_FILE = "open_clip_config.json"


def build_detector_clip(architecture: str, folder: Path | None = None) -> Any:
    """Build a CLIP model that the detector can read, with random weights, in eval mode.

    Args:
        architecture: `micro`, or a name of open_clip.
        folder: Where the weights lie, and with them a multilingual tower's configuration.

    Raises:
        ModelError: The name is unknown, its image tower is no plain vision transformer, or what
            its text tower needs is missing.
    """
    try:
        if "hf_model_name" in text_config(architecture):
            model = build_multilingual(architecture, folder)
        else:
            model = build_clip(architecture)
    except ModelError:
        raise
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        raise ModelError(str(error)) from error
    try:
        require_plain_vit(model.visual)
    except ModelError as error:
        raise ModelError(f"CLIP model {architecture}: {error}") from None
    return model


def fit_state(state: dict[str, torch.Tensor], model: Any) -> dict[str, torch.Tensor]:
    """Return a state dict without what only differs by the age of the file.

    Args:
        state: Names to tensors.
        model: The model that shall take it.
    """
    own = model.state_dict()
    # transformers wrote this constant into files before 4.31.
    constant = "text.transformer.embeddings.position_ids"
    fitted = {key: value for key, value in state.items() if key != constant or key in own}
    for key in ("logit_scale", "logit_bias"):
        # Some files have the shape (1,), some ().
        if key in fitted and key in own and fitted[key].numel() == own[key].numel() == 1:
            fitted[key] = fitted[key].reshape(own[key].shape)
    return fitted


def apply_published_config(
    model: Any, architecture: str, name: str, published: Mapping[str, Any]
) -> None:
    """Take over how the weights want pictures, and refuse weights of another activation.

    Args:
        model: The model; its image tower's `image_mean` and `image_std` are set.
        architecture: Its open_clip name.
        name: What the user called it, for messages.
        published: `mean`, `std` and `quick_gelu`, each where it is known.

    Raises:
        ModelError: The weights were trained with QuickGELU and the model has GELU, or the reverse.
    """
    import open_clip

    own = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
    wanted = bool(published.get("quick_gelu", own))
    if wanted != own:
        other = architecture.removesuffix("-quickgelu") if own else f"{architecture}-quickgelu"
        kinds = ("GELU", "QuickGELU")
        raise ModelError(
            f"{name}: these weights were trained with {kinds[wanted]} and {architecture} has "
            f"{kinds[own]}; take {other}"
        )
    for key, attribute in (("mean", "image_mean"), ("std", "image_std")):
        if key in published:
            setattr(model.visual, attribute, tuple(float(value) for value in published[key]))


def published_config(folder: Path) -> dict[str, Any]:
    """Return `mean`, `std` and `quick_gelu` of a folder's `open_clip_config.json`; {} without one.

    Raises:
        ModelError: The file is no such configuration.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    try:
        whole = json.loads(path.read_text("utf-8"))
        config = {k: v for k, v in whole["preprocess_cfg"].items() if k in ("mean", "std")}
        config["quick_gelu"] = whole["model_cfg"].get("quick_gelu", False)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: not an open_clip configuration ({type(error).__name__}: {error}); take the "
            "one published with the weights, or remove it"
        ) from error
    return config


def image_statistics(
    visual: Any,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the mean and std that an image tower wants, on the 0..1 scale; else OpenAI's."""
    mean = getattr(visual, "image_mean", None) or OPENAI_MEAN
    std = getattr(visual, "image_std", None) or OPENAI_STD
    return mean, std


def crop_size_px(visual: Any) -> int:
    """Return the side in pixels of the crops of single objects that an image tower is shown."""
    return int(getattr(visual, "crop_size_px", 0)) or own_size_px(visual)


def own_size_px(visual: Any) -> int:
    """Return the side in pixels of the square that an image tower was made for."""
    side = visual.image_size
    return int(side[0] if isinstance(side, tuple) else side)
