from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from stream.config import SourceConfig
from stream.contracts import StreamEvent
from stream.errors import SourceError, UsageError
from stream.sources import open_source
from stream.sources.images import list_images

Read = Callable[..., list[Any]]
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 255, (20, 30, 3)).astype(np.uint8)
GRAY = COLOUR[:, :, 0]
DEEP = RNG.integers(0, 65535, (20, 30)).astype(np.uint16)


def save(path: Path, pixels: np.ndarray) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def open_error(uri: str) -> str:
    source = open_source(SourceConfig(uri=uri))
    with pytest.raises(UsageError) as caught:
        source.open()
    return str(caught.value)


def test_folder_in_natural_order(tmp_path: Path, read_all: Read) -> None:
    for number in (10, 9, 1, 100):
        save(tmp_path / f"t{number}.png", np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = read_all(str(tmp_path))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 9, 10, 100]
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [frame.index for frame in frames] == [0, 1, 2, 3]


def test_facts_and_glob(tmp_path: Path, read_all: Read) -> None:
    for name in ("a1.png", "a2.bmp", "b1.png"):
        save(tmp_path / name, GRAY)
    source = open_source(SourceConfig(uri=str(tmp_path)))
    source.open()
    assert (source.live, source.fps, source.frames_total) == (False, 10.0, 3)
    assert len(read_all(f"{tmp_path}/a*")) == 2
    (tmp_path / "sub").mkdir()
    save(tmp_path / "sub" / "c.png", GRAY)
    assert len(list_images(f"{tmp_path}/**/*.png")) == 3


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
@pytest.mark.parametrize("pixels", [COLOUR, GRAY], ids=["colour", "gray"])
def test_pixels_are_kept(tmp_path: Path, name: str, pixels: np.ndarray, read_all: Read) -> None:
    (frame,) = read_all(str(save(tmp_path / name, pixels)))
    assert np.array_equal(frame.image, pixels)
    assert frame.rgb.shape == (20, 30, 3)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_is_kept_and_shown(tmp_path: Path, name: str, read_all: Read) -> None:
    (frame,) = read_all(str(save(tmp_path / name, DEEP)))
    assert frame.image.dtype == np.uint16
    assert np.array_equal(frame.image, DEEP)
    assert frame.levels is not None
    assert frame.display.dtype == np.uint8


def test_big_endian_tiff(tmp_path: Path, read_all: Read) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DEEP, byteorder=">")
    assert np.array_equal(read_all(f"{tmp_path}/*.tif")[0].image, DEEP)


def test_palette_and_alpha_become_rgb(tmp_path: Path, read_all: Read) -> None:
    Image.fromarray(COLOUR).convert("RGBA").save(tmp_path / "a.png")
    Image.fromarray(COLOUR).quantize(256).save(tmp_path / "b.png")
    first, second = read_all(str(tmp_path))
    assert np.array_equal(first.image, COLOUR)
    assert second.image.shape == (20, 30, 3)


def test_camera_orientation_is_applied(tmp_path: Path, read_all: Read) -> None:
    picture = Image.fromarray(COLOUR)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_all(str(tmp_path))[0].size == (30, 20)


def test_size_change_is_an_event(tmp_path: Path, read_all: Read) -> None:
    save(tmp_path / "1.png", GRAY)
    save(tmp_path / "2.png", GRAY[:10])
    first, event, second = read_all(str(tmp_path))
    assert event == StreamEvent("size", "frames were 30x20, now 30x10", size=(10, 30))
    assert (first.index, second.index) == (0, 1)


def test_one_damaged_picture_is_counted_and_passed(tmp_path: Path) -> None:
    for k in range(3):
        save(tmp_path / f"{k}.png", GRAY)
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    source = open_source(SourceConfig(uri=str(tmp_path)))
    source.open()
    frames = [source.read(threading.Event()) for _ in range(3)]
    assert frames[2] is None
    assert [frame.lost_before for frame in frames[:2]] == [0, 1]
    assert source.counters == {"corrupt": 1}


def test_damaged_last_picture(tmp_path: Path, read_all: Read) -> None:
    save(tmp_path / "1.png", GRAY)
    (tmp_path / "2.png").write_text("no picture")
    with pytest.raises(SourceError) as caught:
        read_all(str(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}: damaged after picture 1 of 2: 2.png is not a picture; the frames before it "
        "were used"
    )


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no picture")
    assert open_error(str(tmp_path)) == (
        f"{tmp_path}: holds no picture; nothing in it can be decoded: 1.png is not a picture"
    )


def test_what_is_not_there(tmp_path: Path) -> None:
    accepted = "accepted are png, jpg, jpeg, tif, tiff, bmp"
    assert open_error(str(tmp_path)) == f"{tmp_path}: the folder holds no pictures; {accepted}"
    assert open_error(f"{tmp_path}/*.png") == (
        f"{tmp_path}/*.png: matches no file; quote a glob so that the shell keeps it"
    )
    (tmp_path / "a.txt").touch()
    assert open_error(f"{tmp_path}/a*") == (
        f"{tmp_path}/a*: matches 1 files, none a picture; {accepted}"
    )
    assert "matches no file" in open_error(f"{tmp_path}/no.png")


def test_floating_point_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GRAY.astype(np.float32))
    assert open_error(str(tmp_path)) == (
        f"{tmp_path}/a.tif: pixels are float32 (20, 30); accepted are gray uint8 and uint16, and "
        "RGB uint8; convert it first"
    )


def test_stack_among_pictures_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GRAY] * 4), photometric="minisblack")
    assert open_error(str(tmp_path)) == (
        f"{tmp_path}/a.tif: holds 4 pages; give it alone, as tiff://{tmp_path}/a.tif, or keep "
        "only single pictures in the folder"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission(tmp_path: Path) -> None:
    save(tmp_path / "1.png", GRAY).chmod(0)
    assert "Permission denied" in open_error(str(tmp_path))
