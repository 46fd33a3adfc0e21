from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from stream.metrics.processes import Processes


def test_processes_are_read_until_they_are_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    processes = Processes()
    pids = {"supervisor": os.getpid(), "tracker": child.pid}
    found = processes.read(pids)
    assert set(found) == {"supervisor", "tracker"}
    assert found["supervisor"].cpu_s > 0
    resident = psutil.Process().memory_info().rss
    assert found["supervisor"].resident_bytes == pytest.approx(resident, rel=0.2)
    child.communicate(b"\n")
    assert set(processes.read(pids)) == {"supervisor"}
