"""From the types of `stream.frame` to headers and arrays, and back. Pure."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from stream import rle
from stream.contracts import (
    DetectionJob,
    DetectionResult,
    Exemplar,
    HandPrompt,
    Prompted,
    Question,
    StreamEvent,
)
from stream.frame import BoolMask, Detection, Frame, Masks, TrackedObject
from stream.transport.headers import (
    Answered,
    AnswerHeader,
    DetectionHeader,
    EventHeader,
    ExemplarHeader,
    FrameHeader,
    Hand,
    JobHeader,
    ObjectHeader,
    QuestionHeader,
    Ref,
    ResultHeader,
)

Arrays = dict[str, npt.NDArray[Any]]
_FEATURES = "features/"


def pack(mask: BoolMask) -> bytes:
    """Pack a mask to one bit a pixel, row after row."""
    return np.packbits(mask).tobytes()


def unpack(bits: bytes, shape: tuple[int, int]) -> BoolMask:
    """Turn packed bits back into a mask.

    Raises:
        ValueError: The number of bytes does not fit the shape.
    """
    count = shape[0] * shape[1]
    if len(bits) != (count + 7) // 8:
        raise ValueError(f"a mask of {shape} needs {(count + 7) // 8} bytes; there are {len(bits)}")
    flat = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count)
    return flat.view(np.bool_).reshape(shape)


def from_event(event: StreamEvent) -> EventHeader:
    """Turn an event into its header."""
    return EventHeader(event.kind, event.detail, event.size, event.gap_s)


def to_event(header: EventHeader) -> StreamEvent:
    """Turn a header back into its event."""
    kind = cast(Literal["size", "gap", "relock"], header.kind)
    return StreamEvent(kind, header.detail, header.size, header.gap_s)


def frame_arrays(frame: Frame) -> Arrays:
    """Return the arrays of a frame, by name."""
    arrays: Arrays = {"image": frame.image}
    if frame.display is not None:
        arrays["display"] = frame.display
    return arrays


def from_frame(
    frame: Frame,
    ref: Ref,
    events: tuple[EventHeader, ...] = (),
    dropped: dict[str, int] | None = None,
) -> FrameHeader:
    """Turn a frame whose arrays are at `ref` into its header."""
    return FrameHeader(
        index=frame.index,
        pts_s=frame.pts_s,
        captured_ns=frame.captured_ns,
        source=frame.source,
        lost_before=frame.lost_before,
        levels=frame.levels,
        stamps=dict(frame.stamps),
        events=events,
        dropped=dict(dropped or {}),
        ref=ref,
    )


def to_frame(header: FrameHeader, arrays: Arrays) -> Frame:
    """Turn a header and its arrays back into a frame."""
    return Frame(
        index=header.index,
        image=arrays["image"],
        pts_s=header.pts_s,
        captured_ns=header.captured_ns,
        source=header.source,
        lost_before=header.lost_before,
        display=arrays.get("display"),
        levels=header.levels,
        stamps=dict(header.stamps),
    )


def from_masks(masks: Masks, frame: FrameHeader) -> ResultHeader:
    """Turn a result and the header of its frame into one header."""
    objects = tuple(
        ObjectHeader(
            id=item.id,
            label=item.label,
            score=float(item.score),
            state=item.state,
            box=item.box,
            area=item.area,
            bits=pack(item.mask),
            parent=item.parent,
        )
        for item in masks.objects
    )
    return ResultHeader(frame=frame, size=masks.size, stamps=dict(masks.stamps), objects=objects)


def to_masks(header: ResultHeader) -> Masks:
    """Turn a header back into the result of its frame."""
    objects = tuple(
        TrackedObject(
            id=item.id,
            label=item.label,
            score=item.score,
            state=item.state,
            mask=unpack(item.bits, (item.box[3] - item.box[1], item.box[2] - item.box[0])),
            box=item.box,
            area=item.area,
            parent=item.parent,
        )
        for item in header.objects
    )
    return Masks(
        frame_index=header.frame.index,
        size=header.size,
        pts_s=header.frame.pts_s,
        captured_ns=header.frame.captured_ns,
        objects=objects,
        stamps=dict(header.stamps),
        dropped=dict(header.frame.dropped),
    )


def job_arrays(job: DetectionJob) -> Arrays:
    """Return the arrays of a job, by name."""
    arrays: Arrays = {"image": job.image}
    arrays |= {_FEATURES + name: part for name, part in job.features.items()}
    if job.known is not None:
        arrays["known"] = job.known
    return arrays


def from_job(job: DetectionJob, ref: Ref) -> JobHeader:
    """Turn a job whose arrays are at `ref` into its header."""
    shown = tuple(ExemplarHeader(item.label, item.box) for item in job.shown)
    return JobHeader(job.frame_index, job.revision, ref, from_question(job.question), shown)


def to_job(header: JobHeader, arrays: Arrays) -> DetectionJob:
    """Turn a header and its arrays back into a job."""
    features = {
        name.removeprefix(_FEATURES): part
        for name, part in arrays.items()
        if name.startswith(_FEATURES)
    }
    return DetectionJob(
        header.frame_index,
        header.revision,
        arrays["image"],
        features,
        to_question(header.question),
        tuple(Exemplar(item.label, item.box) for item in header.shown),
        arrays.get("known"),
    )


def from_question(question: Question) -> QuestionHeader:
    """Turn a question into its header."""
    return QuestionHeader(question.texts, question.negatives, question.exemplars)


def to_question(header: QuestionHeader) -> Question:
    """Turn a header back into the question."""
    return Question(header.texts, header.negatives, header.exemplars)


def to_hand(header: Hand) -> HandPrompt:
    """Turn a header into the prompt by hand.

    Raises:
        ValueError: The mask is none.
    """
    mask = None
    if header.rle is not None:
        height, width, counts = header.rle
        mask = rle.decode_foreign(counts.encode(), (height, width))
    return HandPrompt(
        header.frame_index,
        header.track_id,
        header.label,
        header.points,
        header.labels,
        header.box,
        mask,
        header.more,
        header.exemplar,
    )


def from_prompted(request: int, done: Prompted) -> Answered:
    """Turn what became of a prompt into its header."""
    return Answered(
        request,
        track_id=done.track_id,
        frame_index=done.frame_index,
        box=done.box,
        area_px=done.area_px,
    )


def from_result(result: DetectionResult) -> AnswerHeader:
    """Turn the detector's answer into its header."""
    return AnswerHeader(
        result.frame_index,
        result.revision,
        tuple(_from_detection(item) for item in result.detections),
        result.detect_ns,
        _floats(result.embedding),
        None if result.scores is None else (len(result.scores), _floats(result.scores) or b""),
        dict(result.refused),
    )


def to_result(header: AnswerHeader) -> DetectionResult:
    """Turn a header back into the detector's answer."""
    scores = None
    if header.scores is not None:
        rows, data = header.scores
        scores = _array(data).reshape(rows, -1) if data else np.zeros((rows, 0), np.float32)
    return DetectionResult(
        header.frame_index,
        header.revision,
        tuple(_to_detection(item) for item in header.detections),
        header.detect_ns,
        None if header.embedding is None else _array(header.embedding),
        scores,
        dict(header.refused),
    )


def _floats(array: npt.NDArray[np.float32] | None) -> bytes | None:
    return None if array is None else np.ascontiguousarray(array, dtype="<f4").tobytes()


def _array(data: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def _from_detection(item: Detection) -> DetectionHeader:
    x0, y0, x1, y1 = (float(v) for v in item.box)
    return DetectionHeader(
        frame_index=item.frame_index,
        label=item.label,
        score=float(item.score),
        box=(x0, y0, x1, y1),
        point=(float(item.point[0]), float(item.point[1])),
        shape=(item.mask.shape[0], item.mask.shape[1]),
        bits=pack(item.mask),
        embedding=_floats(item.embedding),
    )


def _to_detection(header: DetectionHeader) -> Detection:
    return Detection(
        frame_index=header.frame_index,
        label=header.label,
        score=header.score,
        mask=unpack(header.bits, header.shape),
        box=header.box,
        point=header.point,
        embedding=None if header.embedding is None else _array(header.embedding),
    )
