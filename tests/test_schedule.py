from __future__ import annotations

import pytest

from stream.schedule import must_wait, should_detect


@pytest.mark.parametrize(
    ("step", "last", "expected"), [(0, None, True), (7, 0, False), (8, 0, True), (30, 0, True)]
)
def test_detection_comes_every_n_frames(step: int, last: int | None, expected: bool) -> None:
    assert should_detect(step, last, 8) is expected


@pytest.mark.parametrize(
    ("live", "step", "pending", "tracking", "expected"),
    [
        (True, 100, 0, False, False),  # a live stream is never held back
        (False, 5, None, False, False),  # nothing is under way
        (False, 0, 0, False, True),  # the first objects appear in the frame they are seen in
        (False, 3, 0, True, False),  # both networks work at the same time
        (False, 7, 0, True, True),  # but not further apart than one period
    ],
)
def test_only_files_wait_and_only_when_they_must(
    live: bool, step: int, pending: int | None, tracking: bool, expected: bool
) -> None:
    waits = must_wait(
        live=live, step=step, pending_step=pending, tracking=tracking, every_n_frames=8
    )
    assert waits is expected
