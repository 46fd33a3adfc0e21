from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from stream.config import Normalize, SourceConfig
from stream.contracts import StreamEvent
from stream.errors import SourceError, UsageError
from stream.frame import Frame
from stream.sources import open_source

Read = Callable[..., list[Any]]
RNG = np.random.default_rng(0)
STACK = RNG.integers(500, 3000, (7, 40, 60)).astype(np.uint16)


def open_error(uri: object) -> str:
    source = open_source(SourceConfig(uri=str(uri)))
    with pytest.raises(UsageError) as caught:
        source.open()
    source.close()
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["", "tiff://"])
@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}, {"bigtiff": True}],
    ids=["plain", "zlib", "imagej", "ome", "bigtiff"],
)
def test_pages_in_order(
    tmp_path: Path, prefix: str, options: dict[str, Any], read_all: Read
) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **options)
    frames = read_all(f"{prefix}{path}")
    assert [frame.index for frame in frames] == list(range(7))
    assert all(np.array_equal(f.image, page) for f, page in zip(frames, STACK, strict=True))
    assert all(frame.rgb.shape == (40, 60, 3) and frame.levels for frame in frames)


def test_eight_bit_and_colour(tmp_path: Path, read_all: Read) -> None:
    gray = (STACK // 16).astype(np.uint8)
    tifffile.imwrite(tmp_path / "g.tif", gray, photometric="minisblack")
    assert np.array_equal(read_all(str(tmp_path / "g.tif"))[3].image, gray[3])
    colour = RNG.integers(0, 255, (4, 20, 30, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb")
    frames = read_all(str(tmp_path / "c.tif"))
    assert len(frames) == 4
    assert np.array_equal(frames[2].image, colour[2])


def test_imagej_series_that_lies_behind_one_page(tmp_path: Path, read_all: Read) -> None:
    path = tmp_path / "big.tif"
    tifffile.imwrite(
        path, STACK, imagej=True, contiguous=True, metadata={"axes": "TYX", "finterval": 0.5}
    )
    with tifffile.TiffFile(path) as file:
        second = file.pages[0].offset
        assert len(file.pages) in (1, 7)
        pages = len(file.pages)
        page = file.pages[0]
        next_field = page.offset + 2 + 12 * len(page.tags)
    if pages > 1:
        # What ImageJ does above 4 GB: the chain of pages ends after the first.
        data = bytearray(path.read_bytes())
        data[next_field : next_field + 4] = b"\0\0\0\0"
        path.write_bytes(data)
    assert second > 0
    source = open_source(SourceConfig(uri=str(path)))
    source.open()
    assert (source.fps, source.frames_total) == (2.0, 7)
    source.close()
    frames = read_all(str(path))
    assert [frame.pts_s for frame in frames] == [k * 0.5 for k in range(7)]
    assert np.array_equal(frames[6].image, STACK[6])


def test_pages_of_two_sizes(tmp_path: Path, read_all: Read) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in (STACK[0], STACK[1], STACK[2, :30], STACK[3, :30]):
            writer.write(page, contiguous=False, photometric="minisblack")
    items = read_all(str(path))
    assert [item.kind if isinstance(item, StreamEvent) else item.size for item in items] == [
        (40, 60), (40, 60), "size", (30, 60), (30, 60),
    ]  # fmt: skip


def test_relock_is_announced_before_its_frame(tmp_path: Path, read_all: Read) -> None:
    dark = RNG.normal(300, 10, (20, 64, 64))
    dark[8:, 10:30, 10:30] += 9000
    tifffile.imwrite(tmp_path / "a.tif", dark.astype(np.uint16), photometric="minisblack")
    config = Normalize(lock_frames=4, relock_frames=3)
    items = read_all(str(tmp_path / "a.tif"), normalize=config)
    at = next(k for k, item in enumerate(items) if isinstance(item, StreamEvent))
    assert items[at].kind == "relock"
    assert items[at + 1].index == 10
    lo, hi = items[at + 1].levels
    assert items[at].detail == f"levels set anew: {lo:.0f} to {hi:.0f} counts"
    assert hi > items[at - 1].levels[1]


def test_a_long_stack_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.tif"
    page = np.zeros((1024, 1024), np.uint16)
    tifffile.imwrite(path, (page for _ in range(150)), shape=(150, 1024, 1024), dtype=np.uint16)
    source, stop = open_source(SourceConfig(uri=str(path))), threading.Event()
    source.open()
    first = source.read(stop)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 1
    while source.read(stop) is not None:
        count += 1
    source.close()
    assert isinstance(first, Frame)
    assert count == 150
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


def test_damaged_page_in_the_middle_and_cut_end(tmp_path: Path) -> None:
    path = tmp_path / "z.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as file:
        offsets = [page.dataoffsets[0] for page in file.pages]
    data = bytearray(path.read_bytes())
    data[offsets[2] : offsets[2] + 50] = b"\xff" * 50
    path.write_bytes(data)
    source, stop = open_source(SourceConfig(uri=str(path))), threading.Event()
    source.open()
    frames = []
    while isinstance(item := source.read(stop), Frame):
        frames.append(item)
    assert [frame.lost_before for frame in frames] == [0, 0, 1, 0, 0, 0]
    assert source.counters == {"corrupt": 1}
    data[offsets[6] : offsets[6] + 50] = b"\xff" * 50
    path.write_bytes(data)
    source = open_source(SourceConfig(uri=str(path)))
    source.open()
    with pytest.raises(SourceError, match=r"z\.tif: damaged after page 5 of 7: page 7: "):  # noqa: PT012
        while source.read(stop) is not None:
            pass


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32, np.int16])
def test_other_types_are_refused(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK.astype(dtype), photometric="minisblack")
    assert open_error(path).startswith(f"{path}: pixels are {np.dtype(dtype)} ")
    assert open_error(path).endswith(
        "accepted are gray uint8 and uint16, and RGB uint8; convert it first"
    )


def test_channels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK.reshape(7, 1, 40, 60).repeat(2, 1), imagej=True,
                     metadata={"axes": "TCYX"})  # fmt: skip
    assert open_error(path) == (
        f"{path}: has axes TCYX with channels (2 in C); save the one to watch as a stack of its own"
    )


def test_missing_and_not_a_tiff(tmp_path: Path) -> None:
    assert open_error(f"tiff://{tmp_path}/no.tif") == f"{tmp_path}/no.tif: no such file"
    path = tmp_path / "a.tif"
    path.write_text("not a TIFF")
    assert open_error(path).startswith(f"{path}: is not a TIFF that can be read: ")
    path.write_bytes(b"")
    assert open_error(path).startswith(f"{path}: is not a TIFF that can be read: ")
