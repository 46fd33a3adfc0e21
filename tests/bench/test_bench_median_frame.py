"""Steps whose times add up to the median latency, also where their medians do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from stream.bench.figures import explained, figures_of
from stream.bench.median_frame import LEAST_FRAMES, median_frame
from stream.bench.page_plots import waterfall
from stream.bench.samples import STEPS, Sample
from stream.bench.table import summary
from tests.bench.made import MS, STEPS_MS, point, run, sample, warm_of

NAMES = [name for name in STEPS if name != "decoded"]


def frames(times_ms: np.ndarray) -> list[Sample]:
    """Samples whose steps take the given times, (N, 11) milliseconds."""
    out = []
    for number, row in enumerate(times_ms):
        origin = 10**12 + number * 100 * MS
        ends = origin + np.cumsum(np.round(row * MS).astype(np.int64))
        stamps = {"intended": origin} | dict(zip(NAMES, ends.tolist(), strict=True))
        out.append(Sample(number, origin, stamps))
    return out


def naive(samples: Sequence[Sample]) -> float:
    steps = [[s.steps_ms()[name] for s in samples] for name in NAMES]
    found = explained([s.latency_ms for s in samples], steps)
    assert found is not None
    return found


def tailed(correlation: float, count: int = 2000) -> np.ndarray:
    """Log-normal steps, median 1 ms, mean 2 ms, which share a part of their luck."""
    rng = np.random.default_rng(3)
    shared, own = rng.normal(size=(count, 1)), rng.normal(size=(count, len(NAMES)))
    mixed = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return np.exp(1.2 * mixed)


@pytest.mark.parametrize("correlation", [0.0, 0.15])
def test_tails_make_medians_fall_short_and_the_median_frame_adds_up(correlation: float) -> None:
    samples = frames(tailed(correlation))
    assert naive(samples) < 0.7
    found = median_frame(samples)
    assert found.frames > 50
    assert found.explained == pytest.approx(1.0, abs=0.02)
    # They are all alike, so that each has its eleventh of the median.
    median = float(np.median([s.latency_ms for s in samples]))
    for name in NAMES:
        assert found.steps_ms[name] == pytest.approx(median / len(NAMES), rel=0.35)


def test_steps_against_each_other_have_too_large_a_sum_of_medians() -> None:
    """One waits for as long as the other does not: most frames have both long, none all of both."""
    rng = np.random.default_rng(4)
    times = np.full((3000, len(NAMES)), 0.1)
    phase = rng.choice([0.0, 9.0, 10.0], size=3000)
    times[:, 3], times[:, 5] = phase, 10.0 - phase + rng.choice([0.0, 12.0], 3000, p=[0.6, 0.4])
    samples = frames(times)
    assert naive(samples) > 1.5
    assert median_frame(samples).explained == pytest.approx(1.0, abs=0.02)


def test_a_part_that_only_slow_frames_have_is_not_in_the_median_frame() -> None:
    times = np.ones((1000, len(NAMES)))
    times += np.random.default_rng(5).normal(0.0, 0.05, times.shape)
    times[::10, 7] += 200.0
    found = median_frame(frames(times))
    assert found.steps_ms[NAMES[7]] == pytest.approx(1.0, abs=0.1)


def test_time_that_no_stage_named_is_not_explained() -> None:
    """The reader does not say when it sent a frame: 3 + 1 of 62 ms are anybody's."""
    mute = [replace(s, stamps={k: t for k, t in s.stamps.items() if k != "sent"})
            for s in run(60).samples]  # fmt: skip
    found = median_frame(mute)
    assert found.unnamed_ms == 4
    assert found.explained == pytest.approx(58 / 62, abs=1e-4)
    assert "taken" not in found.steps_ms
    assert figures_of([warm_of(run(samples=mute))]).explained == 1.0  # which medians never see
    backward = replace(sample(0), stamps={**sample(0).stamps, "tracked": sample(0).origin_ns})
    assert sum(backward.named_ms().values()) < 62 - 30


def test_times_that_a_frame_may_lack_are_no_gap() -> None:
    early = [replace(s, stamps={k: t for k, t in s.stamps.items() if k != "captured"})
             for s in run(30).samples]  # fmt: skip
    assert median_frame(early).explained == 1.0
    assert median_frame(early).steps_ms["read"] == 1.0


def test_where_no_frame_is_near_the_median_it_is_refused() -> None:
    two_modes = [sample(n, slower_ms=100.0 * (n % 2)) for n in range(60)]
    found = median_frame(two_modes)
    assert (found.frames, found.explained, found.steps_ms) == (0, None, {})
    assert "are needed" in found.to_dict()["refused"]
    assert median_frame(run(LEAST_FRAMES).samples).explained == 1.0
    assert median_frame(run(LEAST_FRAMES - 1).samples).explained is None
    assert median_frame([]).frames == 0


def test_figures_table_and_page_have_it() -> None:
    figures = figures_of([warm_of(run(60))])
    plain = figures.to_dict()["median_frame"]
    assert plain["steps_ms"] == {name: float(ms) for name, ms in STEPS_MS.items()}
    assert (plain["frames"], plain["explained"], plain["unnamed_ms"]) == (60, 1.0, 0.0)
    assert any("its steps add up to 100.0 %" in line for line in summary(point()))
    assert "median frame, line to" in waterfall(figures)
