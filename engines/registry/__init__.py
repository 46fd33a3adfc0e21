"""Model names to loaded models: what there is, where its weights come from, and how to get them."""

from engines.registry.device import check_device
from engines.registry.edges import load_edges, refiner_path
from engines.registry.exports import clip_engines, sam2_engines
from engines.registry.models import Loaded, load_clip, load_sam2
from engines.registry.names import (
    DEFAULT_CLIP,
    MICRO_CLEANUP,
    MICRO_LIMITS,
    default_cleanup,
    default_clip,
    default_limits,
)
from engines.registry.presence import ModelStatus, status
from engines.registry.tracker import load_tracker

__all__ = [
    "DEFAULT_CLIP",
    "MICRO_CLEANUP",
    "MICRO_LIMITS",
    "Loaded",
    "ModelStatus",
    "check_device",
    "clip_engines",
    "default_cleanup",
    "default_clip",
    "default_limits",
    "load_clip",
    "load_edges",
    "load_sam2",
    "load_tracker",
    "refiner_path",
    "sam2_engines",
    "status",
]
