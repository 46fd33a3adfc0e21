import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import zmq

from stream import wire
from stream.endpoints import check_endpoint
from stream.errors import SinkError, UsageError
from stream.sinks.publisher import PublisherSink


@pytest.fixture
def subscriber():
    context = zmq.Context()

    def connect(endpoint: str, topic: bytes = b"") -> zmq.Socket:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        socket.subscribe(topic)
        socket.connect(endpoint)
        return socket

    yield connect
    context.destroy(linger=0)


def receive(sink: PublisherSink, reader: zmq.Socket, frame, masks) -> list[bytes]:
    """Publish until the subscription has reached the publisher."""
    for _ in range(500):
        sink.write(frame, masks)
        if reader.poll(10):
            return reader.recv_multipart()
    raise AssertionError("nothing arrived")


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_masks_arrive_as_they_were(kind, subscriber, result, tmp_path):
    endpoint = "tcp://127.0.0.1:*" if kind == "tcp" else f"ipc://{tmp_path}/masks"
    sink = PublisherSink(endpoint, "main", clock_ns=lambda: 987)
    sink.open()
    assert "*" not in sink.endpoint
    frame, masks = result(4)
    topic, data = receive(sink, subscriber(sink.endpoint, b"maskcast/main"), frame, masks)
    sink.close()
    message = wire.decode(data)
    assert topic == b"maskcast/main"
    assert (message.frame, message.published_ns, message.dropped) == (4, 987, {"overrun": 4})
    back = wire.to_masks(message)
    for ours, theirs in zip(masks.objects, back.objects, strict=True):
        np.testing.assert_array_equal(ours.full(masks.size), theirs.full(masks.size))


def test_a_subscriber_that_does_not_read_holds_nothing_up(subscriber, result):
    sink = PublisherSink("tcp://127.0.0.1:*", "main", high_water_mark=2)
    sink.open()
    reader = subscriber(sink.endpoint)
    reader.setsockopt(zmq.RCVHWM, 2)
    frame, masks = result()
    receive(sink, reader, frame, masks)
    for _ in range(2000):
        sink.write(frame, masks)
    assert sink.published > 2000
    sink.close()


def test_port_in_use():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sink = PublisherSink(f"tcp://127.0.0.1:{port}", "main")
        with pytest.raises(SinkError) as caught:
            sink.open()
    assert str(caught.value) == (
        f"tcp://127.0.0.1:{port} is in use; choose another publish.endpoint, for example "
        "tcp://127.0.0.1:* for a free port, or stop the program that uses it"
    )
    sink.close()


def test_an_ipc_socket_in_use_is_not_taken_away(result, subscriber, tmp_path):
    endpoint = f"ipc://{tmp_path}/masks"
    first = PublisherSink(endpoint, "main")
    first.open()
    with pytest.raises(SinkError, match="masks is in use; choose another publish"):
        PublisherSink(endpoint, "main").open()
    assert receive(first, subscriber(endpoint), *result())
    first.close()


def test_an_ipc_socket_left_by_a_killed_run_is_reused(result, subscriber, tmp_path):
    path = tmp_path / "masks"
    code = (
        "import os, signal, sys; from stream.sinks.publisher import PublisherSink\n"
        "PublisherSink('ipc://' + sys.argv[1], 'main').open(); os.kill(os.getpid(), 9)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-P", "-c", code, str(path)], check=False, env=env)
    assert path.is_socket()
    sink = PublisherSink(f"ipc://{path}", "main")
    sink.open()
    assert receive(sink, subscriber(f"ipc://{path}"), *result())
    sink.close()


def test_a_file_at_the_ipc_path_is_left_alone(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(SinkError, match="is a file that is not a socket, it is left alone"):
        PublisherSink(f"ipc://{path}", "main").open()
    assert path.read_text() == "years of work"


def test_an_ipc_folder_that_is_not_there(tmp_path):
    with pytest.raises(SinkError, match="cannot be bound: No such file or directory"):
        PublisherSink(f"ipc://{tmp_path}/none/masks", "main").open()


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.168.1.5", "[::]", "example.org"])
def test_the_network_is_refused(host):
    with pytest.raises(UsageError, match="is open to the network; that needs CURVE keys"):
        PublisherSink(f"tcp://{host}:5560", "main").open()


@pytest.mark.parametrize("endpoint", ["", "tcp://", "udp://127.0.0.1:1", "ipc://", "5560"])
def test_other_endpoints_are_refused(endpoint):
    with pytest.raises(UsageError) as caught:
        check_endpoint(endpoint)
    assert str(caught.value) == (
        f"publish.endpoint {endpoint!r} is not accepted; accepted are tcp://127.0.0.1:PORT "
        "(or :* for a free port) and ipc://PATH"
    )


@pytest.mark.parametrize("port", ["http", "70000", "-1", ""])
def test_other_ports_are_refused(port):
    with pytest.raises(UsageError, match=f"port '{port}' is not accepted; it must be 1 to 65535"):
        check_endpoint(f"tcp://127.0.0.1:{port}")


def test_endpoint_forms():
    assert check_endpoint("tcp://localhost:0") == "tcp://127.0.0.1:*"
    assert check_endpoint("tcp://[::1]:5560") == "tcp://[::1]:5560"
    assert check_endpoint("ipc:///tmp/masks") == "ipc:///tmp/masks"


def test_closed_twice_reopened_and_not_open(result):
    sink = PublisherSink("tcp://127.0.0.1:*", "main")
    sink.close()
    sink.open()
    endpoint = sink.endpoint
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="cannot publish, the socket is not open"):
        sink.write(*result())
    again = PublisherSink(endpoint, "main")
    again.open()
    again.close()
