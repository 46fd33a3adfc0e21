"""What draws the edges of masks again, by the model's name and weights."""

from __future__ import annotations

from pathlib import Path

from engines.checkpoint import RANDOM
from engines.edges import Edges
from engines.errors import ModelError
from engines.refiner import load_refiner
from engines.registry.names import default_cleanup
from engines.registry.places import WEIGHTS_DIR
from engines.settings import Cleanup

REFINER_FILE = "maskcast_refiner.safetensors"
SEGMENTER_ENDING = "_sam2.safetensors"
PACKAGED = WEIGHTS_DIR / "micro_refiner.safetensors"


def load_edges(
    name: str,
    weights: str | None = None,
    *,
    cleanup: Cleanup | None = None,
    device: str = "cpu",
    precision: str = "auto",
) -> Edges:
    """Load a model's refiner.

    Args:
        name: Of the model.
        weights: As for `load_tracker`. Beside `X_sam2.safetensors` is looked for
            `X_refiner.safetensors`, beside others and in folders for
            `maskcast_refiner.safetensors`. For `micro` there is one in the package, which serves
            other weights of `micro` as well: it belongs to no segmenter, but knows cells only.
        cleanup: What is done to masks after the model; None for the model's own way.
        device: A torch device.
        precision: `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        ModelError: There is none, or the file is none.
    """
    rules = cleanup or default_cleanup(name)
    path = refiner_path(name, weights) or (PACKAGED if name == "micro" else None)
    if path == PACKAGED and not path.is_file():
        raise ModelError(f"{path}: the refiner of the micro models is missing; reinstall")
    if path is None:
        raise ModelError(
            f"refine: {name} has no network that draws edges again; accepted are micro, or weights "
            f"with a {REFINER_FILE} beside them (`maskcast train micro` makes it); or leave "
            "tracker.refine at false"
        )
    return Edges(
        load_refiner(path),
        one_piece=rules.one_piece,
        apart=rules.non_overlap,
        device=device,
        precision=precision,
    )


def refiner_path(name: str, weights: str | None = None) -> Path | None:
    """Return where the refiner lies that was made with these weights; None where none was.

    Args:
        name: Of the model.
        weights: As for `load_edges`. Only micro's own weights have the one in the package: who
            trained micro on other objects has not said that it knows them.
    """
    return PACKAGED if name == "micro" and weights is None else _beside(weights)


def _beside(weights: str | None) -> Path | None:
    if weights is None or weights.startswith(RANDOM):
        return None
    path = Path(weights).expanduser()
    if path.is_dir():
        beside = path / REFINER_FILE
    else:
        named = path.name.removesuffix(SEGMENTER_ENDING)
        own = f"{named}_refiner.safetensors" if named != path.name else REFINER_FILE
        beside = path.parent / own
    return beside if beside.is_file() else None
