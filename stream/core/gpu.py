"""What a stage uses of a GPU, and what is left of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

PERIOD_S = 1.0


class GpuGauge:
    """Reads memory and load of one CUDA device, at most once a second.

    Nothing here waits for the device: memory is the allocator's own count, the rest comes from
    the driver. The load needs NVML (`nvidia-ml-py`) and is left out without it.

    Args:
        device: A torch device.
        clock: Monotonic time in seconds.
    """

    def __init__(self, device: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._read_s = float("-inf")
        self._last: dict[str, Any] | None = None
        self._has_load = True

    def read(self) -> dict[str, Any] | None:
        """Return the device's name, bytes by kind and maybe `load` (0 to 1); None without CUDA."""
        if not self._device.startswith("cuda"):
            return None
        if self._clock() - self._read_s >= PERIOD_S:
            self._read_s = self._clock()
            self._last = self._measure()
        return self._last

    def _measure(self) -> dict[str, Any]:
        import torch

        free, total = torch.cuda.mem_get_info(self._device)
        found: dict[str, Any] = {
            "device": str(torch.device(self._device).index or 0),
            "allocated_bytes": torch.cuda.memory_allocated(self._device),
            "reserved_bytes": torch.cuda.memory_reserved(self._device),
            "used_bytes": total - free,
            "total_bytes": total,
        }
        if self._has_load:
            self._has_load = False
            # Without NVML torch raises one of several errors; asking again would not help.
            with contextlib.suppress(Exception):
                found["load"] = torch.cuda.utilization(self._device) / 100
                self._has_load = True
        return found
