"""How many streams a machine carries: found by running more and more of them at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from stream.bench.measure import measure
from stream.bench.statistics import ages_at_ticks, needed, percentile
from stream.config import Config
from stream.errors import MaskcastError

MOST_DROPS: Final = 0.001
MOST_STREAMS: Final = 64
PERCENT: Final = 99.0


@dataclass(frozen=True, slots=True)
class Course:
    """One stream's frames."""

    fps: float
    frames: list[int]
    origins_ns: list[int]
    delivered_ns: list[int]


@dataclass(frozen=True, slots=True)
class Trial:
    """So many streams at once, while all of them ran."""

    streams: int
    age_p99_ms: float | None
    """Of all streams' ticks together; None where they are too few."""
    worst_age_p99_ms: float
    """Of the stream for which it is highest, however few its ticks."""
    drop_share: float
    """Of the stream that lost most."""
    seconds: float
    """How long all of them ran."""

    def holds(self, budget_ms: float) -> bool:
        """Return whether all streams keep within the budget.

        Raises:
            MaskcastError: There are too few ticks for the percentile.
        """
        if self.age_p99_ms is None:
            raise MaskcastError(
                f"{self.streams} streams ran together for {self.seconds:.0f} s, too short a time: "
                f"p99 needs {needed(PERCENT)} ticks; give more --seconds"
            )
        return self.worst_age_p99_ms <= budget_ms and self.drop_share < MOST_DROPS


def most_streams(holds: Callable[[int], bool], most: int = MOST_STREAMS) -> int:
    """Return the largest number that holds: doubled until one does not, then halved between.

    Args:
        holds: Whether so many streams keep within the budget; more never hold where fewer do not.
        most: No more are tried.
    """
    good, bad = 0, None
    tried = 1
    while bad is None and good < most:
        if holds(tried):
            good, tried = tried, min(tried * 2, most)
        else:
            bad = tried
    while bad is not None and bad - good > 1:
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good


def try_streams(config: Config, streams: int, parts: str) -> Trial:
    """Run so many pipelines at once, each in processes of its own.

    Args:
        config: Of each.
        streams: How many.
        parts: `module:attribute` of what the stages carry.

    Raises:
        MaskcastError: One of them failed.
    """
    order = json.dumps({"config": config.model_dump(mode="json"), "parts": parts})
    running = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "stream.bench.streams"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(streams)
    ]  # fmt: skip
    try:
        for process in running:
            assert process.stdin is not None
            process.stdin.write(order)
            process.stdin.close()
        answers = [process.stdout.read() for process in running if process.stdout is not None]
        for process in running:
            process.wait()
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
    return judge([_course(answer) for answer in answers])


def judge(courses: Sequence[Course]) -> Trial:
    """Return what streams reached while all of them ran.

    Raises:
        MaskcastError: They never ran all at once.
    """
    begin = max(course.delivered_ns[0] for course in courses)
    end = min(course.delivered_ns[-1] for course in courses)
    if end <= begin:
        raise MaskcastError(f"{len(courses)} streams never ran at once; give more --seconds")
    ages, shares = [], []
    for course in courses:
        first, last = course.frames[0], course.frames[-1]
        every = np.arange(first, last + 1)
        base = course.origins_ns[0]
        offsets = np.array(course.origins_ns) - base
        due = base + np.round(np.interp(every, course.frames, offsets)).astype(np.int64)
        ticks = [int(tick) for tick in due if begin <= tick <= end]
        ages.append(ages_at_ticks(ticks, course.delivered_ns, course.origins_ns))
        came = sum(begin <= origin <= end for origin in course.origins_ns)
        shares.append(1 - came / len(ticks) if ticks else 1.0)
    every_age = np.concatenate(ages)
    return Trial(
        streams=len(courses),
        age_p99_ms=percentile(every_age, PERCENT),
        worst_age_p99_ms=max(float(np.quantile(age, PERCENT / 100)) for age in ages if len(age)),
        drop_share=max(shares),
        seconds=(end - begin) / 1e9,
    )


def _course(answer: str) -> Course:
    data: dict[str, Any] = json.loads(answer) if answer.strip() else {"error": "a stream died"}
    if "error" in data:
        raise MaskcastError(str(data["error"]))
    return Course(**data)


def main() -> None:
    """Run one stream: its order as JSON on stdin, its frames as JSON on stdout."""
    order = json.load(sys.stdin)
    try:
        run = measure(Config.model_validate(order["config"]), order["parts"])
        if len(run.samples) < 2:
            raise MaskcastError("a stream brought no results; give more --seconds")
        answer: dict[str, Any] = {
            "fps": run.fps or 0.0,
            "frames": [sample.frame for sample in run.samples],
            "origins_ns": [sample.origin_ns for sample in run.samples],
            "delivered_ns": [sample.delivered_ns for sample in run.samples],
        }
    except MaskcastError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
