"""Films made by the tests, clocks without waiting, and the RTSP server."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stream.av_io import VideoWriter
from stream.config import SourceConfig
from stream.contracts import Source, StreamEvent
from stream.frame import Frame
from stream.sources import open_source

_SUPPORT = Path(__file__).parents[1] / "support" / "rtsp_server.py"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rtsp() -> ModuleType:
    """The module `tests/support/rtsp_server.py`; skips where GStreamer is not there."""
    module = _load(_SUPPORT)
    reason = module.why_not()
    if reason:
        pytest.skip(reason)
    return module


def square(index: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A bright square that moves one pixel a frame over a ramp."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = np.linspace(20, 90, width, dtype=np.uint8)[None, :, None]
    left = (8 + index) % (width - 24)
    image[20:44, left : left + 24] = (230, 200, 40)
    return image


@pytest.fixture
def make_film(tmp_path: Path) -> Callable[..., Path]:
    """Write a film of moving squares with the product's own writer."""

    def make(
        frames: int = 20, fps: float = 10.0, size: tuple[int, int] = (96, 128), name: str = "film"
    ) -> Path:
        path = tmp_path / f"{name}.mp4"
        writer = VideoWriter(path, size, fps)
        for index in range(frames):
            writer.write(square(index, size), index / fps)
        writer.close()
        return path

    return make


@pytest.fixture
def read_all() -> Callable[..., list[Any]]:
    """Open a source, read it to its end and close it."""

    def run(uri: str, **settings: Any) -> list[Frame | StreamEvent]:
        source = open_source(SourceConfig(uri=uri, **settings))
        source.open()
        try:
            return list(items(source))
        finally:
            source.close()

    return run


def items(source: Source) -> Iterator[Frame | StreamEvent]:
    stop = threading.Event()
    while (item := source.read(stop)) is not None:
        yield item


class Clock:
    """A clock that only moves when told or waited on."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class WaitingStop(threading.Event):
    """A stop event whose `wait` moves the clock instead of waiting."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self.clock.advance(timeout or 0.0)
        return self.is_set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting_stop(clock: Clock) -> WaitingStop:
    return WaitingStop(clock)
