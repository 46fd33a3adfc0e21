"""Options that several commands take, each said once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

Texts = Annotated[list[str] | None, typer.Option(help="What to look for; may be given again.")]
Negatives = Annotated[list[str] | None, typer.Option(help="What it is not; may be given again.")]
TrackerModel = Annotated[
    str | None, typer.Option(help="micro, sam2.1-tiny, -small, -base-plus or -large.")
]
TrackerWeights = Annotated[
    str | None, typer.Option(help="Tracker weights: a path, a hub id or random:SEED.")
]
ClipModel = Annotated[str | None, typer.Option(help="micro or an open_clip name.")]
ClipWeights = Annotated[
    str | None, typer.Option(help="CLIP weights: a path, a hub id or random:SEED.")
]
Every = Annotated[int | None, typer.Option(help="Detect on every N-th frame.")]
Minutes = Annotated[float | None, typer.Option(help="End after so many minutes.")]
JsonList = Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")]


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, as overrides of a configuration.

    Args:
        options: Values by dotted key; None where an option was not given.
    """
    return {key: value for key, value in options.items() if value is not None}


def asked(
    text: list[str] | None,
    negative: list[str] | None,
    model: str | None,
    weights: str | None,
    clip: str | None,
    clip_weights: str | None,
    every: int | None,
) -> dict[str, Any]:
    """Return what is looked for, and with which models, by dotted key; None where not given."""
    return {
        "texts": text or None,
        "negatives": negative or None,
        "tracker.model": model,
        "tracker.weights": weights,
        "detector.clip": clip,
        "detector.weights": clip_weights,
        "detector.every_n_frames": every,
    }
