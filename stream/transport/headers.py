"""What travels between stages: msgpack headers, one part each. A pure codec, no sockets.

Data links carry `DataHeader`s, the control link carries `ControlHeader`s. Pixels are not here:
a header holds a `Ref` that says where they are (`stream.transport.store`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from stream.frame import State
from stream.vitals import Pulse


class ArraySpec(msgspec.Struct, frozen=True, array_like=True):
    """One array inside a block of bytes."""

    name: str
    dtype: str
    """NumPy's `dtype.str`, byte order included."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the block."""


class SlotRef(msgspec.Struct, frozen=True, tag="slot"):
    """Arrays in a slot of the shared-memory ring."""

    slot: int
    generation: int
    arrays: tuple[ArraySpec, ...]


class LocalRef(msgspec.Struct, frozen=True, tag="local"):
    """Arrays in this process."""

    key: int


class InlineRef(msgspec.Struct, frozen=True, tag="inline"):
    """Arrays that travel in the message itself."""

    arrays: tuple[ArraySpec, ...]
    data: bytes


Ref = SlotRef | LocalRef | InlineRef


class EventHeader(msgspec.Struct, frozen=True):
    """A `StreamEvent`; it rides on the frame that it stands before."""

    kind: str
    detail: str
    size: tuple[int, int] | None
    gap_s: float


class FrameHeader(msgspec.Struct, frozen=True, tag="frame"):
    """A frame, and what happened to the stream just before it."""

    index: int
    pts_s: float
    captured_ns: int
    source: str
    lost_before: int
    levels: tuple[float, float] | None
    stamps: dict[str, int]
    events: tuple[EventHeader, ...]
    dropped: dict[str, int]
    """Frames of this run dropped before this one was sent, by cause."""
    ref: Ref


class ObjectHeader(msgspec.Struct, frozen=True, array_like=True):
    """A `TrackedObject`; `bits` is its box-sized mask, packed by rows."""

    id: int
    label: str
    score: float
    state: State
    box: tuple[int, int, int, int]
    area: int
    bits: bytes
    parent: int | None = None


class ResultHeader(msgspec.Struct, frozen=True, tag="result"):
    """A frame's masks, and the frame itself for the sinks."""

    frame: FrameHeader
    size: tuple[int, int]
    stamps: dict[str, int]
    objects: tuple[ObjectHeader, ...]


class QuestionHeader(msgspec.Struct, frozen=True, array_like=True):
    """A `Question`."""

    texts: tuple[str, ...]
    negatives: tuple[str, ...]
    exemplars: tuple[str, ...]


class ExemplarHeader(msgspec.Struct, frozen=True, array_like=True):
    """An `Exemplar`."""

    label: str
    box: tuple[float, float, float, float]


class JobHeader(msgspec.Struct, frozen=True, tag="job"):
    """A frame for the detector; `ref` holds `image`, `features/<level>` and maybe `known`."""

    frame_index: int
    revision: int
    ref: Ref
    question: QuestionHeader
    shown: tuple[ExemplarHeader, ...] = ()


class DetectionHeader(msgspec.Struct, frozen=True, array_like=True):
    """A `Detection`; `bits` is its mask, packed by rows."""

    frame_index: int
    label: str
    score: float
    box: tuple[float, float, float, float]
    point: tuple[float, float]
    shape: tuple[int, int]
    bits: bytes
    embedding: bytes | None
    """float32, little endian."""


class AnswerHeader(msgspec.Struct, frozen=True, tag="answer"):
    """What the detector saw."""

    frame_index: int
    revision: int
    detections: tuple[DetectionHeader, ...]
    detect_ns: int
    embedding: bytes | None = None
    """float32, little endian."""
    scores: tuple[int, bytes] | None = None
    """Number of rows, and float32, little endian, row after row."""
    refused: dict[str, str] = {}
    taken_ns: int = 0
    """Monotonic time at which the detector took the job, and at which it answered."""
    answered_ns: int = 0


class Credit(msgspec.Struct, frozen=True, tag="credit"):
    """The consumer can take `n` more."""

    n: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """Nothing follows. Needs no credit."""

    events: tuple[EventHeader, ...] = ()


DataHeader = FrameHeader | ResultHeader | JobHeader | AnswerHeader | Credit | End


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Stage to supervisor: alive, and listening at these endpoints, by link."""

    stage: str
    pid: int
    endpoints: dict[str, str]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Stage to supervisor: models loaded, source or sinks open."""

    stage: str
    facts: dict[str, Any]


class Facts(msgspec.Struct, frozen=True, tag="facts"):
    """Supervisor to stages: what the opened source is."""

    source: dict[str, Any]


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Supervisor to stages: everything is ready; connect and go."""

    endpoints: dict[str, str]


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Supervisor to the reader: read no more; what is on its way is finished."""


class Halt(msgspec.Struct, frozen=True, tag="halt"):
    """Supervisor to stages: finish at the next frame; count what waits as dropped."""

    grace_s: float
    """Time until a stage that still runs is killed; a later order can shorten it."""


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """Supervisor to tracker and publisher: the question is another from here on."""

    question: QuestionHeader
    renamed: dict[str, str] = {}
    """Old -> new, of texts that were edited."""


class Hand(msgspec.Struct, frozen=True, tag="hand"):
    """Supervisor to tracker: a `HandPrompt`; it is answered by `Answered`."""

    request: int
    frame_index: int | None
    track_id: int | None
    label: str | None
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    box: tuple[float, float, float, float] | None
    rle: tuple[int, int, str] | None
    """H, W and COCO compressed counts."""
    more: bool
    exemplar: bool


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """Supervisor to tracker: end a track; it is answered by `Answered`."""

    request: int
    track_id: int


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """Tracker to supervisor: what became of a request."""

    request: int
    error: str = ""
    track_id: int | None = None
    frame_index: int | None = None
    box: tuple[int, int, int, int] | None = None
    area_px: int | None = None


Order = Asked | Hand | Forget
"""What a person wants of a stage, in the order in which it was said."""


class Vitals(msgspec.Struct, frozen=True, tag="vitals"):
    """Supervisor to publisher: what the stages told, for whoever asks how the run is."""

    state: str
    """`starting`, `running` or `ending`."""
    pulses: dict[str, Pulse]


class Ending(msgspec.Struct, frozen=True, tag="ending"):
    """Reader to supervisor: the stream ends."""

    reason: str
    """`eof`, `frames`, `seconds`, `stop` or `error`."""


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Stage to supervisor, several times a second: counters so far; also its heartbeat."""

    stage: str
    values: dict[str, Any]
    beat_ns: int = 0
    """Monotonic time until which the stage was at work; a part of it may hang since then."""


class Note(msgspec.Struct, frozen=True, tag="note"):
    """Stage to supervisor: a line that people should see."""

    stage: str
    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Stage to supervisor: an error that ends the run."""

    stage: str
    kind: str
    """Class of the error (`stream.errors.ERRORS`), or `Unexpected`."""
    text: str
    trace: str = ""
    """Traceback of an unexpected error, for the log."""
    drain: bool = False
    """True where what was read before is still good and is to be finished."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Stage to supervisor: everything is closed; the final counters."""

    stage: str
    report: dict[str, Any]


ControlHeader = (
    Hello | Ready | Facts | Start | Stop | Halt | Asked | Hand | Forget | Answered | Ending
    | Status | Vitals | Note | Failed | Done
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_data: msgspec.msgpack.Decoder[DataHeader] = msgspec.msgpack.Decoder(DataHeader)
_control: msgspec.msgpack.Decoder[ControlHeader] = msgspec.msgpack.Decoder(ControlHeader)


def encode(header: DataHeader | ControlHeader) -> bytes:
    """Encode a header as msgpack."""
    return _encoder.encode(header)


def decode_data(data: bytes) -> DataHeader:
    """Decode and check a header from a data link.

    Raises:
        ValueError: Not such a header.
    """
    try:
        return _data.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a data header: {error}") from error


def decode_control(data: bytes) -> ControlHeader:
    """Decode and check a header from the control link.

    Raises:
        ValueError: Not such a header.
    """
    try:
        return _control.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a control header: {error}") from error
