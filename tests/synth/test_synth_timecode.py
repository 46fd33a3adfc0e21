"""The code in the picture: both directions, through scaling and compression, and damage."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stream.av_io import VideoInput, VideoWriter
from stream.synth.timecode import (
    TimeCode,
    check_fits,
    code_size_px,
    draw_timecode,
    read_timecode,
)


def scene(size: tuple[int, int] = (480, 640), seed: int = 0) -> np.ndarray:
    """A picture that is nowhere flat."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def coded(code: TimeCode, size: tuple[int, int] = (480, 640)) -> np.ndarray:
    image = scene(size)
    draw_timecode(image, code)
    return image


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1), st.integers(160, 700))
def test_what_is_drawn_is_read_at_any_width(time_us: int, number: int, width: int) -> None:
    code = TimeCode(time_us, number)
    image = np.full((64, width, 3), 90, np.uint8)
    draw_timecode(image, code)
    assert read_timecode(image) == code
    gray = np.full((64, width), 90, np.uint8)
    draw_timecode(gray, code)
    assert read_timecode(gray) == code


def test_only_the_corner_is_drawn_over() -> None:
    image, height, width = scene(), *code_size_px(640)
    before = image.copy()
    draw_timecode(image, TimeCode(5, 6))
    assert (height, width) == (32, 200)
    assert np.array_equal(image[height:], before[height:])
    assert np.array_equal(image[:height, width:], before[:height, width:])


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize("quality", [60, 80])
def test_it_survives_scaling_to_the_page_and_jpeg(size: tuple[int, int], quality: int) -> None:
    code = TimeCode(123_456_789_012, 4_000_000_000)
    picture = Image.fromarray(coded(code, size))
    picture.thumbnail((1280, 1280), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    assert read_timecode(np.array(Image.open(out).convert("RGB"))) == code


def test_it_survives_h264_frame_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    writer = VideoWriter(path, (480, 640), 30.0)
    codes = [TimeCode(10**9 + 33_333 * index, index) for index in range(20)]
    for index, code in enumerate(codes):
        writer.write(coded(code), index / 30)
    writer.close()
    film, read = VideoInput(str(path)), []
    while (pictures := film.read()) is not None:
        read += [read_timecode(picture.image) for picture in pictures]
    film.close()
    assert read == codes


def test_damage_reads_as_nothing_and_never_as_another_time() -> None:
    code, wrong = TimeCode(987_654_321, 42), 0
    height, width = code_size_px(640)
    rng = np.random.default_rng(3)
    for _ in range(300):
        image = coded(code)
        y, x = int(rng.integers(0, height - 8)), int(rng.integers(0, width - 24))
        image[y : y + 8, x : x + 24] = 255 - image[y : y + 8, x : x + 24]
        wrong += read_timecode(image) not in (None, code)
    assert wrong == 0
    assert read_timecode(image) is None or read_timecode(image) == code


def test_one_cell_that_flips_is_noticed() -> None:
    image = coded(TimeCode(1, 2))
    image[8:16, 40:48] = 255 - image[8:16, 40:48]
    assert read_timecode(image) is None


def test_pictures_without_a_code_have_none() -> None:
    assert all(read_timecode(scene(seed=seed)) is None for seed in range(50))
    assert read_timecode(np.zeros((480, 640, 3), np.uint8)) is None
    assert read_timecode(np.zeros((8, 8), np.uint8)) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="159x480 is too small"):
        draw_timecode(np.zeros((480, 159), np.uint8), TimeCode(0, 0))
    with pytest.raises(ValueError, match="640x31 is too small"):
        check_fits((31, 640))
    with pytest.raises(ValueError, match="time_us"):
        TimeCode(2**48, 0)
    with pytest.raises(ValueError, match="number"):
        TimeCode(0, -1)
