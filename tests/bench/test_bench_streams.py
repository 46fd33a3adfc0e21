"""The search for the number of streams, and what counts as carried."""

from __future__ import annotations

import pytest

from stream.bench.streams import Course, judge, most_streams
from stream.errors import MaskcastError

MS = 1_000_000


@pytest.mark.parametrize("truth", [0, 1, 2, 3, 5, 8, 11, 63, 64, 100])
def test_the_search_finds_the_largest_number_that_holds(truth: int) -> None:
    tried: list[int] = []

    def holds(streams: int) -> bool:
        tried.append(streams)
        return streams <= truth

    assert most_streams(holds) == min(truth, 64)
    assert len(tried) == len(set(tried)) <= 12


def course(delay_ms: float, begin: int = 0, end: int = 1100, without: int = 0) -> Course:
    """Frames due every 10 ms; `without` of them are missing in the middle."""
    frames = [n for n in range(begin, end) if not 500 <= n < 500 + without]
    origins = [n * 10 * MS for n in frames]
    return Course(100.0, frames, origins, [at + int(delay_ms * MS) for at in origins])


def test_streams_are_judged_while_all_of_them_ran() -> None:
    trial = judge([course(4), course(4, begin=50), course(4, end=1060)])
    assert trial.streams == 3
    assert trial.seconds == pytest.approx(10.09)
    assert (trial.age_p99_ms, trial.worst_age_p99_ms, trial.drop_share) == (10, 10, 0)
    assert trial.holds(10)
    assert not trial.holds(9.9)


def test_the_worst_stream_decides() -> None:
    slow = judge([course(4), course(34)])
    assert slow.worst_age_p99_ms == 40
    assert not slow.holds(30)
    lossy = judge([course(4), course(4, without=2)])
    assert lossy.drop_share == pytest.approx(2 / 1100, abs=1e-5)
    assert not lossy.holds(1000)


def test_too_little_is_refused() -> None:
    with pytest.raises(MaskcastError, match="p99 needs 1000 ticks"):
        judge([course(4, end=100)]).holds(50)
    with pytest.raises(MaskcastError, match="never ran at once"):
        judge([course(4, end=100), course(4, begin=200)])
