"""`maskcast export`: networks become artefacts that are proven to give what torch gives."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.commands.options import ClipWeights, TrackerWeights
from stream.errors import MaskcastError, UsageError

if TYPE_CHECKING:
    from export.run import Order, Parity

FORMATS = ("onnx", "openvino", "tensorrt", "torch")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
KINDS = ("sam2", "clip")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A tracker's model, a CLIP model, or micro, which is both."
        ),
    ],
    to: Annotated[str, typer.Option(help="onnx, openvino, tensorrt or torch.")],
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, bf16 or int8; auto: what each network tolerates.")
    ] = "auto",
    image_size: Annotated[
        int | None, typer.Option(help="Side of the tracker's square input in pixels.")
    ] = None,
    clip_size: Annotated[
        int | None, typer.Option(help="Side of the square that CLIP sees, in pixels.")
    ] = None,
    dense: Annotated[
        str, typer.Option(help="How CLIP's last block is read, as detector.dense.")
    ] = "naclip",
    weights: TrackerWeights = None,
    clip_weights: ClipWeights = None,
    only: Annotated[str | None, typer.Option(help="Of micro: sam2 or clip.")] = None,
    objects: Annotated[
        int, typer.Option(min=1, max=64, help="Objects in the film that is compared.")
    ] = 4,
    frames: Annotated[int, typer.Option(min=8, help="Length of that film.")] = 50,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Where to; without it where run looks for it.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write what was found out.")
    ] = None,
) -> None:
    """Export a model, compare it with torch call by call and over a film, keep it if it agrees."""
    for value, accepted, name in ((to, FORMATS, "--to"), (precision, PRECISIONS, "--precision")):
        if value not in accepted:
            raise UsageError(f"{name} {value}: accepted are {', '.join(accepted)}")
    kinds = _kinds(model, only)
    wanted = {
        "image_size": image_size, "clip_size": clip_size, "dense": dense, "weights": weights,
        "clip_weights": clip_weights, "objects": objects, "frames": frames,
    }  # fmt: skip
    found = {}
    for kind in kinds:
        folder = out / kind if out is not None and len(kinds) > 1 else out
        order = _order(model, kind, to, precision, device, folder, wanted)
        found[kind] = _export(kind, model, order, wanted)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise MaskcastError(f"{json_file}: cannot be written: {error.strerror}") from error


def _kinds(model: str, only: str | None) -> tuple[str, ...]:
    from engines.build import SAM2_NAMES

    if only is not None and only not in KINDS:
        raise UsageError(f"--only {only}: accepted are {', '.join(KINDS)}")
    possible = KINDS if model == "micro" else ("sam2",) if model in SAM2_NAMES else ("clip",)
    if only is not None and only not in possible:
        raise UsageError(f"--only {only}: {model} is a model of {', '.join(possible)}")
    return (only,) if only else possible


def _order(
    model: str,
    kind: str,
    to: str,
    precision: str,
    device: str,
    out: Path | None,
    wanted: dict[str, Any],
) -> Order:
    from export.run import Order

    words = ["maskcast", "export", model, "--to", to]
    if model == "micro":
        words += ["--only", kind]
    told = {"precision": precision if precision != "auto" else None, "out": out}
    if kind == "sam2":
        told |= {"image-size": wanted["image_size"], "weights": wanted["weights"]}
    else:
        told |= {"clip-size": wanted["clip_size"], "clip-weights": wanted["clip_weights"]}
        told |= {"dense": wanted["dense"] if wanted["dense"] != "naclip" else None}
    if device != "cpu":
        told["device"] = device
    for name, value in told.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    return Order(to, precision, shlex.join(words), out, device)


def _export(kind: str, model: str, order: Order, wanted: dict[str, Any]) -> dict[str, Any]:
    from engines.errors import ModelError
    from engines.registry import check_device
    from export.run import ParityError

    try:
        check_device(order.device)
        frames = 2 * wanted["frames"] if kind == "sam2" else 0
        with _progress(f"{model} ({kind})", frames) as (say, tick):
            run = _sam2 if kind == "sam2" else _clip
            folder, parity = run(model, order, wanted, say, tick)
    except ParityError as error:
        _show(kind, error.parity)
        raise MaskcastError(f"{model} ({kind}) to {order.to}: {error}") from error
    except (ModelError, ValueError) as error:
        raise UsageError(str(error)) from error
    _show(kind, parity)
    for said in parity.tried:
        typer.echo(f"{model} ({kind}): not {said}; fp32 was taken for it", err=True)
    typer.echo(f"{folder}")
    return {"folder": str(folder), "backend": order.backend, **parity.to_json()}


def _sam2(
    model: str,
    order: Order,
    wanted: dict[str, Any],
    say: Callable[[str], None],
    tick: Callable[[], None],
) -> tuple[Path, Parity]:
    from engines.registry import load_sam2
    from export.models import export_sam2

    loaded = load_sam2(model, wanted["weights"], wanted["image_size"])
    return export_sam2(order, loaded, wanted["frames"], wanted["objects"], say, tick)


def _clip(
    model: str,
    order: Order,
    wanted: dict[str, Any],
    say: Callable[[str], None],
    tick: Callable[[], None],
) -> tuple[Path, Parity]:
    from engines.registry import load_clip
    from export.models import export_clip
    from stream.core.detect import default_clip_size

    del tick  # a handful of pictures needs no bar
    loaded = load_clip(model, wanted["clip_weights"])
    side_px = wanted["clip_size"] or default_clip_size(model, loaded.model.visual)
    return export_clip(order, loaded, side_px, wanted["dense"], min(wanted["frames"], 12), say)


def _show(kind: str, parity: Parity) -> None:
    """Print what was found out: a line for each output, and the whole."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("network", "precision", "output", "largest error", "of", "relative"):
        table.add_column(column, justify="right" if column in ("largest error", "of") else "left")
    for network, outputs in parity.tensors.items():
        for name, error in outputs.items():
            table.add_row(
                network, parity.precisions[network], name, f"{error.max_abs:.2g}",
                f"{error.largest:.2g}", f"{error.relative:.1e}",
            )  # fmt: skip
    console = Console()
    console.print(table)
    film = parity.to_json()["film"]
    if film is None:
        return
    if kind == "sam2":
        console.print(
            f"masks of {film['objects']} objects in {film['frames']} frames: mean IoU with torch "
            f"{film['mean_iou']:.4f}, in the last frame {film['last_iou']:.4f}, least "
            f"{film['least_iou']:.3f}",
            highlight=False,
        )
    else:
        console.print(f"least cosine with torch {film['least_cosine']:.4f}", highlight=False)


@contextmanager
def _progress(
    title: str, frames: int
) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """Show what is being done, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=frames or None)
        yield (
            lambda what: progress.update(task, description=f"{title}: {what}"),
            lambda: progress.advance(task),
        )
