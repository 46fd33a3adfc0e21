"""Runs with fakes: in this process, or the whole command in another one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parents[1]
END_S = 2.0
SLACK_S = 1.0
"""For a machine that does other things at the same time."""


@pytest.fixture(autouse=True)
def around(monkeypatch, tmp_path):
    """Fakes on the path of this process and of stages; logs and sockets in places of their own."""
    monkeypatch.syspath_prepend(str(TESTS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tempfile.mkdtemp(prefix="mc-")
    monkeypatch.setenv("TMPDIR", folder)
    monkeypatch.setattr("tempfile.tempdir", folder)
    yield Path(folder)
    shutil.rmtree(folder)


@dataclass
class Command:
    """`maskcast run` with fakes, started."""

    process: subprocess.Popen
    record: Path
    report_path: Path

    def pids(self):
        """Process ids of the stages, by name."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            line = child.cmdline()
            if "stream.worker" in line:
                found[line[-1]] = child.pid
        return found

    def lines(self):
        """Frames recorded so far, and whether the file was closed."""
        text = self.record.read_text() if self.record.exists() else ""
        rows = [line for line in text.split("\n")[:-1]]
        closed = bool(rows) and rows[-1] == "closed"
        return [json.loads(row) for row in rows if row != "closed"], closed

    def wait_for_frames(self, count, timeout_s=30.0):
        """Wait until so many frames were recorded."""
        deadline = time.monotonic() + timeout_s
        while len(self.lines()[0]) < count:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, "no frames"
            time.sleep(0.02)

    def wait_for_file(self, path, timeout_s=30.0):
        """Wait until a stage has made a file."""
        deadline = time.monotonic() + timeout_s
        while not path.exists():
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, f"no {path}"
            time.sleep(0.02)

    def end(self, timeout_s=END_S + SLACK_S):
        """Wait for the end.

        Returns:
            The exit status, the lines on stderr, the report.
        """
        _, stderr = self.process.communicate(timeout=timeout_s)
        report = json.loads(self.report_path.read_text()) if self.report_path.exists() else None
        return self.process.returncode, stderr.splitlines(), report


@pytest.fixture
def command(tmp_path):
    """Start commands; what still runs at the end of a test is killed."""
    started = []

    def start(*arguments, uri="fake://squares?live=1", **fake):
        record, report = tmp_path / "masks.jsonl", tmp_path / "r.json"
        process = subprocess.Popen(
            [
                *(sys.executable, str(TESTS / "fakes.py"), "run", "--source", uri),
                *("--report", str(report), "--no-web", "--control", "none", *arguments),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"MASKCAST_FAKE": json.dumps({"record": str(record), **fake})},
        )
        started.append(process)
        return Command(process, record, report)

    yield start
    for process in started:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children():
                child.send_signal(signal.SIGKILL)
            process.kill()
            process.wait()
        process.stderr.close()


@pytest.fixture
def run_fake(tmp_path, monkeypatch):
    """Run in this process.

    Returns:
        A function that returns the report, the recorded frames, and whether the file was closed.
    """
    from stream.config import check
    from stream.pipeline import run

    def run_it(uri, kind="inproc", observer=None, config=None, **fake):
        record = tmp_path / f"{kind}.jsonl"
        monkeypatch.setenv("MASKCAST_FAKE", json.dumps({"record": str(record), **fake}))
        data = {"source": {"uri": uri}, "transport": {"kind": kind}}
        data |= {"control": {"endpoint": None}} | (config or {})
        report = run(check(data), observer, parts="fakes:PARTS")
        lines, closed = Command(None, record, record).lines()
        return report, lines, closed

    return run_it
