"""What changed between two results beyond noise, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from stream.bench.figures import SERIES
from stream.bench.samples import STEPS
from stream.bench.statistics import difference
from stream.errors import UsageError

BOUND_PERCENT: Final = 10.0
LEAST_SHARE: Final = 0.02
"""Of the mean latency before: what a step must change by at least to matter to anybody."""
LEAST_DROPS: Final = 0.01
"""Change of the part of frames dropped that matters."""
LOAD_APART: Final = 1.0
"""Difference of the load averages at the end of two measurements that is worth a word."""
FIGURES: Final = ("p50", "p90")
_COMPARED: Final = ("latency", "detecting", "quiet", "age", "interval", "model", "own", "painted",
             "detection")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after: means over repetitions."""

    point: str
    kind: str
    """`series`, `step` or `drops`."""
    name: str
    figure: str
    before: float
    after: float
    low: float
    high: float
    """99 % of the change."""
    real: bool
    """Beyond noise, and large enough to matter."""
    worse: bool
    """Real, to the bad, and beyond the bound."""

    @property
    def change(self) -> float:
        """After less before."""
        return self.after - self.before

    @property
    def percent(self) -> float | None:
        """Change in percent of before."""
        return 100 * self.change / self.before if self.before else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes, and what else differs."""

    changes: list[Change]
    notes: list[str]

    @property
    def regressions(self) -> list[Change]:
        """Those that are worse beyond the bound."""
        return [change for change in self.changes if change.worse]

    @property
    def real(self) -> list[Change]:
        """Those beyond noise."""
        return [change for change in self.changes if change.real]

    def culprits(self) -> list[Change]:
        """Steps that got slower, the one with the largest part in it first."""
        slower = [c for c in self.changes if c.kind == "step" and c.real and c.change > 0]
        medians = [change for change in slower if change.figure == "p50"]
        return sorted(medians or slower, key=lambda change: -change.change)


def compare(
    before: dict[str, Any], after: dict[str, Any], bound_percent: float = BOUND_PERCENT
) -> Comparison:
    """Compare two results.

    A change is real where the bootstrap interval over repetitions leaves out zero and it is at
    least 2 % of the mean latency; it is a regression where it is also more than the bound.

    Args:
        before: As `document.read` returns it.
        after: The same.
        bound_percent: Worse by more than this is a regression.

    Raises:
        UsageError: They have no load in common, or too few repetitions to know the noise.
    """
    old = {point["name"]: point for point in before["points"]}
    new = {point["name"]: point for point in after["points"]}
    common = [name for name in old if name in new]
    if not common:
        raise UsageError(
            f"the results have no load in common: {sorted(old)} and {sorted(new)}; measure both "
            "with the same --sweep"
        )
    changes: list[Change] = []
    for name in common:
        fewest = min(len(old[name]["repetitions"]), len(new[name]["repetitions"]))
        if fewest < 2:
            raise UsageError(
                "one repetition does not tell what is noise; measure both with --repeat 2 or more, "
                "better 5"
            )
        changes += _changes(name, old[name], new[name], bound_percent)
    return Comparison(changes, notes(before, after))


def notes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what else differs between two results and may be the cause of a change."""
    old, new = before["manifest"], after["manifest"]
    found = []
    for key in ("machine.processor", "machine.cores", "precision", "backend", "transport"):
        values = [_dig(data, key) for data in (old, new)]
        if values[0] != values[1]:
            found.append(f"{key} differs: {values[0]} and {values[1]}")
    for key, words in (("models", "weights"), ("input", "input"), ("versions", "versions")):
        if old.get(key) != new.get(key):
            found.append(f"{words} differ")
    slept = [old.get("handicap_ms") or 0.0, new.get("handicap_ms") or 0.0]
    if slept != [0.0, 0.0]:
        found.append(f"the tracker slept in each frame: {slept[0]:g} and {slept[1]:g} ms")
    if bool(old.get("page")) != bool(new.get("page")):
        found.append("a browser showed the page in one only; it takes a part of the processor")
    if _settings(old) != _settings(new):
        found.append("configurations differ")
    loads = [float((_dig(data, "machine.load") or [0.0])[0]) for data in (old, new)]
    if abs(loads[0] - loads[1]) > LOAD_APART:
        found.append(f"the machine was not equally busy: load {loads[0]:g} and {loads[1]:g}")
    commits = [_dig(data, "commit.sha") for data in (old, new)]
    if commits[0] == commits[1] and commits[0] is not None:
        found.append(f"both are of commit {commits[0][:12]}")
    return found


def _changes(
    point: str, old: dict[str, Any], new: dict[str, Any], bound_percent: float
) -> Iterator[Change]:
    latency = _values(old, "series_ms", "latency", "mean") or [0.0]
    least_ms = LEAST_SHARE * float(np.mean(latency))
    for section, names in (("series_ms", _COMPARED), ("steps_ms", tuple(STEPS))):
        for name in names:
            for figure in FIGURES:
                a, b = (_values(side, section, name, figure) for side in (old, new))
                kind = "series" if section == "series_ms" else "step"
                change = _change(point, kind, name, figure, a, b, least_ms, bound_percent)
                if change is not None:
                    yield change
    a, b = ([float(run["drop_share"]) for run in side["repetitions"]] for side in (old, new))
    change = _change(point, "drops", "dropped", "share", a, b, LEAST_DROPS, bound_percent)
    if change is not None:
        yield change


def _change(
    point: str,
    kind: str,
    name: str,
    figure: str,
    before: list[float],
    after: list[float],
    least: float,
    bound_percent: float,
) -> Change | None:
    found = difference(before, after)
    if found is None:
        return None
    change, low, high = found
    base = float(np.mean(before))
    real = (low > 0 or high < 0) and abs(change) >= least
    worse = real and change > bound_percent / 100 * base
    return Change(point, kind, name, figure, base, base + change, low, high, real, worse)


def _values(point: dict[str, Any], section: str, name: str, figure: str) -> list[float]:
    """Return a figure of each repetition that has it."""
    found = (run[section].get(name, {}).get(figure) for run in point["repetitions"])
    return [float(value) for value in found if value is not None]


def words_of(change: Change) -> str:
    """Return what the figure of a change means."""
    if change.kind == "drops":
        return "part of the frames due that did not come"
    return STEPS[change.name] if change.kind == "step" else SERIES[change.name]


def _settings(manifest: dict[str, Any]) -> Any:
    return {key: value for key, value in manifest["config"].items() if key != "seconds"}


def _dig(data: dict[str, Any], key: str) -> Any:
    found: Any = data
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
