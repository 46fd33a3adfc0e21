"""A browser's paints on our clock, joined with their frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.bench.browser import NAMES, find_browser
from stream.bench.figures import figures_of, painted_ages_of, series_of
from stream.bench.paints import RESOLUTION_NS, PageClock, Ping, clock_of, join
from stream.bench.parquet import rows
from stream.bench.samples import Run
from stream.errors import MaskcastError, UsageError
from tests.bench.made import LATENCY_MS, MS, PERIOD, point, run, warm_of

OFFSET = 7_654_321_000_123
CLOCK = PageClock(OFFSET, 200_000)


def pings(drift: float = 0.0, count: int = 200) -> list[Ping]:
    """Ways there and back of 0.2 to 20 ms each, unlike each other; a clock rounded to 0.1 ms."""
    rng = np.random.default_rng(1)
    out = []
    for number in range(count):
        there, back = (0.2 * MS * np.exp(rng.exponential(1.0, 2)).clip(1, 100)).astype(int)
        sent = 10**13 + number * 30 * MS
        page_ns = (sent + int(there) - OFFSET) * (1 + drift)
        page_ms = np.floor(page_ns / 1e5 + rng.uniform()) / 10
        out.append(Ping(sent, float(page_ms), sent + int(there) + int(back)))
    return out


def test_the_clock_is_found_within_the_error_that_is_said() -> None:
    found = clock_of(pings())
    assert abs(found.offset_ns - OFFSET) <= found.error_ns
    # As good as the quickest ways, not as the usual ones.
    assert RESOLUTION_NS <= found.error_ns < 0.4 * MS


def test_ways_that_are_unlike_there_and_back_stay_within_the_error() -> None:
    """The middle of a round trip would be 4.9 ms off."""
    sent = 10**13
    lopsided = [Ping(sent, (sent + 9_900_000 - OFFSET) / 1e6, sent + 10_000_000)]
    found = clock_of(lopsided)
    assert abs(found.offset_ns - OFFSET) > 4 * MS
    assert abs(found.offset_ns - OFFSET) <= found.error_ns
    quick = Ping(sent, (sent + 100_000 - OFFSET) / 1e6, sent + 200_000)
    assert clock_of([*lopsided, quick]).error_ns <= 0.2 * MS


def test_clocks_that_do_not_run_alike_are_refused() -> None:
    with pytest.raises(MaskcastError, match="drift"):
        clock_of(pings(drift=1e-2))


def paint(frame: int, late_ms: float) -> tuple[int, float]:
    """A paint so long after the frame was due, on the page's clock."""
    due = 10**12 + frame * PERIOD
    return frame, (due + late_ms * MS - OFFSET) / 1e6


def test_paints_find_their_frames() -> None:
    samples = run(6).samples
    found = join(samples, [paint(3, 90), paint(1, 80), paint(3, 150), paint(77, 80)], CLOCK)
    assert [s.painted_ns is not None for s in found] == [False, True, False, True, False, False]
    assert found[1].glass_ms == pytest.approx(80, abs=1e-3)
    assert found[3].glass_ms == pytest.approx(90, abs=1e-3)  # the first time it was seen
    assert [s.frame for s in found] == [s.frame for s in samples]


def test_a_paint_before_its_frame_was_published_is_a_wrong_clock() -> None:
    samples = run(6).samples
    join(samples, [paint(2, LATENCY_MS - 1 - 0.1)], CLOCK)  # within the error
    with pytest.raises(MaskcastError, match=r"frame 2 seems painted 9\.00 ms before"):
        join(samples, [paint(2, LATENCY_MS - 1 - 9)], CLOCK)


def test_paints_have_series_of_their_own_and_latency_is_as_before() -> None:
    bare = run(60)
    shown = join(bare.samples, [paint(n, 110) for n in range(0, 60, 3)], CLOCK)
    made = warm_of(Run(shown, bare.fps, bare.live, bare.report))
    figures, before = figures_of([made]), figures_of([warm_of(bare)])
    assert figures.series["painted"].count == 20
    assert figures.series["painted"].mean == pytest.approx(110, abs=1e-3)
    assert figures.series["page"].mean == pytest.approx(49, abs=1e-3)  # published at 61
    assert figures.series["latency"] == before.series["latency"]
    assert figures.steps == before.steps
    assert before.series["painted"].count == before.series["painted_age"].count == 0
    # Frames that were not painted cost age: each third is painted, late for its tick.
    ages = painted_ages_of(made)
    assert ages.max() == 400
    assert set(ages[3:9].tolist()) == {200.0, 300.0, 400.0}
    assert series_of(made)["age"] == [100.0] * 59


def test_raw_samples_say_when_they_were_painted() -> None:
    made = point(runs=1)
    shown = join(made.runs[0].run.samples, [paint(4, 95)], CLOCK)
    made.runs[0].run.samples[:] = shown
    found = rows([made])
    assert found[4]["painted_ns"] - found[4]["origin_ns"] == pytest.approx(95 * MS, abs=1000)
    assert found[5]["painted_ns"] is None


def test_without_chromium_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt-get install chromium"):
        find_browser()
    other = tmp_path / NAMES[-1]
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert find_browser() == str(other)
