"""What models there are: what belongs to each name, and where others publish its weights."""

from __future__ import annotations

from typing import Any

from engines.errors import ModelError
from engines.settings import Cleanup, Limits

# The micro model is trained on short clips: older places in its temporal code mean nothing.
MICRO_LIMITS = Limits(conditioning=2, recent_frames=3, recent_pointers=4)
# Its objects are cells, which are in one piece and do not lie over each other.
MICRO_CLEANUP = Cleanup(non_overlap=True, one_piece=True)
DEFAULT_CLIP = "ViT-B-32/laion2b_s34b_b79k"

SAM2_ON_HUB = {
    "sam2.1-tiny": ("facebook/sam2.1-hiera-tiny", "sam2.1_hiera_tiny.pt"),
    "sam2.1-small": ("facebook/sam2.1-hiera-small", "sam2.1_hiera_small.pt"),
    "sam2.1-base-plus": ("facebook/sam2.1-hiera-base-plus", "sam2.1_hiera_base_plus.pt"),
    "sam2.1-large": ("facebook/sam2.1-hiera-large", "sam2.1_hiera_large.pt"),
}
"""The repository of each official model and its file there."""
CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def default_limits(name: str) -> Limits:
    """Return how much a model was made to remember."""
    return MICRO_LIMITS if name == "micro" else Limits()


def default_cleanup(name: str) -> Cleanup:
    """Return what is done to a model's masks unless the user says else."""
    return MICRO_CLEANUP if name == "micro" else Cleanup()


def default_clip(sam2: str) -> str:
    """Return the CLIP that belongs beside a SAM2 model."""
    return "micro" if sam2 == "micro" else DEFAULT_CLIP


def clip_hub_id(architecture: str, tag: str) -> str:
    """Return the repository of published CLIP weights; "" where no tag names any.

    Raises:
        ModelError: The architecture has no weights of that tag.
    """
    import open_clip

    tag = _clip_tag(architecture, tag)
    if not tag:
        return ""
    config = open_clip.get_pretrained_cfg(architecture, tag)
    if not config:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise ModelError(
            f"CLIP weights {tag!r} are unknown for {architecture}; accepted are "
            f"{', '.join(tags) or 'none by name: give --clip-weights'}"
        )
    return str(config.get("hf_hub", "")).rstrip("/")


def clip_config(architecture: str, tag: str) -> dict[str, Any]:
    """Return what open_clip knows of published weights; {} where no tag names them."""
    import open_clip

    tag = _clip_tag(architecture, tag)
    return open_clip.get_pretrained_cfg(architecture, tag) or {} if tag else {}


def _clip_tag(architecture: str, tag: str) -> str:
    default, default_tag = DEFAULT_CLIP.split("/")
    return tag or (default_tag if architecture == default else "")
