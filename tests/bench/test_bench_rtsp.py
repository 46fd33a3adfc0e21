"""Glass to mask over a real RTSP server: due times read back from what the decoder gave."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.bench.figures import figures_of, warm
from stream.bench.measure import measure
from stream.config import check
from tests.support.rtsp_server import why_not

pytestmark = [pytest.mark.rtsp, pytest.mark.slow, pytest.mark.timeout(180)]

TOOL = Path(__file__).parents[2] / "tools" / "serve_clock.py"


@pytest.fixture
def camera() -> Iterator[str]:
    """The film with its time code, live; its address."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    server = subprocess.Popen(
        [sys.executable, str(TOOL), "--width=320", "--height=240", "--fps=20", "--port=0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        ready, _, _ = select.select([server.stdout], [], [], 60)
        line = server.stdout.readline() if ready else ""
        assert line.startswith("ready rtsp://"), line
        yield line.split()[1]
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_encoder_network_and_decoder_count(camera: str, transport: str) -> None:
    config = check({
        "source": {"uri": camera, "rtsp_transport": transport}, "web": {"enabled": False},
        "transport": {"kind": "inproc"}, "seconds": 5.0,
    })  # fmt: skip
    run = measure(config, "stream.bench.parts:WITHOUT_MODELS")
    codes = run.report.source["codes"]
    assert codes["read"] >= 20  # of about 100; a busy machine's decoder starts late
    assert codes["unread"] <= 0.1 * codes["read"]  # over UDP a picture may come damaged
    known = [sample for sample in run.samples if "intended" in sample.stamps]
    frames = figures_of([warm(run)])
    latency_ms = frames.series["latency"].percentiles["p50"]
    assert latency_ms is not None
    assert 5 < latency_ms < 2000
    for sample in known:
        assert sample.origin_ns < sample.stamps["decoded"] < sample.stamps["delivered"]
