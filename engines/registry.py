"""Model names to loaded models: what there is, where its weights come from, and how to get them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engines.backends import Running
from engines.build import RENDERED_PROMPTS, SAM2_NAMES, build_sam2
from engines.calibration import calibration as calibration
from engines.checkpoint import (
    RANDOM,
    build_random,
    cached_on_disk,
    from_hub,
    load_weights,
    random_seed,
    sha256,
)
from engines.clip_models import (
    apply_published_config,
    build_detector_clip,
    fit_state,
    published_config,
)
from engines.engine_folder import Engines, Wanted, find
from engines.errors import ModelError
from engines.manifest import fingerprint
from engines.networks import clip_networks, sam2_networks
from engines.settings import Cleanup, Limits, Savings
from engines.tracker import Tracker
from engines.trained import WEIGHTS_FILE, trained_of

WEIGHTS_DIR = Path(__file__).parent / "weights"
MICRO_FILES = {"sam2": "micro_sam2.safetensors", "clip": "micro_clip.safetensors"}
# The micro model is trained on short clips: older places in its temporal code mean nothing.
MICRO_LIMITS = Limits(conditioning=2, recent_frames=3, recent_pointers=4)
# Its objects are cells, which are in one piece and do not lie over each other.
MICRO_CLEANUP = Cleanup(non_overlap=True, one_piece=True)
DEFAULT_CLIP = "ViT-B-32/laion2b_s34b_b79k"

_HUB_FILES = {
    "sam2.1-tiny": ("facebook/sam2.1-hiera-tiny", "sam2.1_hiera_tiny.pt"),
    "sam2.1-small": ("facebook/sam2.1-hiera-small", "sam2.1_hiera_small.pt"),
    "sam2.1-base-plus": ("facebook/sam2.1-hiera-base-plus", "sam2.1_hiera_base_plus.pt"),
    "sam2.1-large": ("facebook/sam2.1-hiera-large", "sam2.1_hiera_large.pt"),
}
_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


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


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of `maskcast models`."""

    name: str
    kind: str
    present: bool
    path: str
    sha256: str
    check: str
    """`ok`, `differs` or `not checked`; empty where nothing is present."""
    get: str
    """The command that gets the weights, where they are not present."""


def load_tracker(
    name: str = "micro",
    *,
    weights: str | None = None,
    image_size: int | None = None,
    backend: str = "torch",
    precision: str = "fp32",
    device: str = "cpu",
    limits: Limits | None = None,
    savings: Savings | None = None,
    cleanup: Cleanup | None = None,
    engines: Path | None = None,
    threads: int | None = None,
) -> Tracker:
    """Load a SAM2 model and wrap it in a tracker.

    Args:
        name: `micro`, `sam2.1-tiny`, `sam2.1-small`, `sam2.1-base-plus` or `sam2.1-large`.
        weights: A local path, a folder that training wrote, a hub id, `random:SEED`, or None for
            the model's own default.
        image_size: Side of the square input in pixels; None for the one it was trained at, or the
            model's own.
        backend: `torch`, `openvino`, `onnxruntime` or `tensorrt`, which run what `maskcast export`
            wrote, or `auto`: the fastest that is exported here, else torch.
        precision: `fp32`, `bf16`, `fp16`, or `auto`: bf16 where the processor has it.
        device: A torch device.
        limits: How much is remembered; None for what the model was made for.
        savings: What is left out for speed; None for nothing.
        cleanup: What is done to masks after the model; None for the model's own way: `micro` keeps
            one piece of each mask and lets none overlap, the official models do nothing.
        engines: Folder with exported networks; None for where `maskcast export` puts them.
        threads: Threads of exported networks; None for torch's number.

    Raises:
        ModelError: The name, the weights, the backend or the size cannot be used, or nothing fit
            is exported for the backend that was named.
    """
    check_device(device)
    loaded = load_sam2(name, weights, image_size)
    found = sam2_engines(loaded, backend, precision, Running(device, threads), engines)
    return Tracker(
        loaded.model,
        precision=precision,
        device=device,
        rendered_prompts=name in RENDERED_PROMPTS,
        limits=limits or default_limits(name),
        savings=savings,
        cleanup=cleanup or default_cleanup(name),
        engines=found,
    )


def sam2_engines(
    loaded: Loaded,
    backend: str,
    precision: str,
    how: Running,
    folder: Path | None = None,
    only: Sequence[str] = (),
) -> Engines:
    """Find what runs the networks of a SAM2 model.

    Args:
        loaded: The model.
        backend: See `load_tracker`.
        precision: See `load_tracker`.
        how: Device and threads.
        folder: See `load_tracker`.
        only: Names of networks that are needed; empty for all.

    Raises:
        ModelError: Nothing fit is exported for the backend that was named.
    """
    if backend == "torch" and folder is None:
        return Engines("torch", None, "", {})
    wanted = Wanted(
        kind="sam2",
        model=loaded.name,
        weights=fingerprint(loaded.origin),
        image_size=int(loaded.model.image_size),
        backend=backend,
        precision=precision,
        folder=folder,
    )
    networks = {n: net for n, net in sam2_networks(loaded.model, only).items()}
    return find(wanted, networks, how)


def clip_engines(
    loaded: Loaded,
    side_px: int,
    mode: str,
    backend: str,
    how: Running,
    folder: Path | None = None,
) -> Engines:
    """Find what runs the towers of a CLIP model.

    Args:
        loaded: The model.
        side_px: Side of the square that it sees at once.
        mode: How its last block is read.
        backend: See `load_tracker`.
        how: Device and threads.
        folder: Folder with exported networks; None for where `maskcast export` puts them.

    Raises:
        ModelError: Nothing fit is exported for the backend that was named.
    """
    if backend == "torch" and folder is None:
        return Engines("torch", None, "", {})
    wanted = Wanted(
        kind="clip",
        model=loaded.name,
        weights=fingerprint(loaded.origin),
        image_size=side_px,
        backend=backend,
        folder=folder,
        dense=mode,
    )
    return find(wanted, clip_networks(loaded.model, side_px, mode), how)


def default_limits(name: str) -> Limits:
    """Return how much a model was made to remember."""
    return MICRO_LIMITS if name == "micro" else Limits()


def default_cleanup(name: str) -> Cleanup:
    """Return what is done to a model's masks unless the user says else."""
    return MICRO_CLEANUP if name == "micro" else Cleanup()


def check_device(device: str) -> None:
    """Check that a torch device is there.

    Raises:
        ModelError: It is not a device's name, or not on this machine.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ModelError(
            f"device {device!r} is unknown; accepted are cpu, cuda, cuda:0 ..."
        ) from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {device!r}: torch finds no CUDA device here; accepted is cpu")


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

    hub_id, hub_file = _HUB_FILES.get(name, ("", ""))
    files = (hub_file or WEIGHTS_FILE,)
    return _load(name, weights, build, hub_id, files, MICRO_FILES["sam2"], "--weights")


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
    hub_id = ""
    if architecture != "micro":
        hub_id = _clip_hub_id(architecture, tag)
    if weights is not None and weights.startswith(RANDOM):
        seed = random_seed(weights)
        return Loaded(name, build_random(lambda: build_detector_clip(architecture), seed), weights)
    path = _weights_path(name, weights, hub_id, _CLIP_FILES, MICRO_FILES["clip"], "--clip-weights")
    model = build_detector_clip(architecture, path.parent)
    published = published_config(path.parent) or _clip_config(architecture, tag)
    apply_published_config(model, architecture, name, published)
    load_weights(model, path, name, fit_state)
    return Loaded(name, model, str(path))


def _load(
    name: str,
    weights: str | None,
    build: Callable[[], Any],
    hub_id: str,
    files: tuple[str, ...],
    micro_file: str,
    option: str,
) -> Loaded:
    if weights is not None and weights.startswith(RANDOM):
        return Loaded(name, build_random(build, random_seed(weights)), weights)
    path = _weights_path(name, weights, hub_id, files, micro_file, option)
    model = build()
    load_weights(model, path, name)
    return Loaded(name, model, str(path))


def _weights_path(
    name: str,
    weights: str | None,
    hub_id: str,
    files: tuple[str, ...],
    micro_file: str,
    option: str,
) -> Path:
    if weights is None and name == "micro":
        return WEIGHTS_DIR / micro_file
    if weights is None:
        return _default_weights(name, hub_id, files, option)
    return _given_weights(weights, files)


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


def _clip_hub_id(architecture: str, tag: str) -> str:
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


def _clip_tag(architecture: str, tag: str) -> str:
    default, default_tag = DEFAULT_CLIP.split("/")
    return tag or (default_tag if architecture == default else "")


def _clip_config(architecture: str, tag: str) -> dict[str, Any]:
    """Return what open_clip knows of published weights; {} where no tag names them."""
    import open_clip

    tag = _clip_tag(architecture, tag)
    return open_clip.get_pretrained_cfg(architecture, tag) or {} if tag else {}


def default_clip(sam2: str) -> str:
    """Return the CLIP that belongs beside a SAM2 model."""
    return "micro" if sam2 == "micro" else DEFAULT_CLIP


def status() -> list[ModelStatus]:
    """Return what models there are, which are present and whether their files are intact."""
    rows = [_packaged("micro", "sam2"), _packaged("micro", "clip")]
    for name, (hub_id, filename) in _HUB_FILES.items():
        rows.append(_on_hub(name, "sam2", hub_id, (filename,)))
    hub_id = _clip_hub_id(*DEFAULT_CLIP.split("/"))
    rows.append(_on_hub(DEFAULT_CLIP, "clip", hub_id, _CLIP_FILES))
    return rows


def _packaged(name: str, kind: str) -> ModelStatus:
    path = WEIGHTS_DIR / MICRO_FILES[kind]
    if not path.is_file():
        return ModelStatus(name, kind, False, str(path), "", "", "reinstall maskcast")
    digest = sha256(path)
    sums = WEIGHTS_DIR / "SHA256SUMS"
    listed = sums.read_text().split() if sums.is_file() else []
    check = ("ok" if digest in listed else "differs") if listed else "not checked"
    return ModelStatus(name, kind, True, str(path), digest, check, "")


def _on_hub(name: str, kind: str, hub_id: str, files: tuple[str, ...]) -> ModelStatus:
    path = cached_on_disk(hub_id, files)
    if path is None:
        get = f"huggingface-cli download {hub_id} {files[0]}"
        return ModelStatus(name, kind, False, "", "", "", get)
    digest = sha256(path)
    # The hub's cache names large files by their SHA-256, which the hub itself states.
    blob = os.path.basename(os.path.realpath(path))
    check = "not checked" if len(blob) != 64 else ("ok" if blob == digest else "differs")
    return ModelStatus(name, kind, True, str(path), digest, check, "")
