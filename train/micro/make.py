"""Make the micro models: films, segmenter, refiner, CLIP, calibration; each part is done once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engines.checkpoint import sha256
from stream.errors import MaskcastError, UsageError
from train.micro.calibrate import calibrate_files, calibration_stills
from train.micro.clip import ClipTrainer
from train.micro.clip_data import ClipPool
from train.micro.data import DataError, check
from train.micro.films import draw_films
from train.micro.looks import ClipLook, SegmenterLook
from train.micro.loop import Look, Pace, train
from train.micro.pool import Pool, load_pool
from train.micro.recipe import MicroRecipe
from train.micro.refiner import RefinerLook, RefinerTrainer
from train.micro.sam2 import SegmenterTrainer
from train.micro.trainer import Trainer
from train.ranks import Ranks, join

PARTS = ("films", "segmenter", "refiner", "clip", "calibration")
RECIPE = "recipe.json"
NAMES = {
    "segmenter": "micro_sam2.safetensors",
    "refiner": "micro_refiner.safetensors",
    "clip": "micro_clip.safetensors",
}
FINDER = "micro_finder.safetensors"
CALIBRATION = "micro_calibration.json"


@dataclass(frozen=True)
class Run:
    """One call of the command.

    Attributes:
        data: folder with the data sets.
        out: folder of the run.
        recipe: what is made.
        only: parts that are made; those that are done stay as they are.
        minutes: wall clock after which each training part pauses; None for none.
        device: `auto`, `cpu`, `cuda` ...
        threads: of the processor; 0 leaves torch's own number.
        workers: processes that draw batches ahead; None chooses by the device.
    """

    data: Path
    out: Path
    recipe: MicroRecipe
    only: tuple[str, ...] = PARTS
    minutes: float | None = None
    device: str = "auto"
    threads: int = 0
    workers: int | None = None


def make(run: Run, say: Callable[[str], None]) -> bool:
    """Make what is not made yet; a run that was stopped goes on where it was.

    Args:
        run: what, from what, where.
        say: takes lines for the user.

    Returns:
        Whether everything that was asked for is done.

    Raises:
        UsageError: The data is not as it must be, or the folder holds a run of another recipe.
    """
    claim(run)
    ranks = join(run.device)
    if run.threads:
        torch.set_num_threads(run.threads)
    try:
        if ranks.first and any(part in run.only and not _done(run, part) for part in NAMES):
            check(run.data)
        steps: dict[str, Callable[[], bool]] = {
            "films": lambda: _films(run, ranks, say),
            "segmenter": lambda: _segmenter(run, ranks),
            "refiner": lambda: _refiner(run, ranks),
            "clip": lambda: _clip(run, ranks),
            "calibration": lambda: _calibration(run, ranks, say),
        }
        for part in PARTS:
            if part in run.only and not steps[part]():
                if ranks.first:
                    say(f"{part} is not done yet; the same command goes on with it")
                return False
    except DataError as error:
        raise UsageError(str(error)) from error
    finally:
        ranks.leave()
    return True


def claim(run: Run) -> None:
    """Bind a folder to its recipe.

    Raises:
        UsageError: It cannot be made, or holds a run of another recipe.
    """
    try:
        run.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {run.out}: cannot be made: {error.strerror}") from error
    path, wanted = run.out / RECIPE, run.recipe.model_dump(mode="json")
    if not path.is_file():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(wanted, indent=2) + "\n", "utf-8")
        os.replace(partial, path)
        return
    differs = _differences(json.loads(path.read_text("utf-8")), wanted)
    if differs:
        raise UsageError(
            f"{run.out}: holds a run of another recipe ({', '.join(differs[:5])} differ); give "
            f"another --out, or begin from that recipe: {path}"
        )


def _differences(there: dict[str, Any], wanted: dict[str, Any], before: str = "") -> list[str]:
    """Dotted keys whose values differ."""
    found = []
    for key in sorted(there.keys() | wanted.keys()):
        one, other = there.get(key), wanted.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{before}{key}.")
        elif one != other:
            found.append(f"{before}{key}")
    return found


def _films(run: Run, ranks: Ranks, say: Callable[[str], None]) -> bool:
    recipe = run.recipe.films
    if ranks.first:
        draw_films(run.out / "films", recipe, say)
    ranks.wait()
    return True


def _pace(run: Run, ranks: Ranks) -> Pace:
    spare = max(1, (os.cpu_count() or 1) // ranks.size - 1)
    workers = run.workers
    if workers is None:
        workers = min(14, spare) if ranks.device.type == "cuda" else 0
    return Pace(run.recipe.save_every_s, run.recipe.look_every, run.minutes, workers)


def _done(run: Run, part: str) -> bool:
    return (run.out / part / "weights.safetensors").is_file()


def _trained(
    run: Run, ranks: Ranks, part: str, title: str, begin: Callable[[], tuple[Trainer, Look]]
) -> bool:
    """Train a part that is not done yet; return whether it is now."""
    if _done(run, part):
        return True
    trainer, look = begin()
    return train(trainer, run.out / part, title, _pace(run, ranks), look, resume=True)


def _segmenter(run: Run, ranks: Ranks) -> bool:
    def begin() -> tuple[Trainer, Look]:
        pool, held_out = _pools(run, run.recipe.segmenter.film_share)
        trainer = SegmenterTrainer(pool, run.recipe.segmenter, run.recipe.seed, ranks)
        return trainer, SegmenterLook(held_out)

    return _trained(run, ranks, "segmenter", "segmenter", begin)


def _refiner(run: Run, ranks: Ranks) -> bool:
    def begin() -> tuple[Trainer, Look]:
        part = run.recipe.refiner
        pool, held_out = _pools(run, part.film_share, part.evenness)
        trainer = RefinerTrainer(pool, run.recipe.refiner, run.recipe.seed, ranks)
        return trainer, RefinerLook(held_out)

    return _trained(run, ranks, "refiner", "refiner", begin)


def _clip(run: Run, ranks: Ranks) -> bool:
    def begin() -> tuple[Trainer, Look]:
        recipe = run.recipe
        pool = ClipPool(
            run.data, False, recipe.clip.frames, recipe.clip.extra_shapes, recipe.held_out
        )
        look = ClipLook(ClipPool(run.data, True, 1, 0.0, recipe.held_out))
        return ClipTrainer(pool, recipe.clip, recipe.seed, ranks), look

    return _trained(run, ranks, "clip", "CLIP", begin)


def _pools(run: Run, film_share: float, evenness: float = 0.5) -> tuple[Pool, Pool]:
    """What is trained on, and the real images that are not."""
    percent = run.recipe.held_out
    pool = load_pool(run.data, run.out / "films", False, percent, film_share, evenness)
    return pool, load_pool(run.data, None, True, percent)


def _calibration(run: Run, ranks: Ranks, say: Callable[[str], None]) -> bool:
    """Put the package together: all weights, the fit of their scores, their sums."""
    if not ranks.first:
        return True
    missing = [part for part in NAMES if not _done(run, part)]
    if missing:
        named = " and ".join(part for part in (", ".join(missing[:-1]), missing[-1]) if part)
        say(f"calibration waits for {named}")
        return False
    package = run.out / "package"
    package.mkdir(exist_ok=True)
    files = {name: run.out / part / "weights.safetensors" for part, name in NAMES.items()}
    if (finder := run.out / "segmenter" / "finder.safetensors").is_file():
        files[FINDER] = finder
    for name, source in files.items():
        os.replace(_copied(source, package), package / name)
    recipe = run.recipe.calibration
    sam2, clip = (package / NAMES[part] for part in ("segmenter", "clip"))
    try:
        stills = calibration_stills(run.data, run.recipe.held_out, recipe.stills)
        calibrate_files(sam2, clip, recipe.films, recipe.frames, stills, package / CALIBRATION)
    except ValueError as error:
        raise MaskcastError(f"{package}: scores cannot be calibrated: {error}") from error
    sums = [f"{sha256(package / name)}  {name}\n" for name in sorted(files)]
    (package / "SHA256SUMS").write_text("".join(sums), "utf-8")
    say(f"the models are in {package}")
    return True


def _copied(source: Path, folder: Path) -> Path:
    partial = folder / f"{source.stem}.partial"
    partial.write_bytes(source.read_bytes())
    return partial
