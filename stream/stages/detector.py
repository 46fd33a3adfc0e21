"""The detector's shell: takes a job, hands it to the core, sends the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from msgspec import structs

from stream.stages.base import IDLE_S, Stage, StageIo
from stream.stages.tracker import DETECTOR, JOBS
from stream.transport import Exchange
from stream.transport.codec import from_result, to_job
from stream.transport.headers import Credit, JobHeader


class Detector(Stage):
    """Answers jobs one after another until it is halted: only the supervisor knows the end."""

    name = DETECTOR

    def __init__(self, io: StageIo) -> None:
        super().__init__(io)
        self._core = io.parts.detector(io.config)
        self._answered = 0

    def prepare(self) -> dict[str, Any]:
        """Load the models and the texts."""
        self._core.prepare()
        return {}

    def work(self) -> None:
        """Answer until halted."""
        exchange = Exchange(self.io.connect(JOBS))
        exchange.send(Credit(1))
        while True:
            if self.io.control.wait(IDLE_S, exchange.socket):
                header = exchange.receive()
                if isinstance(header, JobHeader):
                    self._answer(header, exchange)
            self.tell()

    def report(self) -> dict[str, Any]:
        """Return `answered`, and what the core itself has to tell."""
        return {"answered": self._answered, **getattr(self._core, "report", dict)()}

    def _answer(self, header: JobHeader, exchange: Exchange) -> None:
        start_ns = self.io.clock()
        job = to_job(header, self.io.jobs.get(header.ref, DETECTOR))
        result = self._core.detect(job)
        self.io.jobs.release(header.ref, DETECTOR)
        end_ns = self.io.clock()
        result = replace(result, detect_ns=end_ns - start_ns)
        answer = structs.replace(from_result(result), taken_ns=start_ns, answered_ns=end_ns)
        exchange.send(answer)
        self._answered += 1
