"""The tracker's way to the detector: one job at a time, answers when they come."""

import numpy as np
import pytest
import zmq

from stream.contracts import DetectionJob, DetectionResult, Question
from stream.stages.base import StageIo
from stream.stages.tracker import JobClient
from stream.transport import Control, Exchange, Halted, Hub, LocalStore, Place
from stream.transport.codec import from_result, to_job
from stream.transport.headers import Credit

ASKED = Question(("cell",))


def job(index):
    return DetectionJob(
        index, 1, np.full((4, 4, 3), index, np.uint8), {"low": np.ones((1, 2))}, ASKED
    )


@pytest.fixture
def loop():
    """A client and the detector's end of its link, over one store of two slots."""
    context, place = zmq.Context(), Place("inproc", "jobs-test")
    hub, store = Hub(context, place), LocalStore(2)
    control = Control(context, place, "tracker")
    socket, endpoint = place.bind(context, "jobs")
    io = StageIo(None, None, control, place, context, store, store)
    detector = Exchange(place.connect(context, endpoint))
    yield JobClient(io, Exchange(socket)), detector, store, control
    for end in (control, detector, hub):
        end.close()
    socket.close()
    context.term()


def answer(detector, store):
    assert detector.socket.poll(2000)
    header = detector.receive()
    found = to_job(header, store.get(header.ref, "detector"))
    store.release(header.ref, "detector")
    detector.send(from_result(DetectionResult(found.frame_index, found.revision, (), 5_000_000)))
    return found


def test_one_job_at_a_time_and_each_is_answered_once(loop):
    client, detector, store, _ = loop
    detector.send(Credit(1))
    client.wait_for_detector()
    assert client.submit(job(3))
    assert not client.submit(job(4))
    assert client.poll(0.0) is None
    asked = answer(detector, store)
    assert asked.frame_index == 3
    np.testing.assert_array_equal(asked.image, job(3).image)
    np.testing.assert_array_equal(asked.features["low"], job(3).features["low"])
    assert client.poll(2.0).frame_index == 3
    assert client.poll(0.0) is None
    assert client.submit(job(5))
    assert client.detect_ms.percentiles()["p50"] == 5.0


def test_an_answer_that_nobody_took_yet_does_not_get_lost_by_the_next_job(loop):
    client, detector, store, _ = loop
    detector.send(Credit(1))
    client.wait_for_detector()
    client.submit(job(0))
    answer(detector, store)
    assert client.poll(2.0).frame_index == 0
    client.submit(job(1))
    answer(detector, store)
    assert client.poll(2.0).frame_index == 1


def test_waiting_without_a_question_returns_at_once(loop):
    client, _, _, _ = loop
    assert client.poll(60.0) is None


def test_a_halt_ends_the_wait_for_an_answer(loop):
    client, detector, _, control = loop
    detector.send(Credit(1))
    client.wait_for_detector()
    client.submit(job(0))
    control.halt(1.0)
    with pytest.raises(Halted):
        client.poll(60.0)
