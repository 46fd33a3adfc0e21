"""What the measuring tools share: films with truth, prompts and masks, options, tables, errors."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as RichTable

from engines.errors import ModelError
from engines.images import mask_in_frame
from engines.objects import ObjectMask, Prompt
from stream.errors import MaskcastError, UsageError
from stream.evaluate import AnnotatedSequence, find_sequences

PIPE_WIDTH = 200


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def common_options(parser: argparse.ArgumentParser) -> None:
    """Add what both tools take."""
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="annotated sequences: images/ and masks/, or a folder of such; may be repeated",
    )
    parser.add_argument("--frames", type=positive, help="first frames of each sequence; all")
    parser.add_argument(
        "--objects", type=positive, help="objects followed at once, lowest ids first; all"
    )
    parser.add_argument("--model", default="micro")
    parser.add_argument("--weights", help="as of `maskcast run`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=positive, default=2, help="for the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")


def positive(text: str) -> int:
    """Read a whole number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def guarded(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    """Run a tool; what a person can mend ends it with one line and its status."""
    try:
        for path in (args.json, args.markdown):
            if path is not None and not path.resolve().parent.is_dir():
                raise UsageError(f"{path}: its folder is not there; make it first")
            if path is not None and path.is_dir():
                raise UsageError(f"{path}: is a folder; name a file")
        torch.set_num_threads(args.threads)
        main(args)
    except (MaskcastError, ModelError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 2)
    except KeyboardInterrupt:
        return 130
    return 0


def progress() -> Progress:
    """Return a bar that goes away and is not seen in pipes."""
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


# -- films -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Film:
    """A sequence in memory."""

    data: str
    """Name of the folder that was given."""
    name: str
    images: list[np.ndarray]
    """(H, W, 3) uint8 RGB each."""
    ids: list[np.ndarray]
    """(H, W) uint16 each."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.ids[0].shape


def find_data(folders: list[Path], frames: int | None) -> list[tuple[str, AnnotatedSequence]]:
    """Find the sequences of all folders, each with its folder's name.

    Raises:
        UsageError: No folder, or one of them is not good.
    """
    if not folders:
        raise UsageError("nothing to measure on: give --data DIR with images/ and masks/")
    found = []
    for folder in folders:
        name = folder.resolve().name
        found += [(name, film) for film in find_sequences(folder, frames=frames)]
    return found


def read_film(data: str, sequence: AnnotatedSequence) -> Film:
    """Read a sequence into memory."""
    frames = list(sequence.frames())
    return Film(data, sequence.name, [f.image for f in frames], [f.ids for f in frames])


def objects_in(ids: np.ndarray, limit: int | None) -> list[int]:
    """Return the lowest ids of a frame."""
    return [int(i) for i in np.unique(ids) if i][:limit]


def prompts_for(ids: np.ndarray, object_ids: Iterable[int]) -> dict[int, Prompt]:
    """Return the true masks of a frame as prompts."""
    return {object_id: Prompt(mask=ids == object_id) for object_id in object_ids}


def masks_in(results: Mapping[int, ObjectMask], size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Bring masks to frame size: id -> (H, W) bool."""
    masks = {}
    for object_id, result in results.items():
        inside, (x0, y0, x1, y1) = mask_in_frame(result.logits, size)
        masks[object_id] = np.zeros(size, np.bool_)
        masks[object_id][y0:y1, x0:x1] = inside
    return masks


# -- results -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """One table for people and for documents."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Return the table in Markdown, its title above."""
        lines = [self.title, "", _line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join(lines + [_line(row) for row in self.rows]) + "\n"

    def show(self) -> None:
        """Print the table."""
        table = RichTable(title=self.title, title_justify="left")
        for place, column in enumerate(self.columns):
            table.add_column(column, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*row)
        # A pipe has no width; a table must not be cut to a guess of one.
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """Return what figures depend on besides the code."""
    return {
        "model": args.model,
        "weights": args.weights,
        "device": args.device,
        "threads": args.threads,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


def write(args: argparse.Namespace, tables: list[Table], figures: dict[str, Any]) -> None:
    """Print the tables and write the files that were asked for."""
    for table in tables:
        table.show()
    if args.json is not None:
        args.json.write_text(json.dumps(machine(args) | figures, indent=1, allow_nan=False) + "\n")
    if args.markdown is not None:
        facts = machine(args)
        note = ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
        args.markdown.write_text("\n".join([note + "\n", *(t.markdown() for t in tables)]))
