from __future__ import annotations

from tests.support.tools import load

measuring = load("measure_metrics")


def test_a_frame_costs_little_beside_a_millisecond() -> None:
    costs = measuring.measure(repeats=3)
    (frame_us,) = [cost for what, cost in costs.items() if what.startswith("frame")]
    assert 0 < frame_us < 200
    assert len(costs) == 4
