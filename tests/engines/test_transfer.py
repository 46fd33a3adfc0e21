"""Ways between host and card; here the card is the processor, and events are made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.transfer import Gather, PinnedRing, download, on_device

CPU = torch.device("cpu")


def test_one_download_brings_every_dtype_and_shape() -> None:
    torch.manual_seed(0)
    wanted = {
        "flag": torch.tensor(True),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "half": torch.randn(3, 5).half(),
        "turned": torch.randn(4, 3).T,
        "none": torch.zeros(0, 3),
        "one": torch.tensor(2.5),
    }
    found = download(wanted)
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_what_is_gathered_is_read_once() -> None:
    gather = Gather()
    gather.add("a", torch.tensor([1.0]))
    first = gather.read()
    assert gather.read() is first
    with pytest.raises(AssertionError, match="b comes after"):
        gather.add("b", torch.tensor([1.0]))
    assert Gather().read() == {}


def test_numbers_keep_their_dtype_on_the_way() -> None:
    assert on_device([[1, 2]], CPU).dtype == torch.int64
    assert on_device([], CPU, torch.long).dtype == torch.int64
    assert on_device(np.zeros((2, 3), np.float32), CPU).shape == (2, 3)


class Copied:
    """An event that notes when it was waited for."""

    def __init__(self, log: list[int], number: int) -> None:
        self.log, self.number = log, number

    def synchronize(self) -> None:
        self.log.append(self.number)


def test_a_pinned_buffer_is_written_again_only_when_its_copy_was_made() -> None:
    log: list[int] = []
    made: list[int] = []
    marks = iter(range(100))
    ring = PinnedRing(
        CPU,
        2,
        pinned=lambda count: (made.append(count), torch.empty(count, dtype=torch.uint8))[1],
        mark=lambda: Copied(log, next(marks)),
    )
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (4, 5, 3), dtype=np.uint8) for _ in range(5)]
    waited = []
    for image in images:
        image.flags.writeable = False
        found = ring(image)
        np.testing.assert_array_equal(found.numpy(), image)
        waited.append(list(log))
    assert waited == [[], [], [0], [0, 1], [0, 1, 2]]
    assert made == [60, 60], "buffers are used again"
    ring(np.zeros((2, 2, 3), dtype=np.uint8))
    ring(np.zeros((8, 8, 3), dtype=np.uint8))
    assert made == [60, 60, 192], "a larger picture needs a larger one"
    with pytest.raises(ValueError, match="slots is 0"):
        PinnedRing(CPU, 0)


def test_the_pixels_are_the_callers_again_at_once() -> None:
    ring = PinnedRing(
        CPU, 1, pinned=lambda n: torch.empty(n, dtype=torch.uint8), mark=lambda: Copied([], 0)
    )
    image = np.full((2, 2, 3), 7, dtype=np.uint8)
    found = ring(image)
    image[:] = 0
    assert (found == 7).all()
