"""The official SAM 2.1 video predictor and maskcast's tracker, side by side on the same frames.

    python tools/compare_sam2.py [--objects 1,4,8,16] [--frames 20] [--image-size 512]
        [--model sam2.1-tiny] [--weights random:0] [--precision bf16] [--official-precision bf16]
        [--source FOLDER] [--threads 2] [--floor] [--json FILE]
    python tools/compare_sam2.py --backend openvino --precision bf16 --no-memory
    python tools/compare_sam2.py --matrix          # all four sizes of model at 256, 512 and 1024 px
    python tools/compare_sam2.py --device cuda --vos-optimized --objects 1,16 --image-size 1024
        --precision bf16 --official-precision bf16 --frames 60

Both have the same weights and see the same normalised pixels. Times are taken frame by frame in
turn in one process, so that a noisy machine slows both; neither enlarges its masks to the frame.
How many times faster: the median over the frames, in time and, in brackets, in processor time.
Memory is taken in a process of its own for each: the largest growth of resident memory after the
model was loaded and the film drawn, and, counted tensor by tensor, what each further frame adds for
good. The official predictor is given the clip as a whole, as it needs it. On a card each time ends
when the card is done, memory and the encoder alone are not measured, and `--vos-optimized` compares
with the compiled predictor; its first frames, in which it compiles, do not count.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from compare_engines import (
    BACKENDS,
    best_product,
    check_backend,
    check_card,
    count_encoder,
    encoder_times,
    engines_of,
)
from compare_measure import (
    SIZES_PX,
    WARM_UP,
    Agreement,
    Figures,
    Row,
    growth,
    matrix,
    measure_memory,
    race,
    run_alone,
)
from compare_sides import CONFIGS, PRECISIONS, PROMPTS, SIDES, Plan, load_model
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from engines.errors import ModelError
from stream.errors import MaskcastError, UsageError
from stream.report import check_writable

# Of the machine before this program adds to it.
LOAD = os.getloadavg()[0]


def table_of(rows: list[Row]) -> Table:
    """Return the comparison as a table."""
    table = Table()
    for title in (
        "objects",
        "official\nms (encoder + rest)",
        "maskcast\nms (encoder + rest)",
        "times faster\n(proc. time)",
        "official MiB\n(each frame)",
        "maskcast MiB\n(each frame)",
        "largest logit\ndifference",
        "IoU: mean\n(smallest)",
    ):
        table.add_column(title, justify="right")
    for row in rows:
        both = (row.official, row.maskcast)
        table.add_row(
            str(row.objects),
            *(f"{f.frame_ms:.0f} ({f.encode_ms:.0f} + {f.track_ms:.0f})" for f in both),
            f"{row.times_faster:.2f} ({row.times_less_work:.2f})",
            *(
                "-" if f.peak_mib is None else f"{f.peak_mib:.0f} ({f.growth_mib:+.2f})"
                for f in both
            ),
            difference_of(row.masks.largest_logit_difference, row.masks.floor),
            f"{row.masks.mean_iou:.4f} ({row.masks.smallest_iou:.3f})",
        )
    return table


def matrix_table_of(cells: list[dict[str, Any]]) -> Table:
    """Return the largest logit differences, a row for each model."""
    table = Table("model", *(f"{size} px" for size in SIZES_PX))
    for model in CONFIGS:
        found = [
            difference_of(c["largest_logit_difference"], c["floor"])
            for c in cells
            if c["model"] == model
        ]
        table.add_row(model, *found)
    return table


def difference_of(logits: float, floor: float | None) -> str:
    """Return a logit difference, with that of the official predictor from itself behind it."""
    return f"{logits:.1e}" if floor is None else f"{logits:.1e} ({floor:.1e})"


def notes(plan: Plan, masks: list[Agreement]) -> list[str]:
    """Return what a reader has to know about the figures."""
    low = min(m.smallest_share for m in masks)
    high = max(m.largest_share for m in masks)
    lines = [
        f"official in {plan.official_precision}, maskcast in {plan.precision}, "
        f"prompt {plan.prompt}, {plan.frames} frames, weights {plan.weights}",
        f"{plan.threads} threads, {machine(plan)}, torch {torch.__version__}, "
        f"load before {LOAD:.1f}",
        f"official masks cover {low:.0%} to {high:.0%} of the frame, "
        f"official logits reach {max(m.largest_logit for m in masks):.1f}",
    ]
    if plan.weights.startswith("random:"):
        lines.append(
            "random weights: masks mean nothing; the bias of the object score is raised to 3 so "
            "that they are not empty, and layers are scaled so that prompts and memories show"
        )
    if any(m.floor is not None for m in masks):
        lines.append(
            "in brackets: how far the official predictor is from itself with another number of "
            "threads, which is what rounding alone makes of these weights"
        )
    if high == 0.0 or low == 1.0:
        lines.append("all masks are empty or full: the IoU says nothing here")
    return lines


def machine(plan: Plan) -> str:
    """Return the name of what is computed on."""
    return processor() if plan.device == "cpu" else torch.cuda.get_device_name(plan.device)


def processor() -> str:
    """Return the processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def compare(
    objects: Annotated[str, typer.Option(help="Numbers of objects, with commas.")] = "1,4,8,16",
    frames: Annotated[int | None, typer.Option(help="20; 4 with --matrix.")] = None,
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 512,
    model: Annotated[str, typer.Option(help=", ".join(CONFIGS))] = "sam2.1-tiny",
    weights: Annotated[str, typer.Option(help="A path, a hub id or random:SEED.")] = "random:0",
    precision: Annotated[str, typer.Option(help="maskcast's: fp32 or bf16.")] = "fp32",
    official_precision: Annotated[str, typer.Option(help="bf16: under autocast.")] = "fp32",
    prompt: Annotated[str, typer.Option(help=", ".join(PROMPTS))] = "box",
    source: Annotated[str | None, typer.Option(help="A folder of pictures.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    floor: Annotated[
        bool, typer.Option("--floor", help="Compare the official one with itself as well.")
    ] = False,
    memory: Annotated[bool, typer.Option(help="Measure memory as well.")] = True,
    all_models: Annotated[bool, typer.Option("--matrix", help="Logits of all models.")] = False,
    backend: Annotated[str, typer.Option(help="maskcast's: " + ", ".join(BACKENDS))] = "torch",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N, for both.")] = "cpu",
    vos_optimized: Annotated[
        bool, typer.Option("--vos-optimized", help="The official one compiled; needs cuda.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    alone: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> int:
    """Compare time, memory and masks."""
    counts = parse_counts(objects)
    plan = Plan(
        model=_one_of("--model", model, tuple(CONFIGS)),
        weights=weights,
        image_size=image_size,
        frames=frames if frames is not None else (4 if all_models else 20),
        threads=threads,
        precision=_one_of("--precision", precision, PRECISIONS),
        official_precision=_one_of("--official-precision", official_precision, PRECISIONS),
        prompt=_one_of("--prompt", prompt, PROMPTS),
        source=source,
        backend=_one_of("--backend", backend, BACKENDS),
        device=device,
        vos_optimized=vos_optimized,
    )
    check_card(plan.device, plan.backend, vos_optimized=vos_optimized, floor=floor)
    check_backend(plan.backend, plan.precision)
    least = 2 if all_models else WARM_UP + 2
    if plan.frames < least:
        raise UsageError(f"--frames {plan.frames}: at least {least} are needed")
    if all_models and not weights.startswith("random:"):
        raise UsageError(f"--weights {weights}: --matrix needs random:SEED, as models differ")
    if json_file is not None:
        check_writable(json_file)
    torch.set_num_threads(threads)
    if alone is not None:
        print(json.dumps(run_alone(plan, counts[0], _one_of("--alone", alone, tuple(SIDES)))))
        return 0
    shown, data = _matrix(plan, floor) if all_models else _rows(plan, counts, memory, floor)
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(*shown, sep="\n", highlight=False)
    if json_file is not None:
        about = {"plan": asdict(plan), "processor": processor(), "torch": torch.__version__}
        json_file.write_text(json.dumps(about | data, indent=1) + "\n")
    return 0


def _rows(
    plan: Plan, counts: list[int], memory: bool, floor: bool
) -> tuple[list[Any], dict[str, Any]]:
    model, rows = load_model(plan), []
    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("frames", total=len(counts) * (plan.frames - 1))
        for count in counts:
            rows.append(race(plan, model, count, lambda: bar.advance(task), floor))
        del model
        memory = memory and plan.device == "cpu"
        task = bar.add_task("memory", total=len(rows) * len(SIDES), visible=memory)
        for row, name in product(rows if memory else [], SIDES):
            figures: Figures = getattr(row, name)
            figures.peak_mib, figures.growth_mib = measure_memory(plan, row.objects, name)
            bar.advance(task)
    lines = notes(plan, [row.masks for row in rows])
    title = f"{plan.model} at {plan.image_size} px, maskcast by {plan.backend}"
    data: dict[str, Any] = {"rows": [asdict(row) for row in rows], "growth": growth(rows)}
    lines += growth_lines(data["growth"])
    if plan.device == "cpu":
        data["encoder"] = measure_encoder(plan)
        lines.append(encoder_line(plan, data["encoder"]))
    return [title, table_of(rows), *lines], data


def growth_lines(found: dict[str, Any]) -> list[str]:
    """Say how time grows with the number of objects, where there are two."""
    if found["few"] == found["many"]:
        return []
    said = ", ".join(f"{name} {found[name]:.2f}" for name in SIDES if name in found)
    return [f"time({found['many']}) / time({found['few']}): {said}"]


def measure_encoder(plan: Plan) -> dict[str, float]:
    """Time the image encoder alone, and a matrix product for comparison."""
    model = load_model(plan)
    official_s, eager_s, own_s = encoder_times(
        model, engines_of(model, plan.backend, plan.precision), plan.precision
    )
    return {
        "official_ms": round(1e3 * official_s, 1),
        "eager_ms": round(1e3 * eager_s, 1),
        "own_ms": round(1e3 * own_s, 1),
        "times_faster": round(official_s / own_s, 2),
        "gflop": round(count_encoder(model) / 1e9, 1),
        "gflops": round(count_encoder(model) / own_s / 1e9, 1),
        "best_product_gflops": round(best_product(plan.precision) / 1e9, 1),
    }


def encoder_line(plan: Plan, found: dict[str, float]) -> str:
    """Say how fast the image encoder is, and how near that is to the machine."""
    share = found["gflops"] / found["best_product_gflops"]
    return (
        f"image encoder alone: official {found['official_ms']:.0f} ms in eager float32, maskcast's "
        f"{found['eager_ms']:.0f}; {plan.backend} in {plan.precision} {found['own_ms']:.0f} ms, "
        f"{found['times_faster']:.2f} times faster than the official: "
        f"{found['gflop']:.0f} GFLOP at {found['gflops']:.0f} GFLOP/s, {share:.0%} of the best "
        f"matrix product of this run ({found['best_product_gflops']:.0f} GFLOP/s)"
    )


def _matrix(plan: Plan, floor: bool) -> tuple[list[Any], dict[str, Any]]:
    with Progress(transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("models", total=len(CONFIGS) * len(SIZES_PX))
        cells = matrix(plan, lambda: bar.advance(task), floor)
    keys = [field.name for field in fields(Agreement)]
    lines = notes(plan, [Agreement(**{key: cell[key] for key in keys}) for cell in cells])
    return ["Largest logit difference", matrix_table_of(cells), *lines], {"matrix": cells}


def parse_counts(text: str) -> list[int]:
    """Turn `1,4,8` into numbers.

    Raises:
        UsageError: Something in it is not a whole number of 1 or more.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--objects {text!r}: accepted are whole numbers from 1, as in 1,4,8")
    return [int(part) for part in parts]


def _one_of(option: str, value: str, accepted: tuple[str, ...]) -> str:
    if value not in accepted:
        raise UsageError(f"{option} {value!r} is unknown; accepted are {', '.join(accepted)}")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and return the exit status."""
    app = typer.Typer(add_completion=False)
    app.command(help=(__doc__ or "").splitlines()[0])(compare)
    try:
        command = typer.main.get_command(app)
        found = command.main(None if arguments is None else list(arguments), standalone_mode=False)
        return int(found or 0)
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except (MaskcastError, ModelError, typer.TyperException) as error:
        text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        print(f"compare_sam2: {' '.join(text.split())}", file=sys.stderr)
        return error.exit_status if isinstance(error, MaskcastError) else 2


if __name__ == "__main__":
    sys.exit(main())
