"""Processor time and memory of the stages' processes, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used."""

    cpu_s: float
    """User and system time since its start."""
    resident_bytes: int


class Processes:
    """Keeps a handle of each process for the next time."""

    def __init__(self) -> None:
        self._handles: dict[int, psutil.Process] = {}

    def read(self, pids: Mapping[str, int]) -> dict[str, Usage]:
        """Return what each process used, by stage; those that are gone are left out."""
        self._handles = {pid: h for pid, h in self._handles.items() if pid in pids.values()}
        found = {}
        for stage, pid in pids.items():
            try:
                handle = self._handles.get(pid) or psutil.Process(pid)
                self._handles[pid] = handle
                with handle.oneshot():
                    times = handle.cpu_times()
                    memory = handle.memory_info().rss
            except psutil.Error:
                continue
            found[stage] = Usage(times.user + times.system, memory)
        return found
