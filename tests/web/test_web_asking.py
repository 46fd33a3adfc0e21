import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import zmq

from stream.config import Config
from stream.contracts import RunInfo
from stream.remote.requests import MAX_BYTES, Add, Get
from stream.stages.parts import RealParts
from stream.web import WebSink
from stream.web.asking import MOST_AT_ONCE

JSON = {"content-type": "application/json"}


def post(
    sink: WebSink, body: Any, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, Any, dict[str, str]]:
    """Post to the page; bytes and iterators go as they are, all else as JSON."""
    parts = urlsplit(sink.url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=5)
    raw = body if isinstance(body, bytes) or hasattr(body, "__next__") else json.dumps(body)
    try:
        connection.request(method, "/api/ask", raw, JSON if headers is None else headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        found = dict(answer.getheaders())
    finally:
        connection.close()
    is_json = found.get("content-type") == "application/json"
    return answer.status, json.loads(text) if is_json else text, found


@pytest.fixture
def sink(fake_run):
    info = RunInfo("main", "film", ["cell"], control=fake_run.endpoint)
    sink = WebSink(port=0, info=info)
    sink.open()
    yield sink
    sink.close()


def test_what_is_done_is_200_and_what_is_refused_409(sink, fake_run):
    status, reply, _ = post(sink, {"do": "add", "text": "紅色的大狗"})
    assert (status, reply["ok"], reply["revision"]) == (200, True, 1)
    assert (reply["texts"], reply["negatives"]) == (["cell", "紅色的大狗"], [])
    status, reply, _ = post(sink, {"do": "remove", "text": "dust"})
    assert (status, reply["ok"]) == (409, False)
    assert reply["error"].startswith("'dust' is not among the texts")
    assert fake_run.asked[0] == Add("紅色的大狗")
    assert len(fake_run.asked) == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"cell", "not a request: it is not JSON"),
        (b"", "not a request: it is not JSON"),
        (b'"get"', "not a request: Expected `object`, got `str`"),
        (b'{"do": "stop"}', "not a request: Invalid value 'stop'"),
        (b'{"a": ' + b"[" * 200_000, "not a request: it is nested too deeply"),
    ],
    ids=["words", "nothing", "no object", "unknown", "deep"],
)
def test_what_is_no_request_is_400(sink, fake_run, body, error):
    status, reply, _ = post(sink, body)
    assert (status, reply["ok"]) == (400, False)
    assert reply["error"].startswith(error)
    assert "\n" not in reply["error"]
    assert fake_run.asked == []


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_form_can_send_is_415(sink, fake_run, kind):
    status, reply, _ = post(sink, {"do": "get"}, {"content-type": kind} if kind else {})
    assert (status, reply["ok"]) == (415, False)
    assert reply["error"].endswith("it must be application/json")
    assert fake_run.asked == []
    assert post(sink, {"do": "get"}, {"content-type": "Application/JSON; charset=utf-8"})[0] == 200


def test_foreign_pages_are_refused_and_get_no_leave_to_ask(sink, fake_run):
    foreign = {"Origin": "http://evil.example"}
    status, text, _ = post(sink, {"do": "get"}, JSON | foreign)
    assert (status, text) == (403, "this host or origin is not served\n")
    preflight = foreign | {"Access-Control-Request-Method": "POST"}
    status, _, headers = post(sink, b"", preflight, method="OPTIONS")
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert post(sink, {"do": "get"}, JSON | {"Host": "evil.example"})[0] == 403
    assert fake_run.asked == []
    assert post(sink, {"do": "get"}, JSON | {"Origin": sink.url.rstrip("/")})[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_is_413(sink, fake_run, chunked):
    body = json.dumps({"do": "add", "text": "a" * 6 * MAX_BYTES}).encode()
    pieces = (body[i : i + 65536] for i in range(0, len(body), 65536))
    status, reply, _ = post(sink, pieces if chunked else body)
    assert (status, reply["ok"]) == (413, False)
    assert reply["error"] == f"the request is too large; accepted are {MAX_BYTES} bytes"
    assert fake_run.asked == []
    most = json.dumps({"do": "add", "text": ""}).encode()
    assert post(sink, most + b" " * (MAX_BYTES - len(most)))[0] == 409  # asked, and refused


def test_a_run_that_does_not_listen_is_503(sink):
    quiet = WebSink(port=0, info=RunInfo("main", "film", ["cell"]))
    quiet.open()
    try:
        status, reply, _ = post(quiet, {"do": "get"})
        assert (status, reply["ok"]) == (503, False)
        assert reply["error"] == "this run does not listen; give it a control.endpoint"
        assert quiet.hub.status()["control"] is False
        assert sink.hub.status()["control"] is True
    finally:
        quiet.close()


def test_no_answer_in_time_is_504_and_the_next_is_asked_anew(sink, fake_run):
    sink.asking.timeout_s = 0.2
    fake_run.silent = True
    status, reply, _ = post(sink, {"do": "get"})
    assert (status, reply["ok"]) == (504, False)
    assert "within 0.2 s" in reply["error"]
    fake_run.silent = False
    sink.asking.timeout_s = 5.0
    assert post(sink, {"do": "get"})[0] == 200


def test_something_else_at_the_endpoint_is_502():
    with zmq.Context() as context, context.socket(zmq.REP) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        sink = WebSink(port=0, info=RunInfo("m", "", ["a"], control=f"tcp://127.0.0.1:{port}"))
        sink.open()
        thread = threading.Thread(target=lambda: (other.recv(), other.send(b"hello")))
        thread.start()
        status, reply, _ = post(sink, {"do": "get"})
        thread.join()
        sink.close()
    assert (status, reply["ok"]) == (502, False)


def test_requests_that_wait_are_bounded_and_hold_nothing_up(sink, fake_run):
    fake_run.silent = True
    sink.asking.timeout_s = 1.5
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(post(sink, {"do": "get"})[0]))
        for _ in range(MOST_AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + 5
    while len(fake_run.asked) < MOST_AT_ONCE and time.monotonic() < give_up:
        time.sleep(0.01)
    began = time.monotonic()
    status, reply, _ = post(sink, {"do": "get"})
    assert time.monotonic() - began < 0.5
    assert (status, reply["error"]) == (503, "8 requests wait already; try again in a moment")
    for thread in threads:
        thread.join()
    assert found == [504] * MOST_AT_ONCE
    assert fake_run.asked == [Get()] * MOST_AT_ONCE
    fake_run.silent = False
    assert post(sink, {"do": "get"})[0] == 200


def test_a_request_that_waits_does_not_hold_up_the_end(sink, fake_run):
    fake_run.silent = True
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(post(sink, {"do": "get"})))
    thread.start()
    give_up = time.monotonic() + 5
    while not fake_run.asked and time.monotonic() < give_up:
        time.sleep(0.01)
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 0.6
    thread.join()
    assert (found[0][0], found[0][1]["error"]) == (503, "the run ends")


@pytest.mark.parametrize(
    ("host", "control", "asks"),
    [
        ("127.0.0.1", None, True),
        ("127.0.0.1", False, False),
        ("0.0.0.0", None, False),
        ("0.0.0.0", True, True),
    ],
)
def test_who_may_ask(fake_run, host, control, asks):
    config = Config.model_validate(
        {"web": {"host": host, "port": 0, "control": control}, "publish": {"endpoint": None}}
    )
    info = RunInfo("main", "film", ["cell"], control=fake_run.endpoint)
    (sink,) = RealParts().sinks(config, info)
    assert isinstance(sink, WebSink)
    sink.open()
    try:
        status, reply, _ = post(sink, {"do": "get"})
        assert (status, reply["ok"]) == ((200, True) if asks else (403, False))
        assert sink.hub.status()["control"] is asks
        assert fake_run.asked == [Get()] * asks
        if not asks:
            assert "web.control: true" in reply["error"]
    finally:
        sink.close()
