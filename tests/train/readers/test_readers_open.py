"""Recognising layouts, refusing data sets, describing them, and splitting by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.readers.makers import mask, picture, save, write
from train.micro.data import is_held_out
from train.readers import DatasetError, describe, held_out, open_dataset, require_sound
from train.readers.faults import require_samples
from train.readers.samples import Counts, Dataset, Fault


def pair(root: Path, stem: str = "a", number: int = 1) -> None:
    save(root / "images" / f"{stem}.png", picture())
    save(root / "masks" / f"{stem}.png", mask(number))


def test_what_is_no_data_set_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: data set: is not there; a folder is needed$"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"format: is 'voc'; accepted are auto, cityscapes, "):
        open_dataset(tmp_path, "voc")
    with pytest.raises(DatasetError, match="is none that is known") as caught:
        open_dataset(tmp_path)
    for name in ("instances: images/", "coco: annotations/", "davis: JPEGImages/480p", "captions"):
        assert name in str(caught.value)
    for path in (write(tmp_path / "a.txt", "x"), write(tmp_path / "a.png", "x")):
        with pytest.raises(DatasetError, match="is a file; accepted are folders, and a JSON file"):
            open_dataset(path)


@pytest.mark.parametrize(
    "name", ["instances", "coco", "cityscapes", "davis", "ytvos", "ctc", "captions"]
)
def test_an_empty_folder_is_a_fault_in_every_format(tmp_path: Path, name: str) -> None:
    dataset = open_dataset(tmp_path, name)
    assert dataset.faults
    with pytest.raises(DatasetError):
        require_sound(dataset)
    with pytest.raises(DatasetError):
        require_samples(dataset)


def test_the_first_faults_are_shown_and_the_rest_counted() -> None:
    faults = tuple(Fault(f"file {number}", "is\nbad") for number in range(25))
    with pytest.raises(DatasetError) as caught:
        require_sound(Dataset("coco", Path("set"), (), (), faults))
    message = str(caught.value)
    assert message.startswith("set: file 0: is bad; file 1: ")
    assert message.endswith("file 19: is bad; and 5 more")
    assert caught.value.faults == faults


def test_a_sound_part_can_be_used(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    pair(tmp_path, "b")
    (tmp_path / "masks/b.png").unlink()
    dataset = open_dataset(tmp_path)
    require_samples(dataset)
    with pytest.raises(DatasetError):
        require_sound(dataset)
    assert dict(describe(dataset)) == {
        "format": "instances",
        "images": "1",
        "objects": "1",
        "sizes": "16x12 1",
        "faults": "1",
        "left out": "1",
    }


def test_a_description_counts_classes_and_frames(tmp_path: Path) -> None:
    for frame in range(3):
        pair(tmp_path, f"film/{frame}", 7)
    write(tmp_path / "labels.csv", "stem,id,label\nfilm,7,dog\n")
    rows = dict(describe(open_dataset(tmp_path, videos=True)))
    assert rows["videos"] == "1 of 3 frames"
    assert rows["objects"] == "1"
    assert rows["classes"] == "dog 1"
    assert "images" not in rows
    counts = Counts(1200, classes={f"class {number}": number for number in range(1, 12)})
    rows = dict(describe(Dataset("coco", Path("set"), (), (), counts=counts)))
    assert rows["objects"] == "1,200"
    assert rows["classes"].startswith("class 11 11, class 10 10, ")
    assert rows["classes"].endswith("class 4 4 and 3 more")


def test_the_split_is_that_of_the_micro_models() -> None:
    every = [f"dsb2018/{number}" for number in range(500)]
    for percent in (0, 10, 25, 100):
        assert [held_out(name, percent) for name in every] == [
            is_held_out(name, percent) for name in every
        ]
    assert 30 < sum(held_out(name) for name in every) < 70
    assert all(held_out(name, 25) for name in every if held_out(name, 10))


def test_reading_needs_no_torch() -> None:
    code = "import sys, train.readers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
