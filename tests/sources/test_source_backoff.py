from __future__ import annotations

import random

import pytest

from stream.config import Reconnect
from stream.sources.backoff import Backoff


class Fixed(random.Random):
    """Chance that always says the same."""

    def __init__(self, value: float) -> None:
        super().__init__(0)
        self.value = value

    def random(self) -> float:
        return self.value


def test_delays_double_up_to_the_limit_and_start_over() -> None:
    backoff = Backoff(Reconnect(first_delay_s=0.5, max_delay_s=3, jitter=0), random.Random(0))
    assert [backoff.next_delay_s() for _ in range(5)] == [0.5, 1, 2, 3, 3]
    backoff.works()
    assert backoff.next_delay_s() == 0.5


@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 0.7), (0.5, 1.0), (1.0, 1.3)])
def test_jitter_spreads_both_ways(chance: float, delay_s: float) -> None:
    backoff = Backoff(Reconnect(first_delay_s=1, jitter=0.3), Fixed(chance))
    assert backoff.next_delay_s() == pytest.approx(delay_s)


def test_gives_up_counts_from_the_first_failure() -> None:
    backoff = Backoff(Reconnect(give_up_after_s=10), random.Random(0))
    second = 1_000_000_000
    assert not backoff.gives_up(99 * second)
    backoff.broke(100 * second)
    backoff.broke(109 * second)
    assert not backoff.gives_up(109 * second)
    assert backoff.gives_up(110 * second)
    backoff.works()
    assert not backoff.gives_up(200 * second)


def test_zero_never_gives_up() -> None:
    backoff = Backoff(Reconnect(give_up_after_s=0), random.Random(0))
    backoff.broke(0)
    assert not backoff.gives_up(10**18)
