"""How `compare_sam2.py` measures: times and masks in turn, memory in a process for each side."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from compare_sides import CONFIGS, SIDES, Plan, Side, load_film, load_model, make_prompt
from held import held

from engines.objects import Prompt
from engines.settings import Limits
from stream.errors import MaskcastError

SIZES_PX = (256, 512, 1024)
# From here on an object attends to as many spatial memories as it ever will.
WARM_UP = 8
# From here on the features of as many frames are kept as ever will be.
FULL = Limits().late_frames + 1


@dataclass(frozen=True)
class Spent:
    """What one side took for one frame, in seconds."""

    encode_s: float
    track_s: float
    processor_s: float

    @property
    def frame_s(self) -> float:
        """Time of the whole frame."""
        return self.encode_s + self.track_s


@dataclass
class Figures:
    """One side's result; times are medians over the frames after the warm-up."""

    frame_ms: float
    encode_ms: float
    track_ms: float
    processor_ms: float = 0.0
    peak_mib: float | None = None
    growth_mib: float | None = None
    """What is held longer of each frame counted exactly (`held.held`)."""


@dataclass
class Agreement:
    """How near the masks of the two come, over all frames and objects."""

    largest_logit_difference: float = 0.0
    largest_logit: float = 0.0
    """Of the official predictor, its sign left out, after the first frame."""
    smallest_iou: float = 1.0
    mean_iou: float = 1.0
    masks: int = 0
    smallest_share: float = 1.0
    """Of the frame, that an official mask covers after the first frame."""
    largest_share: float = 0.0
    floor: float | None = None
    """Largest difference of the official logits from its own with another number of threads."""

    def add(self, official: Sequence[np.ndarray], maskcast: Sequence[np.ndarray]) -> None:
        """Take the logits of one frame."""
        for theirs, ours in zip(official, maskcast, strict=True):
            difference = float(np.abs(theirs - ours).max())
            self.largest_logit_difference = max(self.largest_logit_difference, difference)
            both, either = (theirs > 0) & (ours > 0), (theirs > 0) | (ours > 0)
            iou = float(both.sum() / either.sum()) if either.any() else 1.0
            self.smallest_iou = min(self.smallest_iou, iou)
            self.mean_iou += (iou - self.mean_iou) / (self.masks + 1)
            self.masks += 1
            self.largest_logit = max(self.largest_logit, float(np.abs(theirs).max()))
            share = float((theirs > 0).mean())
            self.smallest_share = min(self.smallest_share, share)
            self.largest_share = max(self.largest_share, share)


@dataclass
class Row:
    """The result for one number of objects."""

    objects: int
    official: Figures
    maskcast: Figures
    times_faster: float
    """Median over the frames of official time over maskcast's."""
    times_less_work: float
    """The same in processor time, which other programs on the machine disturb less."""
    masks: Agreement


def race(
    plan: Plan, model: Any, objects: int, tick: Callable[[], None], floor: bool = False
) -> Row:
    """Run both frame by frame in turn.

    Args:
        plan: What is compared.
        model: The weights.
        objects: How many.
        tick: Called after each frame.
        floor: Whether the official predictor is compared with itself as well.
    """
    film, regions = load_film(plan, objects)
    prompts = [make_prompt(region, plan.prompt) for region in regions]
    sides = {name: make(model, plan, film) for name, make in SIDES.items()}
    for side in sides.values():
        side.prompt(prompts)
    masks = Agreement()
    masks.add(*(side.track(0) for side in sides.values()))
    # A mask given as a prompt is answered by itself, which says nothing about the models.
    masks = replace(Agreement(), largest_logit_difference=masks.largest_logit_difference)
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    official = []
    for index in range(1, plan.frames):
        logits: dict[str, list[np.ndarray]] = {}
        # Each goes first in every other frame.
        for name in list(sides)[:: 1 if index % 2 else -1]:
            took, logits[name] = _timed(sides[name], index, plan.settle)
            spent[name].append(took)
        masks.add(*(logits[name] for name in sides))
        official.append(logits["official"])
        tick()
    if floor:
        masks.floor = _against_itself(plan, SIDES["official"](model, plan, film), prompts, official)
    theirs, ours = (spent[name][WARM_UP - 1 :] for name in SIDES)
    return Row(
        objects,
        _figures(theirs),
        _figures(ours),
        _ratio([a.frame_s for a in theirs], [b.frame_s for b in ours]),
        _ratio([a.processor_s for a in theirs], [b.processor_s for b in ours]),
        masks,
    )


def _timed(side: Side, index: int, settle: Callable[[], None]) -> tuple[Spent, list[np.ndarray]]:
    settle()
    processor, start = time.process_time(), time.perf_counter()
    side.encode(index)
    settle()
    middle = time.perf_counter()
    logits = side.track(index)
    settle()
    end = time.perf_counter()
    return Spent(middle - start, end - middle, time.process_time() - processor), logits


def _against_itself(
    plan: Plan, again: Side, prompts: Sequence[Prompt], official: list[list[np.ndarray]]
) -> float:
    """Run the official predictor once more with another number of threads."""
    torch.set_num_threads(1 if plan.threads > 1 else 2)
    again.prompt(prompts)
    again.track(0)
    largest = 0.0
    for index, before in enumerate(official, start=1):
        again.encode(index)
        pairs = zip(before, again.track(index), strict=True)
        largest = max([largest, *(float(np.abs(a - b).max()) for a, b in pairs)])
    torch.set_num_threads(plan.threads)
    return largest


def _figures(spent: list[Spent]) -> Figures:
    parts = ("frame_s", "encode_s", "track_s", "processor_s")
    # A matrix takes too few frames for times.
    return Figures(
        *(round(1e3 * median([getattr(s, part) for s in spent] or [0.0]), 2) for part in parts)
    )


def _ratio(theirs: list[float], ours: list[float]) -> float:
    """Return the median over frames; what slows both in the same frame drops out."""
    return round(median([a / b for a, b in zip(theirs, ours, strict=True)] or [0.0]), 3)


def growth(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how much longer a frame takes with the most objects than with the fewest."""
    few, many = (choose(rows, key=lambda row: row.objects) for choose in (min, max))
    times = {
        name: round(getattr(many, name).frame_ms / getattr(few, name).frame_ms, 2)
        for name in SIDES
        if getattr(few, name).frame_ms
    }
    return {"few": few.objects, "many": many.objects, **times}


def measure_memory(plan: Plan, objects: int, side: str) -> tuple[float, float]:
    """Return peak growth in MiB and growth a frame, from a process that runs one side alone."""
    plan = replace(plan, frames=max(plan.frames, FULL + 3))
    options = [
        f"--{name.replace('_', '-')}={value}" for name, value in asdict(plan).items() if value
    ]
    command = [
        sys.executable,
        str(Path(__file__).with_name("compare_sam2.py")),
        *options,
        f"--objects={objects}",
        f"--alone={side}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise MaskcastError(f"{side} with {objects} objects alone ended: {lines[-1]}")
    peak, growth = json.loads(done.stdout.splitlines()[-1])
    return peak, growth


def run_alone(plan: Plan, objects: int, name: str) -> tuple[float, float]:
    """Run one side in this process; see `measure_memory`."""
    film, regions = load_film(plan, objects)
    side = SIDES[name](load_model(plan), plan, film)
    prompts = [make_prompt(region, plan.prompt) for region in regions]
    gc.collect()
    # Room that was freed while loading would hide what is taken from now on.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mib("VmRSS")
    side.prompt(prompts)
    full = 0.0
    for index in range(plan.frames):
        side.encode(index)
        side.track(index)
        if index == FULL:
            full = held(side).mib
    growth = (held(side).mib - full) / (plan.frames - 1 - FULL)
    return round(resident_mib("VmHWM") - before, 1), round(growth, 3)


def resident_mib(field: str) -> float:
    """Return resident memory of this process, now (`VmRSS`) or at most (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise MaskcastError(f"/proc/self/status has no {field}; memory is measured on Linux only")


def matrix(plan: Plan, tick: Callable[[], None], floor: bool) -> list[dict[str, Any]]:
    """Compare the logits of one object for every model at every size."""
    cells = []
    for model in CONFIGS:
        for size in SIZES_PX:
            here = replace(plan, model=model, image_size=size)
            row = race(here, load_model(here), 1, lambda: None, floor)
            cells.append({"model": model, "image_size": size, **asdict(row.masks)})
            gc.collect()
            tick()
    return cells
