"""What machines ask of the page's server, and of a server without a page."""

import json
import socket
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from stream.contracts import RunInfo
from stream.errors import SinkError, UsageError
from stream.vitals import STAGES, SUPERVISOR, Pulse, Vitals
from stream.web import MetricsSink, WebSink

S = 1_000_000_000


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def health(sink, path=""):
    status, headers, body = get(f"{sink.url}health{path}")
    assert headers["content-type"] == "application/json"
    return status, json.loads(body)


class Clock:
    now_ns = 100 * S

    def __call__(self):
        return self.now_ns


@pytest.fixture
def run():
    """A page of a run that has just begun, its vitals and their clock."""
    vitals, clock = Vitals(hung_after_s=5.0), Clock()
    info = RunInfo(stream="main", source="", texts=["cell"], vitals=vitals)
    sink = WebSink(port=0, info=info, clock_ns=clock)
    sink.open()
    yield sink, vitals, clock
    sink.close()


def beat(vitals, now_ns, **special):
    pulses = {stage: Pulse("running", now_ns) for stage in (*STAGES, SUPERVISOR)} | special
    vitals.beat(now_ns)
    vitals.hear("running", pulses)


def test_ready_when_the_first_frame_was_published_and_not_while_the_source_is_gone(run):
    sink, vitals, clock = run
    assert health(sink, "/live")[0] == 200
    assert health(sink, "/ready") == (
        503, {"live": True, "ready": False, "reasons": ["the run is starting"]},
    )  # fmt: skip
    beat(vitals, clock.now_ns)
    status, body = health(sink, "/ready")
    assert (status, body["reasons"]) == (503, ["no frame was published yet"])
    vitals.published(clock.now_ns - S, {}, clock.now_ns)
    assert health(sink, "/ready") == (200, {"live": True, "ready": True, "reasons": []})
    beat(vitals, clock.now_ns, reader=Pulse("running", clock.now_ns, 7, {"reconnecting": True}))
    status, body = health(sink, "/ready")
    assert (status, body["reasons"]) == (503, ["the source is reconnecting"])
    assert health(sink, "/live")[0] == 200
    assert health(sink)[0] == 503


def test_a_stage_that_hangs_is_not_live(run):
    sink, vitals, clock = run
    beat(vitals, clock.now_ns)
    vitals.published(clock.now_ns - S, {}, clock.now_ns)
    clock.now_ns += 4 * S
    assert health(sink, "/live")[0] == 200
    clock.now_ns += 2 * S
    beat(vitals, clock.now_ns, tracker=Pulse("running", 100 * S, 7, {"tracked": 12}))
    status, body = health(sink, "/live")
    assert (status, body["live"]) == (503, False)
    assert body["reasons"] == ["tracker has not been at work for 6.0 s"]
    assert health(sink, "/ready")[0] == 503
    status, body = health(sink)
    assert status == 503
    assert body["stages"]["tracker"] == {"state": "hung", "heartbeat_age_s": 6.0, "frames": 12}
    assert body["stages"]["reader"] == {"state": "running", "heartbeat_age_s": 0.0, "frames": None}
    assert (body["stream"], body["age_s"]) == ("main", 7.0)


def test_metrics_beside_the_page(run):
    sink, vitals, clock = run
    beat(vitals, clock.now_ns)
    status, headers, body = get(f"{sink.url}metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'maskcast_live{stream="main"} 1.0\n' in body
    accept = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    _, headers, body = get(f"{sink.url}metrics", Accept=accept)
    assert headers["content-type"].startswith(accept)
    assert body.endswith(b"# EOF\n")
    assert get(f"{sink.url}metrics", Host="evil.example")[0] == 403


def test_no_metrics_where_they_are_off():
    sink = WebSink(port=0, metrics=False)
    with closing(sink):
        sink.open()
        assert get(f"{sink.url}metrics")[0] == 404
        assert get(f"{sink.url}health/live")[0] == 200


def test_a_server_without_a_page():
    info = RunInfo(stream="main", source="", texts=[])
    sink = MetricsSink("127.0.0.1", 0, info)
    sink.open()
    root = sink.url.removesuffix("metrics")
    assert b"maskcast_frames_read_total" in get(sink.url)[2]
    assert get(f"{root}health/live")[0] == 200
    assert get(f"{root}health")[0] == 503
    assert get(sink.url, Host="203.0.113.9")[0] == 403
    for path in ("", "ws", "snapshot.jpg", "api/ask"):
        assert get(f"{root}{path}")[0] == 404
    sink.close()
    sink.close()
    with pytest.raises(urllib.error.URLError):
        get(sink.url)


def test_a_port_that_is_taken_and_a_host_that_is_not_ours_name_the_right_key():
    info = RunInfo(stream="main", source="", texts=[])
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SinkError, match=r"in use; choose another metrics\.port, or 0"):
            MetricsSink("127.0.0.1", port, info).open()
    with pytest.raises(UsageError, match=r"metrics\.host '203\.0\.113\.7' is not an address"):
        MetricsSink("203.0.113.7", 0, info).open()
