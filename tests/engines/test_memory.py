"""The books of one object, against SAM2's rule written down plainly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.memory import Layout, Memory
from engines.settings import Limits


def plain_rule(frame: int, stored: set[int], limits: Limits) -> list[tuple[int, int]]:
    """(frame, row) that SAM2 attends to besides conditioning frames, from old to new."""
    out = []
    for back in range(limits.recent_frames, 0, -1):
        if back == 1:
            wanted = frame - 1
        else:
            wanted = (frame - 2) // limits.stride * limits.stride - (back - 2) * limits.stride
        if wanted in stored:
            out.append((wanted, back - 1))
    return out


@settings(max_examples=60, deadline=None)
@given(
    stride=st.integers(1, 3),
    recent=st.integers(1, 6),
    gaps=st.sets(st.integers(0, 39), max_size=12),
    prompted=st.sets(st.integers(0, 39), max_size=5),
)
def test_attends_to_what_the_rule_says(
    stride: int, recent: int, gaps: set[int], prompted: set[int]
) -> None:
    limits = Limits(conditioning=None, recent_frames=recent, stride=stride, late_frames=8)
    layout = Layout(limits, conditioning_row=6, conditioning=8)
    memory = Memory(0, layout)
    places: dict[int, int] = {}
    stored: set[int] = set()
    for frame in range(40):
        if frame in gaps:
            continue
        attended = memory.attended(frame)
        found = [(places[place], row) for place, row in attended.spatial if row < 6 or place >= 8]
        assert found == plain_rule(frame, stored, limits)
        assert [row for place, row in attended.spatial if place < 8] == [6] * len(
            memory.conditioning
        )
        distances = [d for place, d in attended.pointers if place < layout.pointers]
        assert distances == [d for d in range(1, 16) if frame - d in stored]
        if frame in prompted:
            memory.condition(frame)
        else:
            places[memory.remember(frame)] = frame
            stored.add(frame)
        memory.track(frame)


def test_a_prompted_frame_is_not_a_recent_one_too() -> None:
    memory = Memory(0, Layout(Limits(), conditioning_row=6))
    for frame in range(4):
        memory.remember(frame)
    memory.condition(2)
    assert [row for _, row in memory.attended(4).spatial] == [6, 3, 2, 0]
    assert [d for _, d in memory.attended(4).pointers] == [2, 1, 3, 4]
    assert not memory.is_stored(2)


def test_the_first_prompt_stays_and_the_oldest_other_goes() -> None:
    memory = Memory(0, Layout(Limits(conditioning=3), conditioning_row=6))
    gone = [memory.condition(frame)[1] for frame in (5, 9, 2, 7, 11)]
    assert gone == [None, None, None, 2, 7]
    assert list(memory.conditioning) == [5, 9, 11]
    assert len(set(memory.conditioning.values())) == 3
    assert memory.condition(9)[1] is None


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_going_back_and_forth_gives_what_was(stride: int) -> None:
    limits = Limits(stride=stride, late_frames=10)
    memory = Memory(0, Layout(limits, conditioning_row=6))
    seen = {}
    for frame in range(30):
        seen[frame] = memory.attended(frame).spatial
        memory.remember(frame)
        memory.track(frame)
    now = memory.attended(30).spatial
    for frame in (22, 25, 29):
        memory.restore(frame)
        assert memory.attended(frame).spatial == seen[frame]
        memory.restore(30)
        assert memory.attended(30).spatial == now
    memory.rewind(24)
    memory.restore(24)
    assert memory.attended(24).spatial == seen[24]
    assert not memory.was_tracked(24)
    assert memory.was_tracked(23)
