import errno
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from stream.contracts import RunInfo
from stream.errors import SinkError
from stream.sinks import overlay_video
from stream.sinks.jsonl import LineFile, read_recording
from stream.sinks.recorder import RecorderSink

STARTED = datetime(2026, 11, 21, 1, 44, 35, tzinfo=UTC)


class FakeWriter:
    """Keeps what it is given; `gate` holds it up, `fail_at` makes the disk full."""

    def __init__(self, path, size, fps, gate=None, fail_at=None):
        self.path, self.size, self.fps = path, size, fps
        self.gate, self.fail_at = gate, fail_at
        self.frames: list[tuple[np.ndarray, float]] = []
        self.closed = False

    def write(self, rgb, pts_s):
        if self.gate is not None:
            assert self.gate.wait(10)
        if len(self.frames) == self.fail_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.frames.append((rgb, pts_s))

    def close(self):
        self.closed = True


@pytest.fixture
def writers():
    made: list[FakeWriter] = []

    def make(**wanted):
        def open_writer(path, size, fps):
            made.append(FakeWriter(path, size, fps, **wanted))
            return made[-1]

        return open_writer

    make.made = made  # type: ignore[attr-defined]
    return make


def fill(sink, result, frames):
    for index in range(frames):
        sink.write(*result(index))


def test_lines_and_film(result, writers, tmp_path):
    sink = RecorderSink(tmp_path / "a/b", "main", fps=10, make_writer=writers())
    sink.open()
    for index in range(12):
        sink.write(*result(index))
    sink.close()
    sink.close()
    assert [message.frame for message in read_recording(sink.folder)] == list(range(12))
    (film,) = writers.made
    assert (film.path.name, film.size, film.fps, film.closed) == ("overlay.mp4", (48, 64), 10, True)
    assert [time_s for _, time_s in film.frames] == pytest.approx([i / 10 for i in range(12)])
    assert sink.counters == {
        "recorded": 12, "recorded_video": 12, "recorder_behind": 0, "not_recorded": 0,
    }  # fmt: skip


def test_the_overlay_is_drawn_from_a_copy(result, writers, tmp_path):
    gate = threading.Event()
    sink = RecorderSink(tmp_path, "main", make_writer=writers(gate=gate))
    sink.open()
    frame, masks = result(0)
    sink.write(frame, masks)
    frame.image[:] = 255  # the slot in the ring is used again after the call
    gate.set()
    sink.close()
    film = writers.made[0].frames[0][0]
    assert film[0, 0].tolist() == [80, 80, 80]
    assert (film != 80).any()


def test_each_line_is_readable_at_once(result, tmp_path):
    sink = RecorderSink(tmp_path, "main", video=False)
    sink.open()
    for index in range(3):
        sink.write(*result(index))
        assert len(list(read_recording(tmp_path))) == index + 1
    sink.close()
    assert not list(tmp_path.glob("*.mp4"))


def test_run_json_says_what_was_recorded(result, tmp_path):
    info = RunInfo("main", "film.mp4", ["cell", "紅色的大狗"], model="micro", fps=8.0)
    sink = RecorderSink(tmp_path, "main", video=False, info=info, started=STARTED)
    sink.open()
    about = json.loads((tmp_path / "run.json").read_text())
    sink.close()
    assert about == {
        "v": 1, "stream": "main", "source": "film.mp4", "texts": ["cell", "紅色的大狗"],
        "model": "micro", "fps": 8.0, "live": False, "started_utc": "2026-11-21T01:44:35+00:00",
        "masks": "masks.jsonl", "video": None,
    }  # fmt: skip


def test_a_recording_is_never_overwritten(result, tmp_path):
    folders = []
    for _ in range(3):
        sink = RecorderSink(tmp_path, "main", video=False, started=STARTED)
        sink.open()
        sink.write(*result(len(folders)))
        sink.close()
        folders.append(sink.folder)
    assert [folder.relative_to(tmp_path).as_posix() for folder in folders] == [
        ".", "main-20261121T014435Z", "main-20261121T014435Z-2",
    ]  # fmt: skip
    assert [next(read_recording(folder)).frame for folder in folders] == [0, 1, 2]


def test_a_new_size_begins_a_new_film(result, writers, tmp_path):
    sink = RecorderSink(tmp_path, "main", make_writer=writers())
    sink.open()
    for index, size in enumerate([(48, 64), (48, 64), (60, 80), (48, 64)]):
        sink.write(*result(index, size))
    sink.close()
    assert [(film.path.name, film.size, len(film.frames)) for film in writers.made] == [
        ("overlay.mp4", (48, 64), 2),
        ("overlay-2.mp4", (60, 80), 1),
        ("overlay-3.mp4", (48, 64), 1),
    ]
    assert all(film.closed for film in writers.made)
    assert writers.made[1].frames[0][1] == 0.0
    assert len(list(read_recording(tmp_path))) == 4


def test_time_that_goes_back_goes_on_in_the_film(result, writers, tmp_path):
    sink = RecorderSink(tmp_path, "main", fps=10, make_writer=writers())
    sink.open()
    for index, pts_s in enumerate([5.0, 5.1, 0.0, 0.1]):
        sink.write(*result(index, pts_s=pts_s))
    sink.close()
    assert [time_s for _, time_s in writers.made[0].frames] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_latest_leaves_out_film_frames_but_no_line(result, writers, tmp_path):
    gate = threading.Event()
    sink = RecorderSink(tmp_path, "main", policy="latest", make_writer=writers(gate=gate))
    sink.open()
    for index in range(30):
        sink.write(*result(index))
    assert sink.counters["recorder_behind"] >= 30 - overlay_video.QUEUE_FRAMES - 1
    gate.set()
    sink.close()
    counted = sink.counters
    assert counted["recorded_video"] + counted["recorder_behind"] == 30
    assert counted["recorded"] == len(list(read_recording(tmp_path))) == 30
    assert len(writers.made[0].frames) == counted["recorded_video"]


def test_every_waits_for_the_encoder(result, writers, tmp_path):
    gate = threading.Event()
    sink = RecorderSink(tmp_path, "main", make_writer=writers(gate=gate))
    sink.open()

    def record():
        for index in range(30):
            sink.write(*result(index))

    writer = threading.Thread(target=record)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert sink.counters["recorded"] <= overlay_video.QUEUE_FRAMES + 2
    gate.set()
    writer.join(10)
    sink.close()
    assert len(writers.made[0].frames) == 30


def test_an_encoder_that_does_not_finish(result, writers, tmp_path, monkeypatch):
    monkeypatch.setattr("stream.sinks.recorder.CLOSE_TIMEOUT_S", 0.05)
    gate = threading.Event()
    sink = RecorderSink(tmp_path, "main", make_writer=writers(gate=gate))
    sink.open()
    sink.write(*result(0))
    with pytest.raises(SinkError) as caught:
        sink.close()
    gate.set()
    assert str(caught.value) == (
        f"{tmp_path}: the video encoder did not finish within 0.05 s; 1 frames in masks.jsonl are "
        "complete and readable"
    )
    sink.close()


def test_a_full_disk_under_the_film(result, writers, tmp_path):
    sink = RecorderSink(tmp_path, "main", make_writer=writers(fail_at=3))
    sink.open()
    with pytest.raises(SinkError) as caught:
        fill(sink, result, 1000)
    recorded = sink.counters["recorded"]
    assert str(caught.value) == (
        f"{tmp_path}/overlay.mp4: cannot be written: No space left on device; recording stopped, "
        f"{recorded} frames in masks.jsonl are complete and readable, overlay.mp4 is readable to "
        "about its last second; free space or choose another record.dir"
    )
    assert writers.made[0].closed
    assert len(list(read_recording(tmp_path))) == recorded
    sink.write(*result(1001))  # said once; the run may go on without the recorder
    sink.close()
    assert sink.counters["not_recorded"] == 1


def test_a_full_disk_that_shows_at_the_end_of_the_film(result, writers, tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FakeWriter, "close", full)
    sink = RecorderSink(tmp_path, "main", make_writer=writers())
    sink.open()
    sink.write(*result(0))
    with pytest.raises(SinkError, match=r"overlay.mp4: cannot be written: No space left .* 1 fram"):
        sink.close()
    sink.close()


def test_a_full_disk_that_shows_when_the_lines_are_closed(result, tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = RecorderSink(tmp_path, "main", video=False)
    sink.open()
    sink.write(*result(0))
    with monkeypatch.context() as patch:
        patch.setattr(LineFile, "close", full)
        with pytest.raises(
            SinkError, match=r"masks\.jsonl: cannot be written: No space left on dev"
        ):
            sink.close()


def test_a_line_is_whole_or_not_there(result, tmp_path, monkeypatch):
    sink = RecorderSink(tmp_path, "main", video=False)
    sink.open()
    sink.write(*result(0))
    write = os.write

    def half_then_full(descriptor, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) - 50])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half_then_full)
        with pytest.raises(SinkError, match=r"recording stopped, 1 frames in masks\.jsonl are"):
            sink.write(*result(1))
    assert (tmp_path / "masks.jsonl").read_bytes().endswith(b"\n")
    assert [message.frame for message in read_recording(tmp_path)] == [0]
    assert sink.counters["not_recorded"] == 1


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(result, small_disk):
    sink = RecorderSink(small_disk, "main", video=False)
    sink.open()
    with pytest.raises(SinkError, match="No space left on device; recording stopped"):
        fill(sink, result, 10_000)
    frames = [message.frame for message in read_recording(small_disk)]
    assert frames == list(range(sink.counters["recorded"]))
    assert len(frames) > 50
    sink.close()


def test_a_disk_that_is_really_full_under_a_real_film(result, small_disk):
    pytest.importorskip("stream.av_io")
    rng = np.random.default_rng(0)

    def noisy(index):
        frame, masks = result(index, (96, 128))
        frame.image[:] = rng.integers(0, 255, frame.image.shape, dtype=np.uint8)
        return frame, masks

    sink = RecorderSink(small_disk, "main", fps=10)
    sink.open()
    with pytest.raises(SinkError, match=r"No space left on device; recording stopped, \d+ frames"):
        fill(sink, noisy, 1000)
    sink.close()
    frames = [message.frame for message in read_recording(small_disk)]
    assert frames == list(range(sink.counters["recorded"]))


def decoded_frames(path: Path) -> list[np.ndarray]:
    av = pytest.importorskip("av")
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_a_real_film_shows_the_overlay(result, tmp_path):
    sink = RecorderSink(tmp_path, "main", fps=10)
    sink.open()
    for index in range(25):
        sink.write(*result(index, (96, 128)))
    sink.write(*result(25, (65, 91)))
    sink.close()
    film = decoded_frames(tmp_path / "overlay.mp4")
    assert (len(film), film[0].shape) == (25, (96, 128, 3))
    plain, drawn = film[3][90, 120].astype(int), film[3].reshape(-1, 3).astype(int)
    assert np.abs(plain - 83).max() < 8
    assert np.abs(drawn - 83).max() > 60
    assert len(decoded_frames(tmp_path / "overlay-2.mp4")) == 1


def test_everything_is_readable_after_sigkill(tmp_path):
    code = """
import os, sys, time
import numpy as np
from pathlib import Path
from stream.frame import Frame, Masks
from stream.sinks.recorder import RecorderSink
sink = RecorderSink(Path(sys.argv[1]), "main", fps=5)
sink.open()
for index in range(60):
    image = np.full((96, 128, 3), index, dtype=np.uint8)
    sink.write(Frame(index, image, index / 5, 1), Masks(index, (96, 128), index / 5, 1))
while sink._video.frames < 50:
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path)], check=False, env=env, timeout=60
    )
    assert done.returncode == -9
    assert len(list(read_recording(tmp_path))) == 60
    assert len(decoded_frames(tmp_path / "overlay.mp4")) >= 40


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_folder_that_cannot_be(kind, tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" if kind == "file" else tmp_path / "file" / "below"
    reason = "File exists" if kind == "file" else "Not a directory"
    with pytest.raises(SinkError) as caught:
        RecorderSink(folder, "main").open()
    expected = f"{folder}: cannot record there: {reason}; choose another record.dir"
    assert str(caught.value) == expected


def test_not_open(result, tmp_path):
    sink = RecorderSink(tmp_path, "main")
    sink.close()
    with pytest.raises(SinkError, match="cannot record, the recorder is not open"):
        sink.write(*result())
