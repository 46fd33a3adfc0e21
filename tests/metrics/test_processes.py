from __future__ import annotations

import os
import subprocess
import sys

from stream.metrics.processes import Processes


def test_processes_are_read_until_they_are_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    processes = Processes()
    pids = {"supervisor": os.getpid(), "tracker": child.pid}
    found = processes.read(pids)
    assert set(found) == {"supervisor", "tracker"}
    assert found["supervisor"].cpu_s > 0
    assert found["supervisor"].resident_bytes > 1 << 20
    child.communicate(b"\n")
    assert set(processes.read(pids)) == {"supervisor"}
