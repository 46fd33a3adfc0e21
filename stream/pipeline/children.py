"""The stages as the supervisor sees them: processes, or threads of this process."""

from __future__ import annotations

import contextlib
import os
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq

import stream
from stream.config import Config
from stream.transport import Store
from stream.worker import Orders, live

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Child(Protocol):
    """A running stage."""

    pid: int | None
    """Process id, where it has one of its own."""

    def poll(self) -> int | None:
        """Return the exit status once it has ended, negative for a signal."""

    def kill(self) -> None:
        """End it at once."""

    def close(self) -> None:
        """Free what is left after its end."""


class ProcessChild:
    """A stage in its own process; what it prints goes line by line to `say`."""

    def __init__(
        self, orders: Orders, fds: tuple[int, ...], threads: int, say: Callable[[str], None]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stream.worker", orders.stage],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            env=_environment(threads),
        )
        self.pid: int | None = self._process.pid
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(orders))
            self._process.stdin.close()
        self._pump = threading.Thread(target=self._listen, args=(say,), daemon=True)
        self._pump.start()

    def poll(self) -> int | None:
        """See `Child.poll`."""
        return self._process.poll()

    def kill(self) -> None:
        """See `Child.kill`."""
        self._process.kill()

    def close(self) -> None:
        """See `Child.close`."""
        self._process.wait()
        self._pump.join(0.5)
        if self._process.stdout is not None and not self._pump.is_alive():
            self._process.stdout.close()

    def _listen(self, say: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            say(line.decode(errors="replace").rstrip())


class ThreadChild:
    """A stage in a thread of this process; `kill` can only leave it behind."""

    pid: int | None = None

    def __init__(
        self, orders: Orders, context: zmq.Context[Any], frames: Store, jobs: Store
    ) -> None:
        self._status: int | None = None
        self._thread = threading.Thread(
            target=self._run, args=(orders, context, frames, jobs), name=orders.stage, daemon=True
        )
        self._thread.start()

    def poll(self) -> int | None:
        """See `Child.poll`."""
        return self._status

    def kill(self) -> None:
        """See `Child.kill`."""
        self._status = -int(signal.SIGKILL)

    def close(self) -> None:
        """See `Child.close`."""
        self._thread.join(0.1)

    def _run(self, *args: Any) -> None:
        status = live(*args)
        if self._status is None:
            self._status = status


def threads_of(stage: str, config: Config) -> int:
    """Return how many threads a stage's numeric libraries may use."""
    cores = len(os.sched_getaffinity(0))
    tracker = config.tracker.threads or max(1, cores - config.detector.threads)
    return {"tracker": tracker, "detector": config.detector.threads}.get(stage, 1)


def how_it_ended(status: int) -> str:
    """Describe an exit status for people."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _environment(threads: int) -> dict[str, str]:
    variables = dict(os.environ)
    variables |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    # Tracker and detector share the cores; a thread that spins while it waits takes them away.
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    variables["PYTHONUNBUFFERED"] = "1"
    root = str(Path(stream.__file__).parents[1])
    if root not in site.getsitepackages():
        # A stage must run the supervisor's own code, also from a checkout.
        before = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = os.pathsep.join([root, before] if before else [root])
    return variables
