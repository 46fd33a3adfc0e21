"""Ways between host and card that nobody waits on: small numbers, pictures, and what comes back.

A copy waits for the card unless the host's side of it is pinned and it is asked not to. On a
processor all of this is plain memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

#: Pictures under way at once: one that is copied, one that is computed on, and one that is next.
RING = 3


class Done(Protocol):
    """What tells that work was done; a CUDA event."""

    def synchronize(self) -> None:
        """Wait for it."""


def on_device(
    numbers: Sequence[Any] | npt.NDArray[Any],
    device: torch.device,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Return numbers of the host as a tensor, without waiting for the device.

    Args:
        numbers: Nested sequences, or an array.
        device: Where the tensor shall lie.
        dtype: Its dtype; None for what torch makes of the numbers.
    """
    host = torch.as_tensor(numbers, dtype=dtype)
    if device.type == "cpu":
        return host
    return host.pin_memory().to(device, non_blocking=True)


class PinnedRing:
    """Brings pictures to a card through pinned memory that is used again and again.

    The host copies the pixels once and goes on; a buffer is written again only when its last
    copy has been made.

    Args:
        device: The card.
        slots: Buffers.
        pinned: Makes a pinned buffer of so many bytes.
        mark: Returns what tells that the work asked for so far was done.
    """

    def __init__(
        self,
        device: torch.device,
        slots: int = RING,
        *,
        pinned: Callable[[int], torch.Tensor] | None = None,
        mark: Callable[[], Done] | None = None,
    ) -> None:
        if slots < 1:
            raise ValueError(f"slots is {slots}; at least 1 is needed")
        self._device = device
        self._pinned = pinned or pinned_bytes
        self._mark = mark or mark_work
        self._buffers: list[torch.Tensor | None] = [None] * slots
        self._copied: list[Done | None] = [None] * slots
        self._next = 0

    def __call__(self, image: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return an image (H, W, 3) uint8 on the device; its own memory may change at once."""
        slot, self._next = self._next, (self._next + 1) % len(self._buffers)
        if (copied := self._copied[slot]) is not None:
            copied.synchronize()
        buffer = self._buffers[slot]
        if buffer is None or len(buffer) < image.size:
            buffer = self._buffers[slot] = self._pinned(image.size)
        part = buffer[: image.size]
        np.copyto(part.numpy().reshape(image.shape), image)
        found = torch.empty(image.shape, dtype=torch.uint8, device=self._device)
        found.copy_(part.view(image.shape), non_blocking=True)
        self._copied[slot] = self._mark()
        return found


class Gather:
    """Tensors that the host wants to know, brought there in one copy.

    They are laid one after the other as bytes on the device, copied once into pinned memory, and
    waited for once, at the first `read`.
    """

    def __init__(self) -> None:
        self._parts: dict[str, torch.Tensor] = {}
        self._read: dict[str, npt.NDArray[Any]] | None = None

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Want a tensor of any shape, float32, uint8 or bool; before the first `read`."""
        assert self._read is None, f"{name} comes after the copy was made"
        self._parts[name] = tensor

    def read(self) -> dict[str, npt.NDArray[Any]]:
        """Return the tensors as arrays; waits for the device, once."""
        if self._read is None:
            self._read = download(self._parts) if self._parts else {}
            self._parts = {}
        return self._read


def download(tensors: dict[str, torch.Tensor]) -> dict[str, npt.NDArray[Any]]:
    """Return tensors of one device as arrays, by one copy and one wait."""
    # Larger elements first, so that each array begins where its dtype may.
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())
    rows = [tensors[name].contiguous().reshape(-1).view(torch.uint8) for name in order]
    raw = host_bytes(torch.cat(rows))
    found: dict[str, npt.NDArray[Any]] = {}
    start = 0
    for name, row in zip(order, rows, strict=True):
        tensor = tensors[name]
        dtype = _DTYPES[tensor.dtype]
        found[name] = raw[start : start + len(row)].view(dtype).reshape(tensor.shape)
        start += len(row)
    return {name: found[name] for name in tensors}


def host_bytes(packed: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Return (n,) uint8 of a device as an array that is the caller's; the one wait of a frame."""
    if packed.device.type == "cpu":
        return packed.numpy()
    host = pinned_bytes(len(packed))
    host.copy_(packed, non_blocking=True)
    mark_work().synchronize()
    # Pinned memory is dear: the buffer goes back to torch, which hands it out again.
    return host.numpy().copy()


def pinned_bytes(count: int) -> torch.Tensor:
    """Return (count,) uint8 of pinned memory."""
    return torch.empty(count, dtype=torch.uint8, pin_memory=True)


def mark_work() -> Done:
    """Return an event at the end of what the current stream was asked to do."""
    # A host that waits for it sleeps, as other stages want the core.
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


_DTYPES: dict[torch.dtype, Any] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.uint8: np.uint8,
    torch.bool: np.bool_,
}
