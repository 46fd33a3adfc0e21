"""The writer against the reader, and what a crash or a full disk leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from stream.av_io import MediaError, VideoInput, VideoWriter

ROOT = Path(__file__).parents[2]


def decode(path: Path) -> list[tuple[float, np.ndarray]]:
    """What can be read, up to the first damage."""
    film, out = VideoInput(str(path)), []
    try:
        while (pictures := film.read()) is not None:
            out += [(picture.pts_s or 0.0, picture.image) for picture in pictures]
    except MediaError:
        pass
    film.close()
    return out


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, (48, 64), 10)
    times = [7.0, 7.1, 7.2, 8.5]
    for k, time_s in enumerate(times):
        writer.write(np.full((48, 64, 3), 40 * k + 30, np.uint8), time_s)
    writer.close()
    writer.close()
    frames = decode(path)
    assert [pts_s for pts_s, _ in frames] == pytest.approx([0.0, 0.1, 0.2, 1.5], abs=1e-4)
    for k, (_, image) in enumerate(frames):
        assert image.shape == (48, 64, 3)
        assert image.mean() == pytest.approx(40 * k + 30, abs=3)


def test_odd_sizes_are_padded_to_even(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (47, 63), 10)
    writer.write(np.full((47, 63, 3), 200, np.uint8), 0)
    writer.close()
    ((_, image),) = decode(tmp_path / "a.mp4")
    assert image.shape == (48, 64, 3)
    assert image[-1].mean() == pytest.approx(200, abs=3)


def test_times_that_go_back_follow_at_once(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (48, 64), 10)
    for time_s in (0.0, 0.5, 0.2, 0.6):
        writer.write(np.zeros((48, 64, 3), np.uint8), time_s)
    writer.close()
    times = [pts_s for pts_s, _ in decode(tmp_path / "a.mp4")]
    assert times == sorted(times)
    assert len(times) == 4
    assert times[-1] == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(
    "image", [np.zeros((48, 60, 3), np.uint8), np.zeros((48, 64, 3)), np.zeros((48, 64), np.uint8)]
)
def test_wrong_images_are_refused(tmp_path: Path, image: np.ndarray) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", (48, 64), 10)
    with pytest.raises(ValueError, match=r"the film takes uint8 \(48, 64, 3\)"):
        writer.write(image, 0)
    writer.close()


def test_closed_without_a_frame(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "a.mp4", (48, 64), 10).close()
    assert (tmp_path / "a.mp4").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        VideoWriter(tmp_path / "no" / "a.mp4", (48, 64), 10)
    assert caught.value.filename == str(tmp_path / "no" / "a.mp4")


def run_writer(path: Path, body: str) -> subprocess.CompletedProcess[str]:
    code = f"""
    import os, resource, signal, sys
    import numpy as np
    from stream.av_io import VideoWriter
    rng = np.random.default_rng(0)
    def image(): return rng.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    path = {str(path)!r}
    {textwrap.indent(textwrap.dedent(body), "    ").strip()}
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


def test_readable_after_a_sigkill(tmp_path: Path) -> None:
    body = """
    writer = VideoWriter(path, (96, 128), 10)
    for k in range(55):
        writer.write(image(), k / 10)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run_writer(tmp_path / "a.mp4", body)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert 40 <= len(decode(tmp_path / "a.mp4")) <= 55


def test_full_disk_is_an_oserror_and_what_was_written_is_readable(tmp_path: Path) -> None:
    body = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    writer, written = VideoWriter(path, (96, 128), 10), 0
    try:
        for k in range(500):
            writer.write(image(), k / 10)
            written += 1
    except OSError as error:
        print(written, error)
    writer.close()
    """
    done = run_writer(tmp_path / "a.mp4", body)
    assert done.returncode == 0, done.stderr
    written, text = done.stdout.strip().split(" ", 1)
    assert text == f"[Errno 27] File too large: '{tmp_path / 'a.mp4'}'"
    assert os.path.getsize(tmp_path / "a.mp4") <= 300_000
    assert int(written) - 15 <= len(decode(tmp_path / "a.mp4")) <= int(written)


@pytest.mark.parametrize("limit", [100, 900, 1500])
def test_full_disk_at_the_very_end_is_not_silent(tmp_path: Path, limit: int) -> None:
    body = f"""
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    writer = VideoWriter(path, (96, 128), 10)
    try:
        for k in range(5):
            writer.write(np.full((96, 128, 3), 20 * k, np.uint8), k / 10)
        writer.close()
    except OSError as error:
        print(error)
    """
    done = run_writer(tmp_path / "a.mp4", body)
    assert done.stdout.strip() == f"[Errno 27] File too large: '{tmp_path / 'a.mp4'}'", done.stderr


def test_packets_before_the_first_keyframe_are_thrown_away(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "all.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(40):
            image = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with (
        av.open(str(tmp_path / "all.ts")) as whole,
        av.open(str(tmp_path / "late.mkv"), "w") as late,
    ):
        copy = late.add_stream_from_template(whole.streams.video[0])
        for k, packet in enumerate(whole.demux(video=0)):
            if k >= 4 and packet.size:
                packet.stream = copy
                late.mux(packet)
    film, images = VideoInput(str(tmp_path / "late.mkv"), wait_for_keyframe=True), 0
    while (pictures := film.read()) is not None:
        images += len(pictures)
    assert film.before_keyframe == 6
    assert images == 30
    film.close()


def test_only_one_file_imports_pyav() -> None:
    pattern = re.compile(r"^\s*(?:import|from) av\b", re.MULTILINE)
    found = {
        str(path.relative_to(ROOT))
        for package in ("stream", "engines", "export", "train")
        for path in (ROOT / package).rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"stream/av_io.py"}


def test_ffmpeg_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0" * 1000)
    code = f"""
    from stream.av_io import MediaError, VideoInput
    for url in ({str(tmp_path / "a.mp4")!r}, "rtsp://joe:secret@127.0.0.1:1/x"):
        try:
            VideoInput(url, timeout_s=(1, 1))
        except MediaError as error:
            print(error.kind, error, repr(error), error.__cause__)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert "secret" not in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["not_media", "refused"]
