"""Starts the stages, watches them, ends them: whatever happens, everything ends.

    starting --all ready--> running --end of stream, limit, signal--> ending --> all gone
        `--------error, death, timeout, signal: halt----------------------^

Ending has two degrees. *Stop* goes to the reader: it reads no more, and what is on its way is
finished in order. *Halt* goes to every stage: end at the next frame, count what waits. A stage
that does not end in time after a halt is killed.
"""

from __future__ import annotations

import os
import time
from typing import Any, Literal

import zmq

from stream.config import Config
from stream.errors import StageError
from stream.logs import RunLog
from stream.pipeline.account import Account, Snapshot
from stream.pipeline.answering import Answering
from stream.pipeline.children import Child
from stream.pipeline.hanging import Hanging
from stream.pipeline.launch import launch
from stream.pipeline.observer import Observer
from stream.pipeline.signals import Signals
from stream.pipeline.verdict import INTERRUPTED, Verdict
from stream.question import question_of
from stream.remote import DEFAULT_ENDPOINT, Door
from stream.report import Report
from stream.transport import Hub, Place
from stream.transport.headers import (
    Answered,
    ControlHeader,
    Done,
    Ending,
    Facts,
    Failed,
    Halt,
    Hello,
    Note,
    Ready,
    Start,
    Status,
    Stop,
    Vitals,
)
from stream.vitals import SUPERVISOR, Pulse
from stream.worker import STAGES

DRAIN_S = 0.8
"""How long what is on its way may take to be finished after a stop."""
HALT_S = 1.1
"""How long a stage may take to end after a halt, before it is killed."""
PATIENT_HALT_S = 30.0
"""The same where nobody waits: a slow model may finish its frame."""
GIVE_UP_STARTING_S = 0.4
IMPATIENT_S = 0.3
"""A signal that comes so long after the first one means: now."""

_TICK_S = 0.05
_LAST_WORDS_S = 0.15
_SHOW_S = 0.25
_MEMORY_S = 1.0
_VITALS_S = 0.5
_FRAME_STAGES = frozenset({"reader", "tracker", "publisher"})


class Supervisor:
    """One run. `run` once, then throw away."""

    def __init__(self, config: Config, parts: str, observer: Observer, log: RunLog) -> None:
        self._config = config
        self._parts = parts
        self._observer = observer
        self._log = log
        self._account = Account()
        self._verdict = Verdict()
        self._hanging = Hanging(config.metrics.hung_after_s)
        self._answering: Answering | None = None
        self._children: dict[str, Child] = {}
        self._endpoints: dict[str, str] = {}
        self._greeted: set[str] = set()
        self._ready: set[str] = set()
        self._ended_at: dict[str, float] = {}
        self._let_go: set[str] = set()
        self._state = "starting"
        self._halted = False
        self._halt_at: float | None = None
        self._kill_at: float | None = None
        self._halt_s = HALT_S
        self._signals_seen = 0
        self._first_signal = 0.0
        self._impatient = False
        self._began = time.monotonic()
        self._show_at = self._memory_at = self._vitals_at = 0.0
        self._served = config.web.enabled or config.metrics.port is not None

    def run(self) -> Report:
        """Run to the end and return the report; errors of stages are in it.

        Raises:
            UsageError: There is no place for the sockets.
        """
        place = Place.make(self._config.transport.kind)
        lock = place.hold()
        context: zmq.Context[Any] = zmq.Context()
        hub = Hub(context, place)
        self._hub = hub
        try:
            self._listen(context)
            with Signals() as signals:
                self._signals = signals
                self._children = launch(self._config, self._parts, place, context, self._heard)
                while self._running():
                    self._turn()
            while headers := hub.receive(_LAST_WORDS_S):
                for header in headers:
                    self._on(header)
            self._watch_children(time.monotonic(), patience_s=0.0)
        finally:
            for child in self._children.values():
                if child.poll() is None:
                    child.kill()
            for child in self._children.values():
                child.close()
            if self._answering is not None:
                self._answering.close()
            hub.close()
            if not (place.kind == "inproc" and self._verdict.lost):
                context.term()
            place.remove()
            if lock is not None:
                os.close(lock)
        seconds = time.monotonic() - self._began
        return self._verdict.report(self._account, self._hanging.errors(), seconds)

    def _listen(self, context: zmq.Context[Any]) -> None:
        """Open the door to people, if one is wanted; stages are told where it is."""
        endpoint = self._config.control.endpoint
        if endpoint == "auto":
            endpoint = None if self._config.publish.endpoint is None else DEFAULT_ENDPOINT
        if endpoint is not None:
            door = Door(context, endpoint)
            self._answering = Answering(door, question_of(self._config), self._hub.send)
            endpoint = door.endpoint
        control = self._config.control.model_copy(update={"endpoint": endpoint})
        self._config = self._config.model_copy(update={"control": control})

    def _heard(self, stage: str, line: str) -> None:
        self._log.write(stage, line)
        self._observer.output(stage, line)

    # -- the loop --------------------------------------------------------------------------------

    def _running(self) -> bool:
        return any(child.poll() is None for child in self._children.values())

    def _turn(self) -> None:
        for header in self._hub.receive(_TICK_S):
            self._on(header)
        now = time.monotonic()
        if self._answering is not None and self._state == "running":
            self._answering.turn(now)
        self._watch_signals(now)
        self._watch_children(now)
        self._watch_time(now)
        for stage, text in self._hanging.look(self._account, time.monotonic_ns()):
            self._log.write(stage, text)
            self._observer.note(stage, text)
        if self._served and now >= self._vitals_at:
            self._vitals_at = now + _VITALS_S
            self._hub.send("publisher", Vitals(self._state, self._pulses()))
        if now >= self._show_at:
            self._show_at = now + _SHOW_S
            self._observer.update(self._snapshot(now))
        if self._state != "starting" and now >= self._memory_at:
            self._memory_at = now + _MEMORY_S
            self._account.sample_memory([c.pid for c in self._children.values() if c.pid])

    def _snapshot(self, now: float) -> Snapshot:
        waiting = [stage for stage in STAGES if stage not in self._ready]
        return self._account.snapshot(self._state, now - self._began, waiting)

    def _pulses(self) -> dict[str, Pulse]:
        """Return the last word of each stage, for those who ask how the run is."""
        pulses = {SUPERVISOR: Pulse("running", time.monotonic_ns(), os.getpid())}
        for stage, child in self._children.items():
            beat_ns = self._account.beats_ns.get(stage)
            ended = stage in self._account.done or child.poll() is not None
            state: Literal["starting", "running", "ended"] = (
                "ended" if ended else "starting" if beat_ns is None else "running"
            )
            values = self._account.last.get(stage, {})
            pulses[stage] = Pulse(state, beat_ns or 0, child.pid, values)
        return pulses

    def _on(self, header: ControlHeader) -> None:
        match header:
            case Hello():
                self._on_hello(header)
            case Ready():
                self._on_ready(header)
            case Status():
                self._account.status(header.stage, header.values, header.beat_ns)
            case Note():
                self._log.write(header.stage, header.text)
                self._observer.note(header.stage, header.text)
            case Answered():
                if self._answering is not None:
                    self._answering.answered(header)
            case Ending():
                self._on_ending(header)
            case Failed():
                self._on_failed(header)
            case Done():
                self._account.final(header.stage, header.report)
                if self._account.done >= _FRAME_STAGES:
                    self._halt(time.monotonic())
            case _:
                raise ValueError(f"{type(header).__name__} is not a stage's word")

    def _on_hello(self, header: Hello) -> None:
        """Tell a stage that comes late what was said before; nobody could have told it then."""
        self._endpoints |= header.endpoints
        self._greeted.add(header.stage)
        if self._account.source:
            self._hub.send(header.stage, Facts(self._account.source))
        if self._halted:
            self._hub.send(header.stage, Halt(GIVE_UP_STARTING_S))

    def _on_ready(self, header: Ready) -> None:
        self._ready.add(header.stage)
        if header.stage == "reader":
            self._account.source = header.facts
            for stage in self._greeted:
                self._hub.send(stage, Facts(header.facts))
        if header.stage == "publisher":
            self._account.sinks = header.facts["sinks"]
            if self._config.control.endpoint is not None:
                self._account.sinks["control"] = {"endpoint": self._config.control.endpoint}
        if self._ready == set(STAGES) and self._state == "starting":
            self._state = "running"
            self._account.beats_ns = dict.fromkeys(STAGES, time.monotonic_ns())
            for stage in STAGES:
                self._hub.send(stage, Start(self._endpoints))
            self._observer.started(self._snapshot(time.monotonic()))

    def _on_ending(self, header: Ending) -> None:
        self._state = "ending"
        if header.reason == "seconds" and self._halt_at is None:
            self._halt_at = time.monotonic() + DRAIN_S
            self._halt_s = PATIENT_HALT_S

    def _on_failed(self, header: Failed) -> None:
        if header.kind == "Unexpected":
            self._log.write(header.stage, header.trace)
        self._verdict.fails(header, self._log.path)
        if not header.drain or self._state == "starting":
            self._halt(time.monotonic())

    # -- ending ----------------------------------------------------------------------------------

    def _watch_signals(self, now: float) -> None:
        seen, self._signals_seen = self._signals_seen, self._signals.count
        if self._signals.count == seen:
            return
        self._verdict.interrupted()
        if self._first_signal:
            # Said twice at once, to the process and to its group, it is still one wish.
            if now - self._first_signal > IMPATIENT_S:
                self._impatient = True
                self._kill()
            return
        self._first_signal = now
        if self._state == "starting":
            self._halt(now)
        else:
            self._state = "ending"
            self._halt_at, self._halt_s = now + DRAIN_S, HALT_S
            self._hub.send("reader", Stop())
        if self._halted:
            self._halt(now)

    def _watch_children(self, now: float, patience_s: float = _LAST_WORDS_S) -> None:
        """Notice a stage that ended without its last word."""
        for stage, child in self._children.items():
            status = child.poll()
            if status is None or stage in self._account.done or stage in self._verdict.lost:
                continue
            if stage in self._let_go:
                continue
            # Its last word may still be on the way.
            since = self._ended_at.setdefault(stage, now)
            if status >= 0 and now - since < patience_s:
                continue
            self._verdict.dies(stage, status, expected=self._quietly(status))
            self._halt(now)

    def _quietly(self, status: int) -> bool:
        """A Ctrl-C reaches a stage that is just being born, too."""
        return self._verdict.exit == INTERRUPTED and self._state == "starting" and status < 0

    def _watch_time(self, now: float) -> None:
        limit = self._config.transport.start_timeout_s
        if self._state == "starting" and not self._halted and now - self._began > limit:
            late = next(stage for stage in STAGES if stage not in self._ready)
            error = StageError(
                late, f"was not ready within {limit:g} s; raise transport.start_timeout_s"
            )
            self._verdict.error(str(error), error.exit_status)
            self._halt(now)
        if self._halt_at is not None and now >= self._halt_at:
            self._halt_at = None
            self._halt(now, self._halt_s)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill()

    def _halt(self, now: float, grace_s: float = HALT_S) -> None:
        """Order all stages to end; a later order can only shorten the time they have."""
        if self._state == "starting":
            grace_s = GIVE_UP_STARTING_S
        if self._kill_at is None or now + grace_s < self._kill_at:
            self._kill_at = now + grace_s
            for stage in STAGES:
                self._hub.send(stage, Halt(grace_s))
        self._halted = True

    def _kill(self) -> None:
        """Kill what still runs; it is an error unless nothing can be lost by it."""
        for stage, child in self._children.items():
            if child.poll() is not None:
                continue
            child.kill()
            idle = stage == "detector" and self._account.done >= _FRAME_STAGES
            if idle:
                self._let_go.add(stage)  # its last look was for nobody
            elif stage not in self._verdict.lost:
                self._verdict.lost.append(stage)
                if self._state != "starting" and not self._impatient:
                    self._verdict.error(f"stage {stage} did not end in time and was killed", 1)
