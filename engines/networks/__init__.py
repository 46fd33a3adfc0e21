"""Each network of the way as a plain module: tensors in, tensors out, ready for export.

The modules use the official weights as they lie in the models; what is arranged anew (a real rotary
code, an attention mask for what is not there, fixed prompt slots) leaves the results as they are.
`engines.backends` runs them, `export` writes them as artefacts.
"""

from collections.abc import Sequence
from typing import Any

from engines.clip_models import crop_size_px
from engines.networks.base import Network, Port, Signature
from engines.networks.clip import ImageTower, TextTower
from engines.networks.image_encoder import ImageEncoder
from engines.networks.mask_decoder import MaskDecoder
from engines.networks.memory_attention import AttentionToMemory, SharedQueries
from engines.networks.memory_encoder import MaskMemory

__all__ = [
    "AttentionToMemory",
    "ImageEncoder",
    "ImageTower",
    "MaskDecoder",
    "MaskMemory",
    "Network",
    "Port",
    "SharedQueries",
    "Signature",
    "TextTower",
    "clip_networks",
    "sam2_networks",
]


_SAM2 = (ImageEncoder, SharedQueries, AttentionToMemory, MaskDecoder, MaskMemory)


def sam2_networks(model: Any, only: Sequence[str] = ()) -> dict[str, Network]:
    """Return the networks of a `SAM2Base` by name, in the order that a frame meets them.

    Args:
        model: In eval mode.
        only: Names of those that are wanted; empty for all.
    """
    made = (kind(model) for kind in _SAM2 if not only or kind.name in only)
    return {network.name: network for network in made}


def clip_networks(clip: Any, side_px: int, mode: str) -> dict[str, Network]:
    """Return the networks of an open_clip model by name.

    Args:
        clip: In eval mode.
        side_px: Side of the square that it sees at once.
        mode: How its last block is read (`engines.dense.MODES`).
    """
    made: list[Network] = [
        ImageTower(clip, side_px, mode),
        ImageTower(clip, crop_size_px(clip.visual), mode, "crop_tower"),
        TextTower(clip),
    ]
    return {network.name: network for network in made}
