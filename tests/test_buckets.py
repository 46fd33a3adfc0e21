from __future__ import annotations

import msgspec

from stream.buckets import FRAMES, SECONDS, Buckets


def test_a_number_counts_in_the_first_bound_that_is_not_below_it() -> None:
    buckets = Buckets((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.1, 99.0):
        buckets.add(value)
    assert buckets.counts == [2, 2, 2]
    assert buckets.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 6.0)]
    assert buckets.sum == 106.1


def test_bounds_rise() -> None:
    for bounds in (SECONDS, FRAMES):
        assert list(bounds) == sorted(set(bounds))


def test_it_travels_as_plain_data() -> None:
    buckets = Buckets(FRAMES)
    buckets.add(5)
    data = msgspec.msgpack.decode(msgspec.msgpack.encode(buckets.to_data()))
    back = Buckets.from_data(data)
    assert (back.bounds, back.counts, back.sum) == (FRAMES, buckets.counts, 5.0)
