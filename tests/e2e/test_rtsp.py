"""A camera over a real RTSP server, a subscriber in a process of its own, a server that dies."""

from __future__ import annotations

import collections
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stream import rle
from tests.e2e.conftest import MASKCAST, accounted, environment, report_of
from tests.support.rtsp_server import RtspServer, free_port, why_not

pytestmark = [pytest.mark.rtsp, pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 20


@pytest.fixture
def server(nuclei_film: Path) -> RtspServer:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return RtspServer(nuclei_film, fps=10.0)


def wait_for(there: Callable[[], bool], limit_s: float = 60.0) -> None:
    until = time.monotonic() + limit_s
    while not there():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def test_a_live_stream_is_tracked_and_goes_on_after_the_server_died(
    start: Callable[..., subprocess.Popen[str]], server: RtspServer, tmp_path: Path
) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with server:
        run = start(
            "run", "--source", server.url, "--text", "cell nucleus", "--seconds", SECONDS,
            "--endpoint", endpoint, "--no-web", "--report", "r.json",
        )  # fmt: skip
        out = tmp_path / "watched.jsonl"
        with out.open("w") as stream:
            watch = subprocess.Popen(
                [*MASKCAST, "watch", endpoint, "--json", "--timeout", "60"],
                stdout=stream,
                env=environment(),
            )
        wait_for(lambda: out.stat().st_size > 0)
        time.sleep(6)
        server.kill()
        time.sleep(1.5)
        server.start()
        _, err = run.communicate(timeout=90)
    watch.terminate()
    watch.wait(timeout=10)
    lines = [json.loads(line) for line in out.read_text().splitlines()]

    assert run.returncode == 0, err
    report = report_of(tmp_path / "r.json")
    assert accounted(report)
    assert report["source"]["counters"]["reconnects"] >= 1
    # At its own 10 fps, less the time without a server and what a busy machine passes over.
    assert 50 <= report["frames"]["tracked"] <= 10 * (SECONDS + 1)
    assert report["frames"]["published"] == report["frames"]["tracked"]
    frames = [line["frame"] for line in lines]
    assert frames == sorted(set(frames))
    assert len(lines) > 0.8 * report["frames"]["published"] - 10
    # Stable ids: some nucleus kept its id through most of the time before the cut.
    seen = collections.Counter(o["id"] for line in lines for o in line["objects"])
    assert seen, "something was found"
    assert seen.most_common(1)[0][1] >= 20
    for item in lines[-1]["objects"]:
        mask = rle.decode(item["rle"]["counts"].encode(), tuple(item["rle"]["size"]))
        assert int(mask.sum()) == item["area"]


def test_a_wrong_password_is_one_line_without_it(
    start: Callable[..., subprocess.Popen[str]], nuclei_film: Path
) -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with RtspServer(nuclei_film, user="eve", password="right") as server:
        url = server.url.replace("rtsp://", "rtsp://eve:wr0ng@")
        run = start("run", "--source", url, "--no-web", "--endpoint", "none")
        _, err = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "Traceback" not in err
    assert "wr0ng" not in err
    assert "401" in err.splitlines()[-1] or "password" in err.splitlines()[-1]
