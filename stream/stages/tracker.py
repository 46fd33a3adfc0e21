"""The tracker's shell: takes frames, hands them to the core, passes them on with their masks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stream.buckets import Buckets
from stream.contracts import DetectionJob, DetectionResult
from stream.errors import UsageError
from stream.frame import Masks
from stream.stages.ahead import Ahead, Arrival, Pace
from stream.stages.base import DRAIN_S, IDLE_S, Stage, StageIo, credits_for
from stream.stages.reader import FRAMES, TRACKER
from stream.stats import Reservoir
from stream.transport import Exchange, Halted, Inbox, Outbox, StoreError
from stream.transport.codec import (
    from_job,
    from_masks,
    from_prompted,
    job_arrays,
    to_event,
    to_frame,
    to_hand,
    to_question,
    to_result,
)
from stream.transport.headers import (
    Answered,
    AnswerHeader,
    Asked,
    Credit,
    DataHeader,
    End,
    EventHeader,
    Forget,
    FrameHeader,
    Hand,
    Note,
)

RESULTS = "results"
JOBS = "jobs"
PUBLISHER = "publisher"
DETECTOR = "detector"


class JobClient:
    """The core's way to the detector (`DetectorClient`): one job at a time.

    Args:
        io: The stage's.
        exchange: The link.
        tell: Called while it waits, so that the stage is not taken for one that hangs.
    """

    def __init__(
        self, io: StageIo, exchange: Exchange, tell: Callable[[], None] = lambda: None
    ) -> None:
        self._io = io
        self._exchange = exchange
        self._tell = tell
        self._asked: DetectionJob | None = None
        self._answer: DetectionResult | None = None
        self._submitted_ns = 0
        self._heard: dict[str, int] = {}
        self.detect_ms = Reservoir()
        self.detect_s = Buckets()

    @property
    def waiting(self) -> int:
        """Jobs that the detector has not answered yet."""
        return int(self._asked is not None)

    def wait_for_detector(self) -> None:
        """Wait until the detector has connected.

        Raises:
            Halted: The stage is to end.
        """
        while not isinstance(self._exchange.receive(), Credit):
            self._io.control.wait(IDLE_S, self._exchange.socket)
            self._tell()

    def submit(self, job: DetectionJob) -> bool:
        """Hand over a job; False when the detector has not answered the last one."""
        self._receive()
        if self._asked is not None:
            return False
        ref = self._io.jobs.put(job_arrays(job), DETECTOR)
        if ref is None:
            return False
        self._answer = None  # nobody waits any more for what came since the last poll
        self._submitted_ns = self._io.clock()
        self._exchange.send(from_job(job, ref))
        self._asked = job
        return True

    def poll(self, timeout_s: float) -> DetectionResult | None:
        """Return the answer if it is there within the time; 0 does not wait.

        Raises:
            Halted: The stage is to end; only while waiting.
        """
        self._receive()
        deadline = time.monotonic() + timeout_s
        while self._answer is None and self._asked is not None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self._io.control.wait(min(left_s, IDLE_S), self._exchange.socket)
            self._tell()
            self._receive()
        answer, self._answer = self._answer, None
        return answer

    def heard(self) -> dict[str, int]:
        """Return the stamps of the answer that came since the last call; empty where none did."""
        stamps, self._heard = self._heard, {}
        return stamps

    def _receive(self) -> None:
        header = self._exchange.receive()
        if header is None:
            return
        if not isinstance(header, AnswerHeader):
            raise ValueError(f"the detector sent {type(header).__name__}; an answer was due")
        self._asked = None
        self._answer = to_result(header)
        self._heard = {
            "detector.submitted": self._submitted_ns,
            "detector.taken": header.taken_ns,
            "detector.answered": header.answered_ns,
            "detector.heard": self._io.clock(),
        }
        self.detect_ms.add(header.detect_ns / 1e6)
        self.detect_s.add(header.detect_ns / 1e9)


class Tracker(Stage):
    """Every frame once through the core, in order."""

    name = TRACKER

    def __init__(self, io: StageIo) -> None:
        super().__init__(io)
        self._core = io.parts.tracker(io.config)
        self._inbox: Inbox | None = None
        self._outbox: Outbox | None = None
        self._client: JobClient | None = None
        self._next: Ahead | None = None
        self._pace = Pace()
        self._credit = 0
        self._tracked = 0
        self._dropped = {"shutdown": 0, "ring": 0}
        self._ended = False

    def bind(self) -> dict[str, str]:
        """Bind the links to the publisher and the detector."""
        results, results_at = self.io.bind(RESULTS)
        jobs, jobs_at = self.io.bind(JOBS)
        self._outbox = Outbox(results)
        self._client = JobClient(self.io, Exchange(jobs), self.tell)
        return {RESULTS: results_at, JOBS: jobs_at}

    def prepare(self) -> dict[str, Any]:
        """Load the models."""
        self._core.prepare()
        return {}

    def work(self) -> None:
        """Track until the reader says that nothing more comes; always ends with `End`."""
        assert self.io.control.facts is not None
        assert self._outbox is not None
        assert self._client is not None
        while self._outbox.credit < 1:
            self.io.control.wait(IDLE_S, self._outbox.socket)
            self.tell()
        self._client.wait_for_detector()
        self._inbox = Inbox(self.io.connect(FRAMES))
        facts = self.io.control.facts
        policy = facts["policy"]
        self._core.live = policy == "latest"
        self._pace = Pace(int(1e9 / facts["fps"]) if facts.get("fps") else 0)
        ahead, self._credit = credits_for(policy, self.io.config.transport.ring_slots)
        self._inbox.grant(ahead)
        self._next = Ahead(self._inbox, self._prepare, self.io.clock)
        try:
            while not self._ended:
                self.io.control.wait(IDLE_S, self._next)
                self._obey()
                self._take()
                self.tell()
        finally:
            self._drop_rest()
            self._outbox.send(End())

    def report(self) -> dict[str, Any]:
        """Return `tracked`, `dropped` by cause, the core's report, and detection times."""
        assert self._client is not None
        return {
            "tracked": self._tracked,
            "dropped": dict(self._dropped),
            "core": self._core.report(),
            "detect_ms": self._client.detect_ms.percentiles(),
        }

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return the report, and what live metrics want beside it."""
        assert self._client is not None
        assert self._outbox is not None
        return self.report() | {
            "detect_s": self._client.detect_s.to_data(),
            "queues": {
                "results": max(self._credit - self._outbox.credit, 0),
                "jobs": self._client.waiting,
            },
            "rings": {"jobs": self.io.jobs.usage()},
        }

    def _obey(self) -> None:
        """Do what people want, in the order in which they said it; tell what they should know."""
        orders, control = self.io.control.orders, self.io.control
        while orders:
            order = orders.popleft()
            if isinstance(order, Asked):
                self._core.ask(to_question(order.question), order.renamed)
                continue
            try:
                control.send(self._carry_out(order))
            except (UsageError, ValueError) as error:
                control.send(Answered(order.request, error=str(error)))
        for note in self._core.notes():
            control.send(Note(self.name, note))

    def _carry_out(self, order: Hand | Forget) -> Answered:
        if isinstance(order, Forget):
            self._core.forget(order.track_id)
            return Answered(order.request, track_id=order.track_id)
        return from_prompted(order.request, self._core.prompt(to_hand(order)))

    def beat_ns(self, now_ns: int) -> int:
        """Return until when it was at work: an encoder that does not come back hangs."""
        since_ns = self._next.busy_since_ns if self._next else None
        return now_ns if since_ns is None else min(now_ns, since_ns)

    def _prepare(self, header: DataHeader) -> Arrival:
        """Open a frame and encode it; runs in the thread that is ahead."""
        if not isinstance(header, FrameHeader):
            return Arrival(header)
        try:
            frame = to_frame(header, self.io.frames.get(header.ref, TRACKER))
        except StoreError:
            return Arrival(header)
        taken_ns = frame.stamps["taken"] = self.io.clock()
        self._core.encode(frame)
        self._pace.ahead(self.io.clock() - taken_ns)
        return Arrival(header, frame)

    def _take(self) -> None:
        assert self._next is not None
        arrival = self._next.take()
        if arrival is None:
            return
        if isinstance(arrival.header, End):
            self._ended = True
            self._react(arrival.header.events)
        elif isinstance(arrival.header, FrameHeader):
            begun_ns = self.io.clock()
            self._next.call(self._pace.due_ns(begun_ns) if self._core.live else begun_ns)
            self._track(arrival.header, arrival)
            self._pace.turn(self.io.clock() - begun_ns)
            self._next.hurry()

    def _react(self, events: tuple[EventHeader, ...]) -> None:
        for event in events:
            self._core.event(to_event(event))

    def _track(self, header: FrameHeader, arrival: Arrival) -> None:
        """Run the core on a frame, and pass the frame on with its masks."""
        assert self._client is not None
        store = self.io.frames
        frame = arrival.frame
        if arrival.error is not None:
            raise arrival.error
        if frame is None:
            self._dropped["ring"] += 1
            return
        self._react(header.events)
        try:
            masks = self._core.step(frame, self._client)
        except Halted:
            self._dropped["shutdown"] += 1
            store.release(header.ref, TRACKER)
            raise
        masks.stamps = {**frame.stamps, **masks.stamps, **self._client.heard()}
        masks.stamps.setdefault("tracked", self.io.clock())
        self._pass_on(header, masks)

    def _pass_on(self, header: FrameHeader, masks: Masks) -> None:
        assert self._outbox is not None
        try:
            while self._outbox.credit < 1:
                self.io.control.wait(IDLE_S, self._outbox.socket)
                self.tell()
        finally:
            self._tracked += 1
        masks.stamps["passed"] = self.io.clock()
        if self.io.frames.pass_on(header.ref, TRACKER, PUBLISHER):
            self._outbox.send(from_masks(masks, header))
        else:
            # The pixels under the masks changed while the core looked at them.
            self._tracked -= 1
            self._dropped["ring"] += 1

    def _drop_rest(self) -> None:
        """Count what the reader had sent when the stage was halted."""
        if self._inbox is None or self._next is None:
            return
        waiting = self._next.close()
        if self._ended:
            return
        headers = [arrival.header for arrival in waiting]
        deadline = time.monotonic() + DRAIN_S
        while not any(isinstance(header, End) for header in headers):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            if self.io.control.wait(left_s, self._inbox.socket, raise_halted=False):
                header = self._inbox.receive()
                headers += [header] if header is not None else []
        for header in headers:
            if isinstance(header, FrameHeader):
                self._dropped["shutdown"] += 1
                self.io.frames.release(header.ref, TRACKER)
