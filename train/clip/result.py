"""What a fine-tuning leaves: weights that runs load, cards, curves, and a table of figures."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import Tensor

from engines.checkpoint import sha256
from engines.clip_models import CONFIG_FILE, image_statistics
from engines.trained import TrainedModel, write_trained
from train.checkpoint import export_weights
from train.clip.recipe import ClipRecipe
from train.clip.wise import Mixed
from train.progress import curve_of, draw_curves, read_log

WEIGHTS_FILE = "open_clip_model.safetensors"
_BESIDE = ("config.json", "tokenizer.json")
"""What a multilingual model needs besides; copied from beside the weights it began with."""

MEANING = {
    "image_to_text_1": "R@1, picture to text",
    "image_to_text_5": "R@5, picture to text",
    "image_to_text_10": "R@10, picture to text",
    "text_to_image_1": "R@1, text to picture",
    "text_to_image_5": "R@5, text to picture",
    "text_to_image_10": "R@10, text to picture",
    "attribute": "caption above one with a swapped attribute",
    "attribute_all": "caption above all of these",
    "dense_label": "objects whose label wins in their patches",
    "dense_auc": "patches of a label above background (AUC)",
    "agreement": "same answer as before on unrelated pictures",
    "text_cosine": "cosine of unrelated texts with before",
    "image_cosine": "cosine of unrelated pictures with before",
    "logit_scale": "logit scale",
}


def write_result(
    folder: Path,
    model: Any,
    weights: Mapping[str, Tensor],
    recipe: ClipRecipe,
    *,
    base: str,
    data: Mapping[str, Any],
    before: Mapping[str, float],
    table: Sequence[Mixed],
    kept: Mixed,
) -> TrainedModel:
    """Write weights, configuration, cards and figures; returns the card.

    Args:
        folder: Where `maskcast run --clip-weights` will look.
        model: The model, for its configuration.
        weights: What is written, as fp16.
        recipe: How they were made.
        base: Where the weights it began with came from: a path or `random:SEED`.
        data: What is known of the data set.
        before: Figures of the weights it began with.
        table: All shares that were tried.
        kept: The one whose weights these are.
    """
    digest = export_weights(dict(weights), folder / WEIGHTS_FILE)
    _write_json(folder / CONFIG_FILE, open_clip_config(recipe.model, model))
    beside = Path(base).parent if Path(base).is_file() else None
    for name in _BESIDE:
        if beside is not None and beside != folder and (beside / name).is_file():
            shutil.copyfile(beside / name, folder / name)
    card = TrainedModel(
        kind="clip",
        name=recipe.model,
        image_size=None,
        base_sha256=sha256(Path(base)) if Path(base).is_file() else "",
        sha256=digest,
        version=_version(),
        recipe={**recipe.model_dump(mode="json"), "data": recipe.data.name},
        data=dict(data),
        before=clean(before),
        after={**clean(kept.figures), "alpha": kept.alpha},
    )
    write_trained(folder, card)
    _write_json(folder / "figures.json", figures_json(before, table, kept))
    (folder / "README.md").write_text(model_card(card, table), "utf-8")
    return card


def open_clip_config(name: str, model: Any) -> dict[str, Any]:
    """Return what open_clip publishes beside weights: the architecture and how pictures go in."""
    import open_clip

    if name == "micro":
        text = resources.files("engines").joinpath("configs", "micro_clip.json").read_text("utf-8")
        architecture = json.loads(text)
    else:
        architecture = open_clip.get_model_config(name.partition("/")[0]) or {}
    mean, std = image_statistics(model.visual)
    return {"model_cfg": architecture, "preprocess_cfg": {"mean": list(mean), "std": list(std)}}


def figures_json(
    before: Mapping[str, float], table: Sequence[Mixed], kept: Mixed
) -> dict[str, Any]:
    """Return all figures as plain values; what could not be measured is null."""
    return {
        "before": clean(before),
        "after": clean(kept.figures),
        "alpha": kept.alpha,
        "wise": [{"alpha": row.alpha, **clean(row.figures)} for row in table],
    }


def clean(figures: Mapping[str, float]) -> dict[str, Any]:
    """Return figures with null for what is not a number."""
    return {k: (round(v, 6) if math.isfinite(v) else None) for k, v in figures.items()}


def model_card(card: TrainedModel, table: Sequence[Mixed]) -> str:
    """Return a model card in Markdown."""
    recipe, data = card.recipe, card.data
    lines = [
        f"# {card.name}, fine-tuned on {data['name']}",
        "",
        f"`maskcast run --clip {card.name} --clip-weights FOLDER`, with the name of this folder.",
        "",
        f"- Base model: `{card.name}`, weights sha256 `{card.base_sha256 or 'random'}`",
        f"- Weights: `{WEIGHTS_FILE}`, fp16, sha256 `{card.sha256}`",
        f"- Trained: {recipe['train']}{', text tower frozen' if recipe['freeze_text'] else ''}, "
        f"{data['steps']} steps of {recipe['batch']} pairs, learning rate {recipe['lr']}",
        f"- Mixed with the base model (WiSE-FT): alpha {card.after['alpha']:g}",
        f"- Data: {data['name']} ({data['format']}), {data['images']} images to train on, "
        f"{data['held_out']} held out, {data['captions']} captions, {data['labels']} labels",
        f"- Made by maskcast {card.version}; the whole recipe is in `maskcast_model.json`",
        "",
        "| figure | before | after |",
        "|---|---|---|",
    ]
    for name, old, new in rows(card.before, card.after):
        lines.append(f"| {name} | {old:.3f} | {new:.3f} |")
    lines += ["", "| alpha | recall | agreement | text cosine | image cosine |", "|" + "---|" * 5]
    names = ("recall", "agreement", "text_cosine", "image_cosine")
    for row in table:
        cells = " | ".join(f"{row.figures[name]:.3f}" for name in names)
        lines.append(f"| {row.alpha:g} | {cells} |")
    lines += ["", "![curves](loss.png)", "", "![held-out pictures](held_out.png)", ""]
    return "\n".join(lines)


def rows(
    before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> list[tuple[str, float, float]]:
    """Return what each figure says, and its values before and after, where there are both."""
    found = []
    for key, meaning in MEANING.items():
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None and math.isfinite(old) and math.isfinite(new):
            found.append((meaning, old, new))
    return found


def before_and_after(before: Mapping[str, float], kept: Mixed) -> Table:
    """Return the figures as a table for people."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("held-out pictures")
    for column in ("before", "after", "gain"):
        shown.add_column(column, justify="right")
    for name, old, new in rows(before, kept.figures):
        shown.add_row(name, f"{old:.3f}", f"{new:.3f}", f"{new - old:+.3f}")
    return shown


def wise_table(table: Sequence[Mixed], kept: Mixed) -> Table:
    """Return what each share of the trained weights is worth."""
    shown = Table(box=None, pad_edge=False)
    for column in ("alpha", "recall", "agreement", "text cosine", "image cosine"):
        shown.add_column(column, justify="right")
    names = ("recall", "agreement", "text_cosine", "image_cosine")
    for row in table:
        mark = " *" if row.alpha == kept.alpha else ""
        shown.add_row(f"{row.alpha:g}{mark}", *(f"{row.figures[name]:.3f}" for name in names))
    return shown


def draw_log(folder: Path) -> None:
    """Draw `loss.png` from the log."""
    log = read_log(folder / "log.jsonl")
    parts = ("to_text", "to_image", "dense")
    looks = ("recall", "image_to_text_1", "text_to_image_1")
    draw_curves(
        folder / "loss.png",
        {
            "loss": {"loss": curve_of(log, "loss")},
            "parts": {name: curve_of(log, name) for name in parts},
            "held out": {name: curve_of(log, name) for name in looks},
        },
    )


def rounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as they are read back from the folder, so that figures are of the result."""
    return {k: v.half().float() if v.is_floating_point() else v for k, v in weights.items()}


def _write_json(path: Path, value: Any) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(partial, path)


def _version() -> str:
    try:
        return version("maskcast")
    except PackageNotFoundError:
        return "unknown"
