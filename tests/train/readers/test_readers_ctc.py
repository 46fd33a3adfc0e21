"""Films of the Cell Tracking Challenge: masks get the ids of tracks, and children their parents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.train.readers.makers import cut, mask, names, save, told, write
from train.readers import open_dataset, require_sound
from train.readers.ctc_masks import match_markers

SIZE = (20, 30)
# (track, y, x) of the cells: track 1 divides into 2 and 3 after frame 1.
CELLS = {0: [(1, 5, 5)], 1: [(1, 6, 6)], 2: [(2, 4, 5), (3, 12, 6)]}
TABLE = "1 0 1 0\n2 2 2 1\n3 2 2 1\n"


def cells(frame: int, half_px: int, *, numbers: bool = False) -> np.ndarray:
    """Squares around the cells, of their track or, as in SEG, numbered anew from the bottom."""
    ids = np.zeros(SIZE, np.uint16)
    for at, (track, y, x) in enumerate(reversed(CELLS[frame])):
        box = np.s_[y - half_px : y + half_px + 1, x - half_px : x + half_px + 1]
        ids[box] = at + 1 if numbers else track
    return ids


def film(root: Path, gold: tuple[int, ...] = (0, 1, 2), silver: tuple[int, ...] = ()) -> Path:
    for frame in CELLS:
        grey = (cells(frame, 3) > 0) * 500 + 100
        save(root / f"01/t{frame:03}.tif", grey.astype(np.uint16))
        save(root / f"01_GT/TRA/man_track{frame:03}.tif", cells(frame, 1))
    for frame in gold:
        save(root / f"01_GT/SEG/man_seg{frame:03}.tif", cells(frame, 3, numbers=True))
    for frame in silver:
        save(root / f"01_ST/SEG/man_seg{frame:03}.tif", cells(frame, 2, numbers=True))
    write(root / "01_GT/TRA/man_track.txt", TABLE)
    return root


def test_masks_take_the_ids_of_their_tracks(tmp_path: Path) -> None:
    film(tmp_path)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "ctc"
    assert dataset.lineage == {"01": {2: 1, 3: 1}}
    assert dataset.counts.objects == 3
    (video,) = dataset.videos
    for frame, loaded in zip((2, 0), video.load([2, 0]), strict=True):
        assert np.array_equal(loaded.ids, cells(frame, 3))
        assert loaded.image[loaded.ids > 0].min() == 255
        assert loaded.image[0, 0, 0] == 0


def test_sets_of_films_have_the_folder_in_their_names(tmp_path: Path) -> None:
    film(tmp_path / "Fluo-A")
    film(tmp_path / "PhC-B")
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert names(dataset.videos) == ["Fluo-A/01", "PhC-B/01"]


def test_silver_masks_fill_what_gold_leaves_open(tmp_path: Path) -> None:
    film(tmp_path, gold=(0, 2), silver=(0, 1, 2))
    partial = cells(2, 1, numbers=True)
    partial[partial == 1] = 0  # gold knows track 2 only, and draws it smaller than silver does
    save(tmp_path / "01_GT/SEG/man_seg002.tif", partial)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    first, second, third = (frame.ids for frame in dataset.videos[0].load([0, 1, 2]))
    assert np.array_equal(first, cells(0, 3))
    assert np.array_equal(second, cells(1, 2))
    assert third is not None
    assert np.array_equal(third == 2, cells(2, 1) == 2)
    assert np.array_equal(third == 3, cells(2, 2) == 3)


def test_a_mask_of_no_track_is_ignored(tmp_path: Path) -> None:
    film(tmp_path)
    ids = cells(1, 3, numbers=True)
    ids[15:18, 20:25] = 9
    save(tmp_path / "01_GT/SEG/man_seg001.tif", ids)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    loaded = dataset.videos[0].load([1])[0].ids
    assert loaded is not None
    assert set(loaded[15:18, 20:25].ravel().tolist()) == {65535}
    assert dataset.counts.ignored == 1


def test_the_rule_is_more_than_half_of_the_marker() -> None:
    markers = np.zeros((4, 8), np.uint16)
    markers[1, 0:4], markers[3, 0:4] = 5, 6
    masks = np.zeros((4, 8), np.uint16)
    masks[1, 0:2], masks[3, 1:4] = 1, 2
    assert match_markers(masks, markers) == {2: 6}
    # Two markers in one mask: the one with more pixels in it.
    masks[:] = 7
    markers[1, 4] = 5
    assert match_markers(masks, markers) == {7: 5}


def test_markers_without_masks(tmp_path: Path) -> None:
    film(tmp_path, gold=(0,))
    dataset = open_dataset(tmp_path)
    assert told(dataset) == [
        "01_GT/TRA: 2 of 3 frames have markers and no masks in SEG, the first t001.tif; "
        "allow_markers trains on the markers"
    ]
    assert dataset.videos == ()
    allowed = open_dataset(tmp_path, allow_markers=True)
    require_sound(allowed)
    frames = allowed.videos[0].load([0, 2])
    assert np.array_equal(frames[0].ids, cells(0, 3))
    assert np.array_equal(frames[1].ids, cells(2, 1))
    film(tmp_path)
    partial = cells(2, 3, numbers=True)
    partial[partial == 1] = 0
    save(tmp_path / "01_GT/SEG/man_seg002.tif", partial)
    assert told(open_dataset(tmp_path)) == [
        "01_GT/TRA/man_track002.tif: tracks 3 have a marker and no mask; allow_markers trains on it"
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("1 0 1 0\n2 2 2 1\n", ": track 3 is not listed, frame 2 has it"),
        (TABLE + "3 2 2 0\n", " line 4: track 3 is also in line 3"),
        (TABLE + "4 2 1 0\n", " line 4: track 4 begins in frame 2 and ends in 1"),
        (TABLE + "4 2 2\n", " line 4: is '4 2 2'; expected L B E P, whole numbers up to 65534"),
        (TABLE + "4 0 1 0\n", " line 4: track 4 has no marker in frames 0, 1"),
        (TABLE.replace("1 0 1", "1 0 0"), " line 1: track 1 is told for frames 0 to 0 and is in 1"),
        (TABLE.replace("2 2 2 1", "2 2 2 8"), " line 2: the parent 8 of track 2 is no track"),
        (
            TABLE.replace("3 2 2 1", "3 2 2 2"),
            " line 3: track 3 begins in frame 2, its parent 2 ends in 2; accepted are earlier ends",
        ),
    ],
)
def test_faults_of_the_table(tmp_path: Path, table: str, said: str) -> None:
    film(tmp_path)
    write(tmp_path / "01_GT/TRA/man_track.txt", table)
    dataset = open_dataset(tmp_path)
    assert told(dataset) == [f"01_GT/TRA/man_track.txt{said}"]
    assert dataset.left_out == 1


def test_faults_of_files(tmp_path: Path) -> None:
    film(tmp_path)
    cut(tmp_path / "01/t000.tif")
    (tmp_path / "01_GT/TRA/man_track001.tif").unlink()
    save(tmp_path / "01_GT/SEG/man_seg002.tif", mask(1))
    save(tmp_path / "01_GT/TRA/man_track003.tif", cells(2, 1))
    cut_fault, *others = sorted(told(open_dataset(tmp_path)))
    assert cut_fault.startswith("01/t000.tif: cannot be read: ")
    assert others == [
        "01/t001.tif: has no markers 01_GT/TRA/man_track001.tif",
        "01_GT/SEG/man_seg002.tif: is 16x12, its markers man_track002.tif 30x20",
        "01_GT/TRA/man_track003.tif: has no frame 01/t003.tif",
    ]


def test_only_the_first_frames(tmp_path: Path) -> None:
    film(tmp_path)
    dataset = open_dataset(tmp_path, frames=2)
    require_sound(dataset)
    assert dataset.videos[0].frames == 2
    assert dataset.lineage == {"01": {}}
