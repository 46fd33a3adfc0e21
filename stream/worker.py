"""Entry of a stage's process: `python -P -m stream.worker STAGE`, its orders as JSON on stdin.

The same `live` runs a stage as a thread, for `inproc`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from stream.config import Config
from stream.errors import MaskcastError
from stream.logs import redact
from stream.stages.base import Parts, Stage, StageIo
from stream.transport import Control, InlineStore, Place, Ring, Store
from stream.transport.headers import Done, Failed

STAGES = ("reader", "tracker", "detector", "publisher")

_PR_SET_PDEATHSIG = 1
_ORPHAN_CHECK_S = 0.1
_ORPHAN_LIMIT_S = 1.6


class Orders(msgspec.Struct, frozen=True):
    """What a stage needs to know to begin."""

    stage: str
    place: Place
    parts: str
    """`module:attribute` of the `Parts`."""
    config: dict[str, Any]
    parent: int = 0
    """Process id of the supervisor."""
    frames_fd: int | None = None
    jobs_fd: int | None = None


def live(
    orders: Orders,
    context: zmq.Context[Any],
    frames: Store,
    jobs: Store,
    born: Callable[[Control], None] = lambda _: None,
) -> int:
    """Run a stage from its first word to its last.

    Args:
        orders: What to run.
        context: ZeroMQ context of this process.
        frames: Where frames are.
        jobs: Where detection jobs are.
        born: Called with the control link once there is one.

    Returns:
        0, or 1 after a failure that the supervisor was told of.
    """
    control = Control(context, orders.place, orders.stage)
    born(control)
    stage: Stage | None = None
    try:
        config = Config.model_validate(orders.config)
        parts = load_parts(orders.parts)
        io = StageIo(config, parts, control, orders.place, context, frames, jobs)
        stage = _stage_class(orders.stage)(io)
        stage.run()
    except BaseException as error:
        control.send(_failure(orders.stage, error))
        control.send(Done(orders.stage, _last_report(stage)))
        return 1
    finally:
        frames.close()
        jobs.close()
        control.close()
    return 0


def load_parts(name: str) -> Parts:
    """Return the parts named `module:attribute`."""
    module, _, attribute = name.partition(":")
    parts: Parts = getattr(importlib.import_module(module), attribute)
    return parts


def main() -> None:
    """Run the stage that the orders on stdin ask for; never returns."""
    # The terminal's Ctrl-C reaches the whole group; a stage ends when the supervisor says so.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    if orders.stage != "publisher":
        _die_with_parent()
    if orders.stage == "detector":
        _give_way(orders.config)
    frames, jobs = _stores(orders)
    context: zmq.Context[Any] = zmq.Context()
    orphaned = threading.Event()

    def guard(control: Control) -> None:
        threading.Thread(
            target=_watch_parent, args=(orders.parent, control, orphaned), daemon=True
        ).start()

    status = live(orders, context, frames, jobs, guard)
    context.term()
    if orphaned.is_set():
        orders.place.remove()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread that hangs in a camera driver must not hold the process.
    os._exit(status)


def _stores(orders: Orders) -> tuple[Store, Store]:
    def store(fd: int | None, consumers: tuple[str, ...]) -> Store:
        if fd is None:
            return InlineStore()
        return Ring.attach(fd, orders.stage if orders.stage in consumers else None)

    return store(orders.frames_fd, ("tracker", "publisher")), store(orders.jobs_fd, ("detector",))


def _stage_class(name: str) -> type[Stage]:
    module = importlib.import_module(f"stream.stages.{name}")
    found: type[Stage] = getattr(module, name.capitalize())
    return found


def _failure(stage: str, error: BaseException) -> Failed:
    drain = stage == "reader"  # what was read before is still good
    if isinstance(error, MaskcastError):
        return Failed(stage, type(error).__name__, redact(_printable(str(error))), drain=drain)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    trace = "".join(traceback.format_exception(error))
    return Failed(stage, "Unexpected", redact(_printable(text)), redact(_printable(trace)), drain)


def _printable(text: str) -> str:
    """Write out bytes of file names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _last_report(stage: Stage | None) -> dict[str, Any]:
    report: dict[str, Any] = {}
    # A stage that failed early may have nothing to report from.
    with contextlib.suppress(Exception):
        if stage is not None:
            report = stage.report()
            msgspec.msgpack.encode(report)
    return report


def _give_way(config: dict[str, Any]) -> None:
    """Let others have the processor first, as far as is configured."""
    with contextlib.suppress(OSError):
        os.nice(int(config["detector"]["niceness"]))


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch_parent(parent: int, control: Control, orphaned: threading.Event) -> None:
    """Halt the stage when the supervisor is gone; the publisher still closes its files."""
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    orphaned.set()
    control.halt(_ORPHAN_LIMIT_S / 2)
    time.sleep(_ORPHAN_LIMIT_S)
    os._exit(1)


if __name__ == "__main__":
    main()
