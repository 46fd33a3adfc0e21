"""A ring of slots in shared memory, for arrays that cross processes without a copy.

The memory is an anonymous file (`memfd_create`): it has no name, is handed to child processes as
a file descriptor, and is gone when the last process that maps it is gone, however it ended. There
is nothing to unlink and nothing that a SIGKILL could leave behind. The file is sparse, so that a
slot's capacity costs address space only; pages are taken when they are first written.

Layout: a page with the description, then 64-bit cells (a generation for each slot, a lease for
each slot and consumer, a process id for each consumer), then the slots. Each cell is written by
one side at a time: the producer writes generations and the first consumer's leases while nobody
holds the slot; the holder of a lease sets the next one's before it clears its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from stream.transport.headers import Ref, SlotRef
from stream.transport.store import Array, StoreError, layout, view

SLOT_BYTES = 128 << 20
"""Default capacity of a slot: an 8-bit RGB frame of 43 megapixels."""

_F_ADD_SEALS, _SEALS = 1033, 0x1 | 0x2 | 0x4  # no new seals, no shrinking, no growing
_PAGE = 4096


class _Layout(msgspec.Struct, frozen=True):
    magic: str
    slots: int
    slot_bytes: int
    consumers: tuple[str, ...]

    @property
    def cells(self) -> int:
        return self.slots * (1 + len(self.consumers)) + len(self.consumers)

    @property
    def data_offset(self) -> int:
        return _PAGE + -(-self.cells * 8 // _PAGE) * _PAGE

    @property
    def total(self) -> int:
        return self.data_offset + self.slots * self.slot_bytes


class Ring:
    """Shared-memory store with one producer and consumers known by name.

    The producer calls `put`; a consumer `get`, then `pass_on` or `release`.
    """

    def __init__(self, fd: int, plan: _Layout) -> None:
        self._fd = fd
        self._plan = plan
        self._map = mmap.mmap(fd, plan.total)
        slots, consumers = plan.slots, len(plan.consumers)
        cells: npt.NDArray[Any] = np.frombuffer(self._map, np.uint64, plan.cells, _PAGE)
        self._generation = cells[:slots]
        self._lease = cells[slots : slots + slots * consumers].reshape(slots, consumers)
        self._pid = cells[slots + slots * consumers :]
        self._next = int(self._generation.max()) + 1

    @classmethod
    def create(cls, slots: int, consumers: tuple[str, ...], slot_bytes: int = SLOT_BYTES) -> Ring:
        """Make the memory of a ring.

        Args:
            slots: Number of blocks that can be held at a time.
            consumers: Names of those who may hold one.
            slot_bytes: Capacity of a slot; untouched bytes cost nothing.
        """
        slot_bytes = -(-slot_bytes // _PAGE) * _PAGE
        plan = _Layout("maskcast-ring-1", slots, slot_bytes, consumers)
        fd = os.memfd_create("maskcast", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, plan.total)
        os.pwrite(fd, msgspec.msgpack.encode(plan), 0)
        fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
        return cls(fd, plan)

    @classmethod
    def attach(cls, fd: int, consumer: str | None = None) -> Ring:
        """Map a ring that another process made; takes over the descriptor.

        Args:
            fd: Descriptor inherited from the maker.
            consumer: Name under which this process will hold leases; None for the producer.

        Raises:
            StoreError: The descriptor is not such a ring.
        """
        try:
            plan = msgspec.msgpack.Decoder(_Layout).decode(os.pread(fd, _PAGE, 0).rstrip(b"\0"))
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"descriptor {fd} is not a frame ring: {error}") from error
        ring = cls(fd, plan)
        if consumer is not None:
            ring._pid[ring._index(consumer)] = os.getpid()
        return ring

    def fileno(self) -> int:
        """Return the descriptor to hand to a child process."""
        return self._fd

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return int((~self._lease.any(axis=1)).sum())

    def put(self, arrays: Mapping[str, Array], consumer: str) -> SlotRef | None:
        """Copy arrays into a free slot and lease it to a consumer.

        Returns:
            Where they are; None when every slot is held.

        Raises:
            StoreError: They are larger than a slot.
        """
        specs, size = layout(arrays)
        if size > self._plan.slot_bytes:
            raise StoreError(
                f"a frame of {size / 2**20:.0f} MiB does not fit a slot of "
                f"{self._plan.slot_bytes / 2**20:.0f} MiB; scale the source down"
            )
        if self.free == 0 and not self.reap_dead():
            return None
        free = np.flatnonzero(~self._lease.any(axis=1))
        slot = int(free[0])  # the lowest, so that few slots ever take memory
        generation = self._next
        self._next += 1
        # First the generation: a late reader of the old block must notice before pixels change.
        self._generation[slot] = generation
        base = self._plan.data_offset + slot * self._plan.slot_bytes
        for spec, array in zip(specs, arrays.values(), strict=True):
            flat: Array = np.frombuffer(self._map, array.dtype, array.size, base + spec.offset)
            flat.reshape(array.shape)[...] = array
        self._lease[slot, self._index(consumer)] = generation
        return SlotRef(slot, generation, specs)

    def get(self, ref: Ref, consumer: str) -> dict[str, Array]:
        """Return read-only views of a leased slot.

        Raises:
            StoreError: The slot holds another generation or is not leased to this consumer.
        """
        held = self._held(ref, consumer)
        if held is None:
            raise StoreError(f"{_describe(ref)} is not leased to {consumer} any more")
        base = self._plan.data_offset + held.slot * self._plan.slot_bytes
        end = max((spec.offset for spec in held.arrays), default=0)
        if not 0 <= end < self._plan.slot_bytes:
            raise StoreError(f"{_describe(ref)} names bytes outside its slot")
        return view(memoryview(self._map), held.arrays, base)

    def pass_on(self, ref: Ref, consumer: str, to: str) -> bool:
        """Lease the slot to the next consumer, then end the own lease."""
        held = self._held(ref, consumer)
        if held is None:
            return False
        self._lease[held.slot, self._index(to)] = held.generation
        self._lease[held.slot, self._index(consumer)] = 0
        return True

    def release(self, ref: Ref, consumer: str) -> bool:
        """End a lease; False when the slot was given to someone else in between."""
        held = self._held(ref, consumer)
        if held is None:
            return False
        self._lease[held.slot, self._index(consumer)] = 0
        return True

    def reap(self, consumer: str) -> int:
        """Take back all leases of a consumer that is gone.

        Returns:
            How many there were.
        """
        leases = self._lease[:, self._index(consumer)]
        count = int((leases != 0).sum())
        leases[:] = 0
        return count

    def reap_dead(self) -> dict[str, int]:
        """Take back the leases of consumers whose process no longer runs, by consumer."""
        reaped = {}
        for consumer, pid in zip(self._plan.consumers, self._pid.tolist(), strict=True):
            if pid and not _alive(pid) and (count := self.reap(consumer)):
                reaped[consumer] = count
        return reaped

    def usage(self) -> tuple[int, int]:
        """See `Store.usage`."""
        return self._plan.slots - self.free, self._plan.slots

    def close(self) -> None:
        """Close the descriptor; the mapping goes when the last view of it is gone."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        del self._generation, self._lease, self._pid
        with contextlib.suppress(BufferError):
            self._map.close()

    def _index(self, consumer: str) -> int:
        try:
            return self._plan.consumers.index(consumer)
        except ValueError:
            known = ", ".join(self._plan.consumers)
            raise StoreError(f"{consumer!r} holds no leases in this ring; known: {known}") from None

    def _held(self, ref: Ref, consumer: str) -> SlotRef | None:
        if not isinstance(ref, SlotRef) or not 0 <= ref.slot < self._plan.slots:
            raise StoreError(f"{_describe(ref)} is not in this ring of {self._plan.slots} slots")
        same = int(self._generation[ref.slot]) == ref.generation
        leased = int(self._lease[ref.slot, self._index(consumer)]) == ref.generation
        return ref if same and leased else None


def _describe(ref: Ref) -> str:
    if isinstance(ref, SlotRef):
        return f"slot {ref.slot} of generation {ref.generation}"
    return type(ref).__name__


def _alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
