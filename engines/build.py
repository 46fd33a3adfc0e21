"""Build the segmentation and text models, with random weights, from their configurations.

Official SAM 2.1 models come from the yaml files that the ``sam2`` package ships; ``micro`` comes
from a file of the same form beside this module, by the same code. Weights are loaded elsewhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from sam2.modeling.sam2_base import SAM2Base

#: Names that :func:`build_sam2` accepts.
SAM2_NAMES: tuple[str, ...] = (
    "micro",
    "sam2.1-tiny",
    "sam2.1-small",
    "sam2.1-base-plus",
    "sam2.1-large",
)
#: Models that are prompted with a drawn mask beside the point tokens (see :mod:`engines.prompts`).
RENDERED_PROMPTS: frozenset[str] = frozenset({"micro"})

_OFFICIAL_FILES = {
    "sam2.1-tiny": "sam2.1_hiera_t.yaml",
    "sam2.1-small": "sam2.1_hiera_s.yaml",
    "sam2.1-base-plus": "sam2.1_hiera_b+.yaml",
    "sam2.1-large": "sam2.1_hiera_l.yaml",
}
#: Side in pixels of the crops that micro's image tower is shown of single objects.
CROP_SIZE_PX = 96

_BACKBONE_STRIDE = 16
_STRIDE_OF_COARSEST_MAP = 32


def build_sam2(name: str, image_size: int | None = None) -> SAM2Base:
    """Build a SAM 2 model with random weights, in eval mode, on the CPU.

    Args:
        name: one of :data:`SAM2_NAMES`.
        image_size: side in pixels of the square input, a multiple of 32. Default: the
            configuration's own (256 for ``micro``, 1024 for the official models).

    Returns:
        The model; its input is (B, 3, image_size, image_size) float32, normalised with the ImageNet
        mean and std.

    Raises:
        ValueError: for an unknown name or an image size that the encoder cannot halve often enough.
    """
    config = _sam2_config(name)
    if image_size is not None:
        _override_image_size(config, image_size)
    model = instantiate(config, _recursive_=True)
    if not isinstance(model, SAM2Base):
        raise TypeError(
            f"the configuration of {name!r} builds a {type(model).__name__}, not a SAM2Base"
        )
    return model.eval()


def build_clip(name: str) -> Any:
    """Build a CLIP model with random weights, in eval mode, on the CPU. Asks no network.

    Args:
        name: ``micro``, or any model name of open_clip such as ``ViT-B-32``.

    Returns:
        An ``open_clip`` model with ``encode_image``, ``encode_text`` and ``logit_scale``.

    Raises:
        ValueError: for a name that open_clip does not know, or a text tower of transformers of
            which something is missing.
    """
    import open_clip

    if name == "micro":
        text = resources.files("engines").joinpath("configs", "micro_clip.json").read_text("utf-8")
        model = open_clip.model.CLIP(**json.loads(text)).eval()
        model.visual.crop_size_px = CROP_SIZE_PX
        return model
    known = open_clip.list_models()
    if name not in known:
        near = [k for k in known if name.lower().replace("/", "-")[:5] in k.lower()][:6]
        hint = f" (near it: {', '.join(near)})" if near else ""
        raise ValueError(
            f"CLIP model {name!r} is unknown; accepted are 'micro' and the {len(known)} names of "
            f"open_clip.list_models(){hint}"
        )
    if "hf_model_name" in open_clip.get_model_config(name)["text_cfg"]:
        from engines.multilingual import build_multilingual

        return build_multilingual(name, None)
    with _random_weights_unsaid():
        return open_clip.create_model(name, pretrained=None).eval()


@contextmanager
def _random_weights_unsaid() -> Iterator[None]:
    """Keep open_clip from warning of random weights, into which others are loaded afterwards."""
    root, silent = logging.getLogger(), logging.NullHandler()
    # Without a handler the first warning would give the whole process one.
    root.addHandler(silent)
    root.addFilter(_is_news)
    try:
        yield
    finally:
        root.removeFilter(_is_news)
        root.removeHandler(silent)


def _is_news(record: logging.LogRecord) -> bool:
    return "No pretrained weights loaded" not in record.getMessage()


def _sam2_config(name: str) -> DictConfig:
    if name not in SAM2_NAMES:
        raise ValueError(f"SAM2 model {name!r} is unknown; accepted are {', '.join(SAM2_NAMES)}")
    if name == "micro":
        source = resources.files("engines").joinpath("configs", "micro.yaml")
    else:
        source = resources.files("sam2").joinpath("configs", "sam2.1", _OFFICIAL_FILES[name])
    config = OmegaConf.create(source.read_text("utf-8"))
    assert isinstance(config, DictConfig)
    model: DictConfig = config.model
    model.pop("compile_image_encoder", None)
    if name != "micro":
        _postprocess_as_official(model)
    return model


def _postprocess_as_official(config: DictConfig) -> None:
    """Set what `sam2.build_sam.build_sam2_video_predictor` sets beside the yaml file.

    Its hole filling is an option of the tracker here (`engines.settings.Cleanup`).
    """
    config.binarize_mask_from_pts_for_mem_enc = True
    config.sam_mask_decoder_extra_args = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }


def _override_image_size(config: DictConfig, image_size: int) -> None:
    if image_size <= 0 or image_size % _STRIDE_OF_COARSEST_MAP:
        raise ValueError(
            f"image_size {image_size} is not usable; accepted are positive multiples of "
            f"{_STRIDE_OF_COARSEST_MAP} (the encoder halves the image five times)"
        )
    config.image_size = image_size
    side = image_size // _BACKBONE_STRIDE
    layer = config.memory_attention.layer
    # The rotary code is made for one grid; a different one would be rebuilt at every call.
    layer.self_attention.feat_sizes = [side, side]
    layer.cross_attention.feat_sizes = [side, side]
