"""Signals that ask a training to stop."""

from __future__ import annotations

import signal

import pytest

from train.interrupts import asked_to_stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_and_the_old_handler_comes_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with asked_to_stop() as asked:
        assert not asked()
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert asked()
    assert asked()
    assert signal.getsignal(number) is before


def test_a_second_one_that_is_named_ends_at_once() -> None:
    with asked_to_stop((signal.SIGINT,)) as asked:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
