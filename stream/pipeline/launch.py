"""Starts the stages of a run: what each gets, and nothing more."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

from stream.config import Config
from stream.pipeline.children import Child, ProcessChild, ThreadChild, threads_of
from stream.transport import LocalStore, Place, Ring
from stream.worker import STAGES, Orders

_JOBS_SLOTS = 2
_USES_FRAMES = ("reader", "tracker", "publisher")
_USES_JOBS = ("tracker", "detector")


def launch(
    config: Config,
    parts: str,
    place: Place,
    context: zmq.Context[Any],
    say: Callable[[str, str], None],
) -> dict[str, Child]:
    """Start all stages.

    Args:
        config: The complete run.
        parts: `module:attribute` of what the stages carry.
        place: Where their sockets are; `inproc` makes them threads.
        context: ZeroMQ context of this process, which threads share.
        say: Called with a stage's name and each line that it prints.

    Returns:
        The stages by name. When one cannot be started, those before it are killed.
    """
    slots = config.transport.ring_slots
    if place.kind == "inproc":
        frames, jobs = LocalStore(slots), LocalStore(_JOBS_SLOTS)
        return {
            stage: ThreadChild(_orders(config, stage, parts, place), context, frames, jobs)
            for stage in STAGES
        }
    rings: dict[str, Ring] = {}
    if place.kind == "ipc":
        rings["frames"] = Ring.create(slots, ("tracker", "publisher"))
        rings["jobs"] = Ring.create(_JOBS_SLOTS, ("detector",))
    children: dict[str, Child] = {}
    try:
        for stage in STAGES:
            orders = _orders(config, stage, parts, place, rings)
            fds = tuple(fd for fd in (orders.frames_fd, orders.jobs_fd) if fd is not None)
            threads = threads_of(stage, config)
            children[stage] = ProcessChild(orders, fds, threads, partial(say, stage))
    except BaseException:
        for child in children.values():
            child.kill()
            child.close()
        raise
    finally:
        # The stages hold the memory now; it goes with the last of them.
        for ring in rings.values():
            ring.close()
    return children


def _orders(
    config: Config, stage: str, parts: str, place: Place, rings: dict[str, Ring] | None = None
) -> Orders:
    data = config.model_dump(mode="json")
    if stage != "reader":
        data["source"]["uri"] = ""  # may hold credentials that only the reader needs
    frames = rings["frames"].fileno() if rings and stage in _USES_FRAMES else None
    jobs = rings["jobs"].fileno() if rings and stage in _USES_JOBS else None
    return Orders(stage, place, parts, data, os.getpid(), frames, jobs)
