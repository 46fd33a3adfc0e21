"""Running the real command in its own process, as a person does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.synth import CellFilm, CellFilmSpec

MASKCAST = (sys.executable, "-P", "-m", "stream.cli")


@dataclass
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.strip().splitlines()[-1]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}


@pytest.fixture
def maskcast(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `maskcast ARGS` to its end in an empty folder."""

    def run(*args: object, timeout_s: float = 100) -> Outcome:
        done = subprocess.run(
            [*MASKCAST, *map(str, args)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=tmp_path,
            env=environment(),
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `maskcast ARGS` and leave it running; what is left at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(*args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*MASKCAST, *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(),
            start_new_session=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


@pytest.fixture(scope="session")
def nuclei_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of drawn nuclei at 10 fps as H.264."""
    from stream.av_io import VideoWriter

    path = tmp_path_factory.mktemp("film") / "nuclei.mp4"
    film = CellFilm(CellFilmSpec(objects=8, width=320, height=240, fps=10, seed=4, speed_px_s=8))
    writer = VideoWriter(path, (240, 320), 10.0)
    for index in range(60):
        writer.write(np.ascontiguousarray(film.frame().image), index / 10)
    writer.close()
    return path


def report_of(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def accounted(report: dict[str, Any]) -> bool:
    """Whether every frame that was read was tracked or is counted as dropped."""
    frames = report["frames"]
    return bool(frames["read"] == frames["tracked"] + sum(report["dropped"].values()))
