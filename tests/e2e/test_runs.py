"""The main job, from the command line to the report."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stream import rle
from stream.transport import Ring
from tests.e2e.conftest import Outcome, accounted, report_of

Maskcast = Callable[..., Outcome]
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_demo_finds_most_cells_and_accounts_for_every_frame(
    maskcast: Maskcast, tmp_path: Path
) -> None:
    outcome = maskcast(
        "run", CONFIGS / "demo.yaml", "--seconds", 15, "--no-web", "--endpoint", "none",
        "--report", "r.json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    report = report_of(tmp_path / "r.json")
    assert accounted(report)
    true_ever = report["source"]["true_objects_ever"]
    assert true_ever / 1.5 <= report["objects"]["ever"] <= true_ever * 1.5
    assert report["frames"]["published"] == report["frames"]["tracked"] > 15
    assert report["latency_ms"]["p50"] > 0
    assert report["errors"] == []


def test_a_video_file_is_tracked_frame_by_frame_and_recorded(
    maskcast: Maskcast, tmp_path: Path, nuclei_film: Path
) -> None:
    outcome = maskcast(
        "run", "--source", nuclei_film, "--text", "cell nucleus", "--frames", 24, "--no-web",
        "--endpoint", "none", "--report", "r.json", "--record", "rec",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    report = report_of(tmp_path / "r.json")
    assert report["frames"] == {"read": 24, "tracked": 24, "published": 24}
    assert sum(report["dropped"].values()) == 0
    (lines_path,) = (tmp_path / "rec").rglob("masks.jsonl")
    lines = [json.loads(line) for line in lines_path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(24))
    for item in lines[-1]["objects"]:
        mask = rle.decode(item["rle"]["counts"].encode(), tuple(item["rle"]["size"]))
        assert mask.sum() == item["area"]
    # Confirmed by the second look, which a file takes in frame 15.
    assert {o["id"] for o in lines[16]["objects"]} & {o["id"] for o in lines[-1]["objects"]}


@pytest.mark.slow
def test_the_official_architectures_take_the_same_way(
    maskcast: Maskcast, tmp_path: Path, nuclei_film: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("tracker: {image_size: 256}\ndetector: {image_size: 224}\n")
    outcome = maskcast(
        "run", config, "--source", nuclei_film, "--frames", 10, "--model", "sam2.1-tiny",
        "--weights", "random:0", "--clip", "ViT-B-32", "--clip-weights", "random:0", "--no-web",
        "--endpoint", "none", "--report", "r.json",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    report = report_of(tmp_path / "r.json")
    assert report["frames"]["tracked"] == 10
    assert report["detection"]["events"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_starts_and_stops_leave_nothing_behind(
    maskcast: Maskcast, tmp_path: Path, nuclei_film: Path
) -> None:
    def left() -> tuple[int, int, int, list[str]]:
        mine = [p for p in psutil.process_iter(["cmdline"]) if _is_ours(p)]
        tmp = sorted(n for n in os.listdir("/tmp") if "maskcast" in n)
        sockets = [c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        return len(mine), _open_rings(), len(sockets), tmp

    before = left()
    for _ in range(3):
        outcome = maskcast(
            "run", "--source", nuclei_film, "--frames", 2, "--weights", "random:0",
            "--clip-weights", "random:0", "--no-web", "--endpoint", "none",
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
    assert left() == before


def _open_rings() -> int:
    """Shared-memory rings that some process still holds; they have no name but in /proc."""
    rings = set()
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if "memfd:maskcast" in os.readlink(link):
                rings.add(os.stat(link).st_ino)
    return len(rings)


def test_an_open_ring_is_seen() -> None:
    ring = Ring.create(4, ("tracker",))
    try:
        assert _open_rings() == 1
    finally:
        ring.close()
    assert _open_rings() == 0


def _is_ours(process: psutil.Process) -> bool:
    command = process.info["cmdline"] or []
    return "stream.worker" in command or "stream.cli" in command


def test_help_is_quick_to_import_and_names_the_commands(maskcast: Maskcast) -> None:
    outcome = maskcast("--help")
    assert outcome.status == 0
    for command in ("run", "watch", "models", "doctor"):
        assert command in outcome.out
    heavy = subprocess.run(
        [sys.executable, "-c", "import sys, stream.cli; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert heavy.stdout.strip() == "False"


def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_was_written(
    maskcast: Maskcast, tmp_path: Path, nuclei_film: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        outcome = maskcast(
            "run", "--source", nuclei_film, "--weights", "random:0", "--clip-weights", "random:0",
            "--no-web", "--endpoint", "none", "--record", disk, "--report", "r.json",
        )  # fmt: skip
        assert outcome.status == 1
        assert "Traceback" not in outcome.err
        assert "No space left on device" in outcome.last_line
        (lines_path,) = disk.rglob("masks.jsonl")
        written = [json.loads(line)["frame"] for line in lines_path.read_text().splitlines()]
        assert written == list(range(len(written)))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert accounted(report_of(tmp_path / "r.json"))
