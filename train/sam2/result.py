"""What a fine-tuning leaves: weights, card, model card, curves, and a table of figures."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from engines.checkpoint import sha256
from engines.trained import WEIGHTS_FILE, TrainedModel, write_trained
from train.checkpoint import export_weights
from train.progress import curve_of, draw_curves, read_log
from train.sam2.recipe import Recipe

Figures = Mapping[str, Mapping[str, float]]
"""Name of what was measured on -> figure -> value."""

_MEANING = {
    "click": "IoU, one click",
    "click+1": "IoU, and one correction",
    "click+3": "IoU, and three corrections",
    "box": "IoU, box",
    "J mask": "J followed, mask",
    "J box": "J followed, box",
}


def blend(
    start: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Interpolate between weights (Wortsman et al. 2022): 0 is the start, 1 the trained ones."""
    if share >= 1.0:
        return dict(trained)
    return {
        name: torch.lerp(start[name].float(), value.float(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in trained.items()
    }


def write_result(
    folder: Path,
    weights: dict[str, Tensor],
    recipe: Recipe,
    *,
    base: str,
    data: Mapping[str, Any],
    before: Figures,
    after: Figures,
) -> TrainedModel:
    """Write weights, `maskcast_model.json` and `README.md`; returns the card.

    Args:
        folder: Where `maskcast run --weights` will look.
        weights: Of the model.
        recipe: Resolved.
        base: Where the weights it began with came from: a path or `random:SEED`.
        data: What is known of the data set.
        before: Figures of the weights it began with.
        after: Figures of these weights.
    """
    digest = export_weights(weights, folder / WEIGHTS_FILE)
    card = TrainedModel(
        kind="sam2",
        name=recipe.model,
        image_size=recipe.image_size,
        base_sha256=sha256(Path(base)) if Path(base).is_file() else "",
        sha256=digest,
        version=_version(),
        recipe=_plain(recipe),
        data=dict(data),
        before={name: dict(values) for name, values in before.items()},
        after={name: dict(values) for name, values in after.items()},
    )
    write_trained(folder, card)
    (folder / "README.md").write_text(model_card(card), "utf-8")
    return card


def model_card(card: TrainedModel) -> str:
    """Return a model card in Markdown."""
    recipe = card.recipe
    length = [f"{card.data.get('steps', 0)} steps"]
    if recipe.get("wise", 1.0) < 1.0:
        length.append(f"{recipe['wise']:g} of the trained weights, the rest of the old ones")
    lines = [
        f"# {card.name}, fine-tuned on {card.data.get('name', 'a data set')}",
        "",
        f"`maskcast run --model {card.name} --weights FOLDER`, with the name of this folder.",
        "",
        f"- Base model: `{card.name}`, weights sha256 `{card.base_sha256 or 'random'}`",
        f"- Weights: `{WEIGHTS_FILE}`, fp16, sha256 `{card.sha256}`",
        f"- Input: {card.image_size} x {card.image_size} pixels",
        f"- Trained: {recipe.get('train')}, {', '.join(length)}, learning rate {recipe.get('lr')}",
        f"- Data: {card.data.get('name')} ({card.data.get('format')}), "
        f"{card.data.get('images')} images and {card.data.get('videos')} films to train on, "
        f"{card.data.get('held_out')} held out",
        f"- Made by maskcast {card.version}; the whole recipe is in `maskcast_model.json`",
        "",
        "| measured on | figure | before | after |",
        "|---|---|---|---|",
    ]
    for where, name, old, new in rows(card.before, card.after):
        lines.append(f"| {where} | {_MEANING.get(name, name)} | {old:.3f} | {new:.3f} |")
    lines += ["", "![loss](loss.png)", "", "![samples](samples/after.png)", ""]
    return "\n".join(lines)


def rows(before: Figures, after: Figures) -> list[tuple[str, str, float, float]]:
    """Return what was measured on, the figure, and its values before and after."""
    return [
        (where, name, values[name], after[where][name])
        for where, values in before.items()
        for name in _MEANING
        if where in after and name in values and name in after[where]
    ]


def table(before: Figures, after: Figures) -> Table:
    """Return the figures as a table for people."""
    shown = Table(box=None, pad_edge=False)
    for column in ("measured on", "figure"):
        shown.add_column(column, no_wrap=True)
    for column in ("before", "after", "gain"):
        shown.add_column(column, justify="right")
    last = ""
    for where, name, old, new in rows(before, after):
        gain = f"{new - old:+.3f}"
        label = f"{where} ({before[where].get('objects', 0):.0f} objects)" if where != last else ""
        shown.add_row(label, _MEANING[name], f"{old:.3f}", f"{new:.3f}", gain)
        last = where
    return shown


def draw_log(folder: Path) -> None:
    """Draw `loss.png` from the log."""
    log = read_log(folder / "log.jsonl")
    parts = ("mask", "dice", "iou", "score")
    shown = ("box", "click", "correct", "track")
    draw_curves(
        folder / "loss.png",
        {
            "loss": {"loss": curve_of(log, "loss")},
            "parts": {name: curve_of(log, f"loss_{name}") for name in parts},
            "IoU in training": {name: curve_of(log, f"iou_{name}") for name in shown},
            "held-out IoU": {"score": curve_of(log, "held_out")},
        },
    )


def _plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON data; of paths the last part only, which gives nobody away."""
    values = recipe.model_dump(mode="json")
    values["data"] = recipe.data.name
    values["test"] = [path.name for path in recipe.test]
    values["replay"] = [path.name for path in recipe.replay]
    if recipe.weights and "/" in recipe.weights and not recipe.weights.startswith("random:"):
        values["weights"] = Path(recipe.weights).name
    return values


def _version() -> str:
    try:
        return version("maskcast")
    except PackageNotFoundError:
        return "unknown"
