"""What the parts of the pipeline promise each other. Types only: no sockets, no models.

The stages' shells (`stream.stages`) know transport and nothing of models; the cores behind these
protocols know models and nothing of transport.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from stream.frame import Detection, Frame, Masks
from stream.vitals import Vitals


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something about the stream that is not a frame, at its place in the order of frames."""

    kind: Literal["size", "gap", "relock"]
    """`size`: frames have another size from here; `gap`: time was lost (reconnect, stall);
    `relock`: 16-bit levels were set anew."""
    detail: str
    """One line for people; holds no credentials."""
    size: tuple[int, int] | None = None
    """(H, W) from here on, for `size`."""
    gap_s: float = 0.0
    """Seconds without frames, for `gap`."""


class Source(Protocol):
    """Gives frames in order. Opened, read and closed by one thread."""

    name: str
    """What to print: the URI without credentials."""
    live: bool
    """True where frames come whether they are read or not."""
    fps: float | None
    """Nominal frame rate where it is known, after `open`."""
    frames_total: int | None
    """Number of frames where it is known, after `open`."""
    counters: dict[str, int]
    """What the source itself threw away or did, by cause: `stale`, `before_keyframe`, `corrupt`,
    `reconnects`, `lost` (reported lost by the source), ..."""

    def open(self) -> None:
        """Open; every failure that a user can mend is a UsageError or a SourceError."""

    def read(self, stop: threading.Event) -> Frame | StreamEvent | None:
        """Return the next frame or event, or None at the end of the stream.

        `Frame.index` counts the frames returned by this source from 0. Blocks at most for the
        source's own timeouts and returns None soon after `stop` is set.
        """

    def close(self) -> None:
        """Free everything; may be called twice, and without `open`."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    texts: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    """The user's; the detector's own are weighed in as well."""
    exemplars: tuple[str, ...] = ()
    """Labels of things that were shown rather than named ("more like this")."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All that a detection can be called: texts, then exemplars."""
        return (*self.texts, *self.exemplars)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A thing shown in the frame of a job, that others like it are to be found by."""

    label: str
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in frame pixels."""


@dataclass(frozen=True, slots=True)
class HandPrompt:
    """What a person says about one object in one frame."""

    frame_index: int | None = None
    """Number of the frame; None: the last one that was tracked."""
    track_id: int | None = None
    """The track that is corrected; None: a new object."""
    label: str | None = None
    """What it is called; None: as before, and a new one after the first text."""
    points: tuple[tuple[float, float], ...] = ()
    """(x, y) in frame pixels."""
    labels: tuple[int, ...] = ()
    """1 (inside) or 0 (outside) for each point."""
    box: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 in frame pixels."""
    mask: npt.NDArray[np.bool_] | None = None
    """(H, W) of the frame's size."""
    more: bool = False
    """Whether points add to those given before on this frame."""
    exemplar: bool = False
    """Whether others like it are to be found, under `label`."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """What became of a prompt by hand."""

    track_id: int
    frame_index: int
    area_px: int
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 in frame pixels, x1 and y1 exclusive."""


@dataclass(frozen=True, slots=True)
class DetectionJob:
    """A frame for the detector."""

    frame_index: int
    revision: int
    """Number of the question: results asked under an older one are thrown away."""
    image: npt.NDArray[np.uint8]
    """(H, W, 3) RGB."""
    features: dict[str, npt.NDArray[Any]]
    """SAM2 features of the frame, by level name; float16 or float32 arrays."""
    question: Question
    shown: tuple[Exemplar, ...] = ()
    """Exemplars to learn from this frame; the detector keeps them by label."""
    known: npt.NDArray[np.float32] | None = None
    """(N, D) unit embeddings to be scored under the question; None for none."""


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What the detector saw in the frame of a job."""

    frame_index: int
    revision: int
    detections: tuple[Detection, ...]
    detect_ns: int
    """Time from the job's arrival at the detector to its answer."""
    embedding: npt.NDArray[np.float32] | None = None
    """(D,) unit length: the whole image's; None where the detector has none."""
    scores: npt.NDArray[np.float32] | None = None
    """(N, T) score in [0, 1] of each of `known` under each of the question's labels."""
    refused: dict[str, str] = field(default_factory=dict)
    """Label -> why an exemplar of the job could not be used."""


class DetectorClient(Protocol):
    """The tracker's side of the loop to the detector. Credit of one."""

    def submit(self, job: DetectionJob) -> bool:
        """Hand over a job; False when the detector has not answered the last one."""

    def poll(self, timeout_s: float) -> DetectionResult | None:
        """Return the answer if it is there within the time; 0 does not wait."""


class TrackerCore(Protocol):
    """Frames in, masks out."""

    live: bool
    """Whether frames are passed over rather than waited for; set before the first frame. A core
    whose stream is not live may wait for the detector, so that its results do not depend on the
    machine's speed."""

    def prepare(self) -> None:
        """Load the models and run once, so that the first frame is not slow."""

    def encode(self, frame: Frame) -> None:
        """Prepare the frame that comes next, or the one after; another thread calls this.

        Only what needs nothing of the frames before it; a frame need not be prepared.
        """

    def step(self, frame: Frame, detector: DetectorClient) -> Masks:
        """Process the next frame; never waits for the detector while `live`."""

    def event(self, event: StreamEvent) -> None:
        """React to a change of size or a gap."""

    def ask(self, question: Question, renamed: dict[str, str]) -> None:
        """Go on under another question; `renamed` says which text has become which."""

    def prompt(self, prompt: HandPrompt) -> Prompted:
        """Take a prompt by hand, for a frame that was tracked already.

        Raises:
            UsageError: It cannot be done as asked; nothing has changed.
        """

    def forget(self, track_id: int) -> None:
        """End a track.

        Raises:
            UsageError: There is no such track.
        """

    def notes(self) -> list[str]:
        """Return lines that people should see, each once."""

    def report(self) -> dict[str, Any]:
        """Return `{"detection": {...}, "objects": {"now": n, "ever": n}}` for the run's report."""


class DetectorCore(Protocol):
    """Jobs in, detections out."""

    def prepare(self) -> None:
        """Load the models and the texts, and run once."""

    def detect(self, job: DetectionJob) -> DetectionResult:
        """Find the objects that the texts describe."""


class Sink(Protocol):
    """Takes every result. All sinks of a run live in the publisher's process."""

    name: str

    def open(self) -> None:
        """Bind, create files; a failure is a SinkError or a UsageError."""

    def write(self, frame: Frame, masks: Masks) -> None:
        """Take one frame with its result; the frame's arrays are valid during the call only."""

    def close(self) -> None:
        """Finish files and free sockets; may be called twice, and without `open`."""


@dataclass(slots=True)
class RunInfo:
    """What the publisher's sinks may show of the whole run; filled while it goes."""

    stream: str
    source: str
    texts: list[str]
    model: str = ""
    fps: float | None = None
    live: bool = False
    control: str | None = None
    """Where the run listens to people; None: nowhere."""
    extra: dict[str, Any] = field(default_factory=dict)
    vitals: Vitals = field(default_factory=Vitals)
    """Its health and figures, for machines."""
