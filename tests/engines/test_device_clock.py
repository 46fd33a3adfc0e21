"""Times of a device, with events that are made up."""

from __future__ import annotations

import pytest
import torch

from engines.device_clock import ANEW_NS, DeviceClock

MS = 1_000_000


class Device:
    """A device with a clock of its own, and the host's."""

    def __init__(self) -> None:
        self.host_ns = 5_000 * MS
        self.device_ms = 77.0
        self.waits = 0

    def now(self) -> int:
        return self.host_ns

    def pass_ms(self, ms: float) -> None:
        self.host_ns += int(ms * MS)
        self.device_ms += ms


class Event:
    """An event that happens when the test says so."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.at_ms: float | None = None

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return self.at_ms is not None

    def synchronize(self) -> None:
        self.device.waits += 1
        self.at_ms = self.device.device_ms

    def happen(self) -> None:
        self.at_ms = self.device.device_ms

    def elapsed_time(self, later: Event, /) -> float:
        assert self.at_ms is not None
        assert later.at_ms is not None, "CUDA would say that it is not ready"
        return later.at_ms - self.at_ms


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def clock(device: Device) -> DeviceClock:
    return DeviceClock(torch.device("cuda"), lambda: Event(device), device.now)


def test_a_time_is_known_once_the_work_is_done_and_nobody_waits(
    device: Device, clock: DeviceClock
) -> None:
    mark = clock.mark()
    assert device.waits == 1, "once, at the first"
    assert clock.reached_ns(mark) is None
    device.pass_ms(3)
    mark.event.happen()
    done_ns = device.now()
    device.pass_ms(4)
    assert clock.reached_ns(mark) == done_ns
    clock.mark()
    assert device.waits == 1


def test_times_stay_between_asking_and_now(device: Device, clock: DeviceClock) -> None:
    clock.mark()
    device.device_ms += 50  # the device's clock runs ahead
    mark = clock.mark()
    mark.event.happen()
    assert clock.reached_ns(mark) == device.now()
    device.device_ms -= 90  # or behind
    late = clock.mark()
    device.pass_ms(2)
    late.event.happen()
    assert clock.reached_ns(late) == device.now() - 2 * MS


def test_times_are_counted_anew_from_a_later_event(device: Device, clock: DeviceClock) -> None:
    first = clock._base
    for _ in range(4):
        mark = clock.mark()
        device.pass_ms(0.6 * ANEW_NS / MS)
        mark.event.happen()
        assert clock.reached_ns(mark) == device.now()
    assert clock._base is not first
    assert clock._base[1] > device.now() - 2 * ANEW_NS


def test_on_a_processor_work_is_done_when_it_was_asked_for(device: Device) -> None:
    clock = DeviceClock(torch.device("cpu"), now=device.now)
    mark = clock.mark()
    asked_ns = device.now()
    device.pass_ms(9)
    assert mark.event is None
    assert clock.reached_ns(mark) == asked_ns
