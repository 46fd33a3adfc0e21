"""The tracker's section of the configuration as the settings that the models' side takes."""

from __future__ import annotations

from dataclasses import replace

from engines.edges import Edges
from engines.registry import default_cleanup, default_limits, load_edges, refiner_path
from engines.settings import Calm, Cleanup, Limits, Savings, Window
from stream.config import TrackerConfig


def limits(config: TrackerConfig) -> Limits:
    """Return how much is remembered: what the model was made for, unless the user says else."""
    chosen = config.memory.model_dump(exclude={"pool"}, exclude_none=True)
    return replace(default_limits(config.model), **chosen)


def savings(config: TrackerConfig) -> Savings:
    """Return what is left out for speed.

    Raises:
        ValueError: Two of them exclude each other.
    """
    return Savings(
        pool=config.memory.pool,
        window=Window(**config.window.model_dump()) if config.window else None,
        calm=Calm(**config.calm.model_dump()) if config.calm else None,
    )


def cleanup(config: TrackerConfig) -> Cleanup:
    """Return what is done to masks: the model's own way, unless the user says else."""
    own = default_cleanup(config.model)
    return Cleanup(
        non_overlap=own.non_overlap if config.non_overlap is None else config.non_overlap,
        one_piece=own.one_piece if config.one_piece is None else config.one_piece,
        fill_holes_px=config.fill_holes_px,
        drop_specks_px=config.drop_specks_px,
        smooth=config.smooth,
    )


def edges(config: TrackerConfig, wanted: bool | None, device: str) -> Edges | None:
    """Return what draws the edges of masks again.

    Args:
        config: Says for which model.
        wanted: Whether it is asked for; None: where the model has it.
        device: A torch device.

    Raises:
        ValueError: It is asked for, and the model has none.
    """
    if wanted is None:
        wanted = refiner_path(config.model, config.weights) is not None
    if not wanted:
        return None
    return load_edges(
        config.model,
        config.weights,
        cleanup=cleanup(config),
        device=device,
        precision=config.precision,
    )
