from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.errors import SourceError, UsageError
from stream.frame import Frame
from stream.sources import open_source

Read = Callable[..., list[Any]]


def encode(
    path: Path, images: list[np.ndarray], pixel_format: str, codec: str, fps: int = 10,
    **options: str,
) -> Path:  # fmt: skip
    """A film by PyAV itself, in formats that the product's own writer does not write."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixel_format
        source = "rgb24" if images[0].ndim == 3 else pixel_format
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format=source)))
        container.mux(stream.encode(None))
    return path


def noisy(count: int, size: tuple[int, int] = (64, 80)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*size, 3)).astype(np.uint8) for _ in range(count)]


def scramble(path: Path, begin: float, end: float | None = None) -> Path:
    """Overwrite a part of a film, given as fractions of the file; None: up to its index."""
    data = bytearray(path.read_bytes())
    low = int(len(data) * begin)
    high = int(len(data) * end) if end is not None else data.index(b"moov") - 4
    data[low:high] = np.random.default_rng(1).integers(0, 256, high - low, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def open_error(path: Path) -> str:
    source = open_source(SourceConfig(uri=str(path)))
    with pytest.raises(UsageError) as caught:
        source.open()
    source.close()
    return str(caught.value)


def test_every_frame_with_its_time(make_film: Callable[..., Path], read_all: Read) -> None:
    frames = read_all(str(make_film(frames=15, fps=10)))
    assert [frame.index for frame in frames] == list(range(15))
    assert [frame.pts_s for frame in frames] == pytest.approx([k / 10 for k in range(15)])
    assert frames[0].image.shape == (96, 128, 3)
    for k in (0, 14):
        row = frames[k].image[32, :, 0].astype(int)
        assert np.flatnonzero(row > 160).min() == pytest.approx(8 + k, abs=1)


def test_facts_after_open(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", noisy(12), "yuv420p", "libx264")
    source = open_source(SourceConfig(uri=str(path)))
    source.open()
    assert (source.live, source.fps, source.frames_total) == (False, 10.0, 12)
    source.close()
    source.close()


@pytest.mark.parametrize("pixel_format", ["gray10le", "gray12le", "gray16le"])
def test_deep_gray_keeps_its_counts(tmp_path: Path, pixel_format: str, read_all: Read) -> None:
    depth = int(pixel_format[4:6])
    image = np.random.default_rng(0).integers(0, 2**depth, (40, 50)).astype(np.uint16)
    with av.open(str(tmp_path / "g.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 50, 40, pixel_format
        picture = av.VideoFrame(50, 40, pixel_format)
        plane = np.frombuffer(picture.planes[0], np.uint16).reshape(40, -1)
        plane[:, :50] = image
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    (frame,) = read_all(str(tmp_path / "g.mkv"))
    assert np.array_equal(frame.image, image)
    assert frame.rgb.shape == (40, 50, 3)
    assert frame.levels is not None


def test_gray_of_eight_bit(tmp_path: Path, read_all: Read) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    path = encode(tmp_path / "g.mkv", [image], "gray", "ffv1")
    assert np.array_equal(read_all(str(path))[0].image, image)


def test_a_film_filmed_upright_is_read_upright(tmp_path: Path, read_all: Read) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:16, :16] = 255
    path = encode(tmp_path / "phone.mp4", [image] * 2, "yuv420p", "libx264")
    data = bytearray(path.read_bytes())
    # The track header's matrix, 40 bytes behind the name: turn a quarter clockwise.
    at = data.index(b"tkhd") + 4 + 40
    quarter = [0, 0x10000, 0, -0x10000, 0, 0, 64 << 16, 0, 0x40000000]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    path.write_bytes(data)
    frame = read_all(str(path))[0]
    assert frame.image.shape == (96, 64, 3)
    assert frame.image[4:12, -12:-4].mean() > 200
    assert frame.image[:48, :32].mean() < 20


def test_size_change_is_announced_before_its_first_frame(tmp_path: Path, read_all: Read) -> None:
    parts = [
        encode(tmp_path / f"{k}.ts", noisy(5, size), "yuv420p", "libx264").read_bytes()
        for k, size in enumerate([(64, 80), (96, 128)])
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    items = read_all(str(tmp_path / "both.ts"))
    at = next(k for k, item in enumerate(items) if isinstance(item, StreamEvent))
    event = items[at]
    assert (event.kind, event.size) == ("size", (96, 128))
    assert event.detail == "frames were 80x64, now 128x96"
    assert {item.size for item in items[:at]} == {(64, 80)}
    assert {item.size for item in items[at + 1 :]} == {(96, 128)}


def test_damage_in_the_middle_is_counted_and_passed(tmp_path: Path) -> None:
    film = encode(tmp_path / "a.mp4", noisy(60), "yuv420p", "libx264", g="10", bf="0")
    source = open_source(SourceConfig(uri=str(scramble(film, 0.45, 0.55))))
    source.open()
    frames = []
    while (item := source.read(threading.Event())) is not None:
        assert isinstance(item, Frame)
        frames.append(item)
    source.close()
    corrupt = source.counters["corrupt"]
    assert corrupt >= 3
    assert len(frames) + corrupt == 60
    assert frames[-1].pts_s == pytest.approx(5.9)
    assert sum(frame.lost_before for frame in frames) == corrupt


@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_damaged_end_gives_all_good_frames_and_then_an_error(tmp_path: Path, b_frames: str) -> None:
    film = encode(tmp_path / "a.mp4", noisy(60), "yuv420p", "libx264", g="10", bf=b_frames)
    source = open_source(SourceConfig(uri=str(scramble(film, 0.5))))
    source.open()
    given = 0
    with pytest.raises(SourceError) as caught:  # noqa: PT012
        while source.read(threading.Event()) is not None:
            given += 1
    source.close()
    assert 20 <= given <= 32
    assert str(caught.value) == (
        f"{film}: damaged after frame {given} of 60: Invalid data found when processing input; "
        "the frames before it were used"
    )


def test_missing_file(tmp_path: Path) -> None:
    assert open_error(tmp_path / "no.mp4") == f"{tmp_path}/no.mp4: no such file"


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "zero.mp4"
    path.touch()
    assert open_error(path) == f"{path}: the file is empty (0 bytes); give a film"


def test_no_frames_in_it(make_film: Callable[..., Path]) -> None:
    path = make_film(frames=0)
    assert str(path) in open_error(path)


def test_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no film\n" * 100)
    assert open_error(path) == (
        f"{path}: is not a video that can be decoded; accepted are films that FFmpeg reads, "
        "pictures (png, jpg, tif, bmp) and TIFF stacks"
    )


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    assert open_error(path) == f"{path}: holds no video stream; give a film"


def test_damaged_from_the_start(tmp_path: Path) -> None:
    film = encode(tmp_path / "a.mp4", noisy(30), "yuv420p", "libx264", bf="0")
    assert "is not a video that can be decoded" in open_error(scramble(film, 0, 1))
    film = encode(tmp_path / "b.mp4", noisy(30), "yuv420p", "libx264", bf="0")
    data = bytearray(film.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    film.write_bytes(data)
    assert "holds no frame; nothing in it can be decoded" in open_error(film)


def test_name_with_a_colon_is_still_a_file(make_film: Callable[..., Path], read_all: Read) -> None:
    assert len(read_all(str(make_film(frames=3, name="day:1")))) == 3
