"""Headers and the types of `stream.frame`: both directions, and what is not a header."""

import msgspec
import numpy as np
import pytest

from stream.contracts import DetectionJob, DetectionResult, Exemplar, Question, StreamEvent
from stream.frame import Detection, Frame, Masks, TrackedObject
from stream.transport import codec
from stream.transport.headers import (
    AnswerHeader,
    ArraySpec,
    Credit,
    Done,
    End,
    Ending,
    EventHeader,
    Facts,
    Failed,
    Halt,
    Hello,
    InlineRef,
    JobHeader,
    LocalRef,
    Note,
    Ready,
    SlotRef,
    Start,
    Status,
    Stop,
    Vitals,
    decode_control,
    decode_data,
    encode,
)
from stream.vitals import Pulse

REFS = [
    SlotRef(3, 99, (ArraySpec("image", "<u2", (4, 5), 0),)),
    LocalRef(12),
    InlineRef((ArraySpec("image", "|u1", (2, 2), 0),), b"\x00\x01\x02\xff"),
]
EVENT = EventHeader("size", "now 20x10", (10, 20), 0.0)


def frame(index=5):
    image = (np.arange(48).reshape(6, 8) * 1000).astype(np.uint16)
    display = np.full((6, 8, 3), 9, np.uint8)
    return Frame(
        index, image, 1.25, 777, "squares", 2, display, (100.0, 900.0), {"read": 778, "sent": 779}
    )


def masks():
    first = np.zeros((3, 5), np.bool_)
    first[1, 2:4] = True
    objects = (
        TrackedObject(4, "红细胞", 0.75, "confirmed", first, (1, 2, 6, 5), 2, parent=1),
        TrackedObject(9, "cell", 0.5, "lost", np.zeros((0, 0), np.bool_), (0, 0, 0, 0), 0),
    )
    return Masks(5, (6, 8), 1.25, 777, objects, {"tracked": 800}, {})


@pytest.mark.parametrize("ref", REFS, ids=lambda ref: type(ref).__name__)
def test_a_frame_goes_there_and_back(ref):
    sent = frame()
    header = codec.from_frame(sent, ref, (EVENT,), {"overrun": 3})
    got = decode_data(encode(header))
    assert got == header
    assert got.dropped == {"overrun": 3}
    back = codec.to_frame(got, codec.frame_arrays(sent))
    for name in ("index", "pts_s", "captured_ns", "source", "lost_before", "levels", "stamps"):
        assert getattr(back, name) == getattr(sent, name)
    assert back.image is sent.image
    assert back.display is sent.display


def test_a_frame_without_display_stays_without():
    plain = Frame(0, np.zeros((2, 2, 3), np.uint8), 0.0, 1)
    assert set(codec.frame_arrays(plain)) == {"image"}
    assert (
        codec.to_frame(codec.from_frame(plain, REFS[0]), codec.frame_arrays(plain)).display is None
    )


def test_masks_go_there_and_back_bit_for_bit():
    header = codec.from_masks(masks(), codec.from_frame(frame(), REFS[0], (), {"overrun": 1}))
    back = codec.to_masks(decode_data(encode(header)))
    assert back.dropped == {"overrun": 1}
    assert back.stamps == {"tracked": 800}
    assert (back.frame_index, back.size, back.pts_s, back.captured_ns) == (5, (6, 8), 1.25, 777)
    for sent, got in zip(masks().objects, back.objects, strict=True):
        np.testing.assert_array_equal(got.mask, sent.mask)
        assert (got.id, got.label, got.score, got.state, got.box, got.area) == (
            sent.id,
            sent.label,
            sent.score,
            sent.state,
            sent.box,
            sent.area,
        )


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 5), (8, 16), (7, 9)])
def test_packed_masks_of_any_size_come_back(shape):
    mask = np.random.default_rng(0).random(shape) > 0.5
    np.testing.assert_array_equal(codec.unpack(codec.pack(mask), shape), mask)


def test_bits_that_do_not_fit_the_shape_are_refused():
    with pytest.raises(ValueError, match=r"a mask of \(3, 5\) needs 2 bytes; there are 1"):
        codec.unpack(b"\xff", (3, 5))


def test_a_job_and_its_answer_go_there_and_back():
    features = {"low": np.ones((2, 3), np.float16), "high/1": np.zeros((1, 4), np.float32)}
    asked = Question(("a cell", "大狗"), ("dust",), ("like this",))
    shown = (Exemplar("like this", (1.0, 2.0, 3.5, 4.0)),)
    known = np.eye(3, 2, dtype=np.float32)
    job = DetectionJob(8, 2, np.zeros((4, 4, 3), np.uint8), features, asked, shown, known)
    header = codec.from_job(job, REFS[1])
    back = codec.to_job(decode_data(encode(header)), codec.job_arrays(job))
    assert isinstance(header, JobHeader)
    assert (back.frame_index, back.revision) == (8, 2)
    assert back.image is job.image
    assert (back.question, back.shown) == (asked, shown)
    assert back.known is known
    assert {name: part.dtype for name, part in back.features.items()} == {
        "low": np.float16,
        "high/1": np.float32,
    }
    mask = np.eye(5, 7, dtype=np.bool_)
    unit = np.array([0.6, 0.8], np.float32)
    found = Detection(8, "a cell", 0.875, mask, (0.5, 1.0, 6.5, 4.0), (2.5, 2.0), unit)
    bare = Detection(8, "dog", 0.0, mask, (0.0, 0.0, 1.0, 1.0), (0.0, 0.0))
    scores = np.array([[0.25, 1.0], [0.5, 0.0], [0.0, 0.75]], np.float32)
    sent = DetectionResult(8, 2, (found, bare), 12345, unit, scores, {"like this": "too small"})
    answer = codec.from_result(sent)
    assert isinstance(answer, AnswerHeader)
    result = codec.to_result(decode_data(encode(answer)))
    assert (result.frame_index, result.revision, result.detect_ns) == (8, 2, 12345)
    np.testing.assert_array_equal(result.detections[0].mask, mask)
    np.testing.assert_array_equal(result.detections[0].embedding, unit)
    assert result.detections[0].box == (0.5, 1.0, 6.5, 4.0)
    assert result.detections[0].point == (2.5, 2.0)
    assert result.detections[1].embedding is None
    np.testing.assert_array_equal(result.embedding, unit)
    np.testing.assert_array_equal(result.scores, scores)
    assert result.refused == {"like this": "too small"}


@pytest.mark.parametrize("rows", [0, 3])
def test_scores_of_nothing_come_back(rows):
    scores = np.zeros((rows, 0), np.float32)
    result = codec.to_result(codec.from_result(DetectionResult(1, 1, (), 0, scores=scores)))
    assert result.scores.shape == (rows, 0)
    assert codec.to_result(codec.from_result(DetectionResult(1, 1, (), 0))).scores is None


def test_events_go_there_and_back():
    for event in (
        StreamEvent("gap", "server away", None, 2.5),
        StreamEvent("size", "now 20x10", (10, 20)),
        StreamEvent("relock", "levels 10..200"),
    ):
        header = codec.from_event(event)
        end = decode_data(encode(End((header,))))
        assert codec.to_event(end.events[0]) == event


@pytest.mark.parametrize(
    "header",
    [
        Hello("tracker", 12, {"results": "ipc:///x"}),
        Ready("reader", {"live": True, "fps": None}),
        Facts({"name": "squares"}),
        Start({"frames": "ipc:///y"}),
        Stop(),
        Halt(0.75),
        Ending("eof"),
        Status("publisher", {"fps": 29.9}, 12),
        Vitals("running", {"reader": Pulse("running", 12, 7, {"read": 3})}),
        Note("reader", "gap: 2 s"),
        Failed("reader", "SourceError", "refused", "", True),
        Done("detector", {"answered": 3}),
    ],
    ids=lambda header: type(header).__name__,
)
def test_control_headers_go_there_and_back(header):
    assert decode_control(encode(header)) == header


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"\xc1", "MessagePack data is malformed"),
        (msgspec.msgpack.encode({"type": "pickle"}), "Invalid value 'pickle'"),
        (msgspec.msgpack.encode({"type": "credit", "n": "many"}), "Expected `int`, got `str`"),
    ],
)
def test_what_is_no_data_header_is_an_error(data, reason):
    with pytest.raises(ValueError, match=f"not a data header: {reason}"):
        decode_data(data)


def test_links_do_not_mix():
    with pytest.raises(ValueError, match="not a control header"):
        decode_control(encode(Credit(1)))
    with pytest.raises(ValueError, match="not a data header"):
        decode_data(encode(Stop()))
