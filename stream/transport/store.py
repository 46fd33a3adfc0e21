"""Where the pixels are while a header travels: one interface, three places.

`Ring` (shared memory, `stream.transport.ring`) between processes, `LocalStore` within one,
`InlineStore` in the message itself. Stage code sees `Store` only.

A block is leased to one consumer at a time: `put` leases it to the first, `pass_on` to the next,
`release` gives it back. What `get` returns is read-only and valid until the lease ends.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stream.errors import MaskcastError
from stream.transport.headers import ArraySpec, InlineRef, LocalRef, Ref

Array = npt.NDArray[Any]
ALIGN = 64


class StoreError(MaskcastError):
    """A block is not what its header says, or does not fit."""


class Store(Protocol):
    """Holds blocks of named arrays for consumers, by name."""

    def put(self, arrays: Mapping[str, Array], consumer: str) -> Ref | None:
        """Keep arrays for a consumer; None when every slot is taken.

        Raises:
            StoreError: They can never fit.
        """

    def get(self, ref: Ref, consumer: str) -> dict[str, Array]:
        """Return read-only arrays.

        Raises:
            StoreError: The block is gone; never returns other pixels.
        """

    def pass_on(self, ref: Ref, consumer: str, to: str) -> bool:
        """Lease the block to the next consumer; False when it is gone."""

    def release(self, ref: Ref, consumer: str) -> bool:
        """End the lease; False when the block was gone before."""

    def usage(self) -> tuple[int, int] | None:
        """Return how many slots are taken, of how many; None where there are no slots."""

    def close(self) -> None:
        """Free what this side holds."""


def layout(arrays: Mapping[str, Array]) -> tuple[tuple[ArraySpec, ...], int]:
    """Place arrays one after another in a block.

    Returns:
        Their places, and the size of the block in bytes.
    """
    specs, offset = [], 0
    for name, array in arrays.items():
        specs.append(ArraySpec(name, array.dtype.str, array.shape, offset))
        offset += -(-array.nbytes // ALIGN) * ALIGN
    return tuple(specs), offset


def view(
    block: memoryview | bytes, specs: tuple[ArraySpec, ...], base: int = 0
) -> dict[str, Array]:
    """Return read-only arrays that lie in a block at `base`, without a copy."""
    arrays = {}
    for spec in specs:
        count = int(np.prod(spec.shape, dtype=np.int64))
        flat = np.frombuffer(block, np.dtype(spec.dtype), count, base + spec.offset)
        array = flat.reshape(spec.shape)
        array.flags.writeable = False
        arrays[spec.name] = array
    return arrays


@dataclass(slots=True)
class _Block:
    arrays: dict[str, Array]
    leases: set[str]


class LocalStore:
    """Blocks within one process; nothing is copied."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._blocks: dict[int, _Block] = {}
        self._keys = itertools.count()
        self._lock = threading.Lock()

    def put(self, arrays: Mapping[str, Array], consumer: str) -> LocalRef | None:
        """See `Store.put`."""
        frozen = {name: array.view() for name, array in arrays.items()}
        for array in frozen.values():
            array.flags.writeable = False
        with self._lock:
            if len(self._blocks) >= self._slots:
                return None
            key = next(self._keys)
            self._blocks[key] = _Block(frozen, {consumer})
        return LocalRef(key)

    def get(self, ref: Ref, consumer: str) -> dict[str, Array]:
        """See `Store.get`."""
        with self._lock:
            block = self._block(ref, consumer)
            if block is None:
                raise StoreError(f"block {ref} is not leased to {consumer}")
            return dict(block.arrays)

    def pass_on(self, ref: Ref, consumer: str, to: str) -> bool:
        """See `Store.pass_on`."""
        with self._lock:
            block = self._block(ref, consumer)
            if block is None:
                return False
            block.leases.add(to)
            block.leases.discard(consumer)
            return True

    def release(self, ref: Ref, consumer: str) -> bool:
        """See `Store.release`."""
        with self._lock:
            block = self._block(ref, consumer)
            if block is None:
                return False
            block.leases.discard(consumer)
            if not block.leases:
                assert isinstance(ref, LocalRef)
                del self._blocks[ref.key]
            return True

    def usage(self) -> tuple[int, int]:
        """See `Store.usage`."""
        return len(self._blocks), self._slots

    def close(self) -> None:
        """See `Store.close`; the other stages of this process still hold theirs."""

    def _block(self, ref: Ref, consumer: str) -> _Block | None:
        block = self._blocks.get(ref.key) if isinstance(ref, LocalRef) else None
        return block if block is not None and consumer in block.leases else None


class InlineStore:
    """Blocks that travel in their header; a lease is the message itself."""

    def put(self, arrays: Mapping[str, Array], consumer: str) -> InlineRef:
        """See `Store.put`; there is always room."""
        specs, size = layout(arrays)
        data = bytearray(size)
        for spec, array in zip(specs, arrays.values(), strict=True):
            target = np.frombuffer(data, array.dtype, array.size, spec.offset)
            target.reshape(array.shape)[...] = array
        return InlineRef(specs, bytes(data))

    def get(self, ref: Ref, consumer: str) -> dict[str, Array]:
        """See `Store.get`."""
        if not isinstance(ref, InlineRef):
            raise StoreError(f"{consumer} got {type(ref).__name__} where pixels were to be inline")
        return view(ref.data, ref.arrays)

    def pass_on(self, ref: Ref, consumer: str, to: str) -> bool:
        """See `Store.pass_on`."""
        return True

    def release(self, ref: Ref, consumer: str) -> bool:
        """See `Store.release`."""
        return True

    def usage(self) -> None:
        """See `Store.usage`."""

    def close(self) -> None:
        """See `Store.close`."""
