"""A door and its clients over real sockets."""

import threading
import time

import pytest
import zmq

from stream.errors import MaskcastError, SinkError, UsageError
from stream.remote import Client, Door, Reply
from stream.remote.client import DEFAULT_ENDPOINT
from stream.remote.requests import Add, Get


@pytest.fixture
def context():
    made = zmq.Context()
    yield made
    made.destroy(0)


def answering(door, make, count=1):
    """Answer so many requests from a thread."""

    def work():
        done, until = 0, time.monotonic() + 10
        while done < count and time.monotonic() < until:
            for client, request in door.receive():
                door.reply(client, make(request))
                done += 1
            time.sleep(0.005)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_what_is_asked_is_answered(context):
    door = Door(context, "tcp://127.0.0.1:*")
    thread = answering(door, lambda r: Reply(True, texts=(r.text,)), 2)
    with Client(door.endpoint, 5.0) as one, Client(door.endpoint, 5.0) as two:
        assert one.ask(Add("cell")).texts == ("cell",)
        assert two.ask(Add("dog")).texts == ("dog",)
    thread.join()
    door.close()


def test_what_is_no_request_is_refused_at_the_door(context):
    door = Door(context, "tcp://127.0.0.1:*")
    raw = context.socket(zmq.REQ)
    raw.connect(door.endpoint)
    raw.send(b"hello")
    until = time.monotonic() + 5
    while not raw.poll(10) and time.monotonic() < until:
        assert door.receive() == []
    assert b"not a request" in raw.recv()
    raw.close(0)
    door.close()


def test_a_stranger_without_an_envelope_is_passed_over(context):
    door = Door(context, "tcp://127.0.0.1:*")
    raw = context.socket(zmq.DEALER)
    raw.connect(door.endpoint)
    raw.send_multipart([b"a", b"b", b"c", b"d"])
    raw.send(b"alone")
    raw.send_multipart([b"", b'{"do": "get"}'])
    found, until = [], time.monotonic() + 5
    while not found and time.monotonic() < until:
        found = door.receive()
    assert [request for _, request in found] == [Get()]
    raw.close(0)
    door.close()


def test_nobody_there_is_one_line_and_the_client_goes_on(context):
    with Client("tcp://127.0.0.1:9", 0.05) as client:
        for _ in range(2):
            with pytest.raises(MaskcastError, match=r"nobody answers at tcp://127.*; is a"):
                client.ask(Get())


def test_an_endpoint_that_is_none_is_one_line():
    with Client("5561", 0.05) as client, pytest.raises(MaskcastError, match=DEFAULT_ENDPOINT):
        client.ask(Get())


def test_a_door_opens_on_this_machine_only(context):
    with pytest.raises(UsageError, match=r"control\.endpoint 'tcp://0\.0\.0\.0:5561' is open to"):
        Door(context, "tcp://0.0.0.0:5561")
    door = Door(context, "tcp://127.0.0.1:*")
    with pytest.raises(SinkError, match=r"is in use; choose another control\.endpoint"):
        Door(context, door.endpoint)
    door.close()
