"""A real run, scraped while it goes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.metrics import METRICS
from tests.support.rtsp_server import RtspServer, free_port, why_not

VERSION = version("maskcast")
Start = Callable[..., "subprocess.Popen[str]"]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def is_ready(url: str) -> bool:
    try:
        return get(f"{url}health/ready")[0] == 200
    except urllib.error.URLError:  # it does not listen yet
        return False


def wait_until_ready(url: str) -> None:
    give_up = time.monotonic() + 90
    while not is_ready(url):
        assert time.monotonic() < give_up, "it did not get ready"
        time.sleep(0.2)


def scrape(url: str) -> dict[tuple[str, ...], float]:
    """Values by name and labels in the order of their names."""
    status, text = get(f"{url}metrics")
    assert status == 200
    assert "hunter2" not in text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_demo_is_scraped_beside_its_page_and_its_report_agrees(
    start: Start, tmp_path: Path
) -> None:
    process = start(
        "run", "--source", "demo://cells?objects=4&width=320&height=240&fps=10&seed=0",
        "--text", "cell nucleus hunter2", "--endpoint", "none", "--control", "none",
        "--web-port", 0, "--metrics-port", 0, "--report", "r.json",
    )  # fmt: skip
    assert process.stderr is not None
    found: dict[str, str] = {}
    for line in process.stderr:
        if match := re.search(r"(page|metrics at) (http://\S+?/)(?:metrics)?$", line.strip()):
            found[match[1]] = match[2]
        if len(found) == 2:
            break
    page, alone = found["page"], found["metrics at"]
    assert page != alone
    wait_until_ready(page)
    time.sleep(6)
    first, second = scrape(page), scrape(alone)
    for values in (first, second):
        names = {key[0] for key in values}
        wanted = {s for m in METRICS.values() for s in m.series if "_gpu_" not in m.name}
        assert names == wanted
        assert values["maskcast_build_info", "torch", "micro", precision(values), "main", VERSION]
    published = second["maskcast_frames_published_total", "main"]
    assert published >= first["maskcast_frames_published_total", "main"] > 5
    assert second["maskcast_frame_latency_seconds_count", "main"] == published
    assert second["maskcast_frame_step_seconds_count", "encoded", "main"] == published
    assert second["maskcast_detection_events_total", "main"] >= 1
    assert 0 < second["maskcast_result_age_seconds", "main"] < 20
    status, body = get(f"{alone}health")
    health = json.loads(body)
    assert (status, health["live"], health["ready"]) == (200, True, True)
    assert {stage["state"] for stage in health["stages"].values()} == {"running"}
    assert health["stages"]["tracker"]["frames"] > 5
    assert get(alone)[0] == 404
    last = scrape(page)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    report = json.loads((tmp_path / "r.json").read_text())
    for name in ("read", "tracked", "published"):
        assert 5 < last[f"maskcast_frames_{name}_total", "main"] <= report["frames"][name]
    mean_ms = (
        last["maskcast_frame_latency_seconds_sum", "main"]
        / last["maskcast_frame_latency_seconds_count", "main"]
        * 1000
    )
    assert report["latency_ms"]["p50"] / 5 < mean_ms < report["latency_ms"]["max"]
    assert not [error for error in report["errors"] if "hung" in error]


def precision(values: dict[tuple[str, ...], float]) -> str:
    """What the machine computes in."""
    (key,) = [key for key in values if key[0] == "maskcast_build_info"]
    return key[3]


@pytest.mark.rtsp
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_camera_that_goes_away_and_comes_back(start: Start, nuclei_film: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    server = RtspServer(nuclei_film, fps=10.0)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with server:
        start(
            "run", "--source", server.url.replace("rtsp://", "rtsp://user:hunter2@"), "--text",
            "cell nucleus", "--endpoint", "none", "--no-web", "--metrics-port", port,
        )  # fmt: skip
        wait_until_ready(url)
        assert scrape(url)["maskcast_source_reconnects_total", "main"] == 0
        server.kill()
        give_up = time.monotonic() + 30
        while get(f"{url}health/ready")[0] == 200:
            assert time.monotonic() < give_up
            time.sleep(0.1)
        _, body = get(f"{url}health/ready")
        assert json.loads(body)["reasons"] == ["the source is reconnecting"]
        assert get(f"{url}health/live")[0] == 200
        assert scrape(url)["maskcast_source_reconnecting", "main"] == 1
        server.start()
        wait_until_ready(url)
        values = scrape(url)
        assert values["maskcast_source_reconnects_total", "main"] >= 1
        assert values["maskcast_source_reconnecting", "main"] == 0
        assert "hunter2" not in get(f"{url}health")[1]
