"""Captions: how lines are split, what may stand beside them, and what can be wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.train.readers.makers import SIZE, mask, names, picture, save, told, write
from train.readers import open_dataset, require_sound
from train.readers.caption_lines import split_line
from train.readers.finder import ImageFinder

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def images(root: Path, *found: str) -> Path:
    for at, name in enumerate(found):
        save(root / "images" / name, picture(at))
    return root


def test_lines_of_all_kinds(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b c.png", "d: e.png", "sub/f.jpg", "红狗.jpg", "#1.png")
    write(
        tmp_path / "captions.txt",
        "\ufeff# what the pictures show\n"
        "a.jpg: a large red dog\n"
        "a.jpg:   the  dog: asleep \n"
        "\n"
        "b c.png: at 10:30\n"
        "d: e.png: two: names\n"
        "sub/f.jpg: small\r\n"
        "红狗.jpg：一只大红狗\n"
        "#1.png: a number\n",
    )
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "captions"
    said = {sample.name: sample.load().captions for sample in dataset.images}
    assert said == {
        "a": ("a large red dog", "the dog: asleep"),
        "b c": ("at 10:30",),
        "d: e": ("two: names",),
        "sub/f": ("small",),
        "红狗": ("一只大红狗",),
        "#1": ("a number",),
    }
    assert dataset.counts.captions == 7
    assert all(sample.load().ids is None for sample in dataset.images)


def test_faults_of_captions(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg", "x/d.jpg", "y/d.jpg")
    write(
        tmp_path / "captions.txt",
        b"a.jpg: good\n"
        b"a.jpg: good\n"
        b"b.jpg:\n"
        b"z.jpg: unknown: image\n"
        b"c.jpg: caf\xe9\n"
        b"nothing to split\n"
        b"d.jpg: which one\n"
        b"x/d.jpg: this\n"
        b"y/d.jpg: that\n",
    )
    dataset = open_dataset(tmp_path)
    assert told(dataset) == [
        "captions.txt line 5: byte 0xe9 is not UTF-8; save the file as UTF-8",
        "captions.txt line 2: says the same as line 1",
        "captions.txt line 3: the caption of b.jpg is empty",
        "captions.txt line 4: 'z.jpg' is no image in images/",
        "captions.txt line 6: is 'nothing to split'; expected NAME: CAPTION",
        "captions.txt line 7: 'd.jpg' is there 2 times: x/d.jpg and y/d.jpg",
        "images/b.jpg: has no caption in captions.txt",
        "images/c.jpg: has no caption in captions.txt",
    ]
    assert names(dataset.images) == ["a", "x/d", "y/d"]
    assert dataset.left_out == 2
    assert dataset.images[0].load().captions == ("good",)


def test_two_files_of_one_name_and_a_missing_list(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "a.png")
    write(tmp_path / "captions.txt", "a.jpg: one\na.png: two\n")
    assert told(open_dataset(tmp_path)) == [
        "a: is the name of 2 samples; names are the key of the split"
    ]
    (tmp_path / "captions.txt").unlink()
    assert told(open_dataset(tmp_path, "captions"))[0] == (
        "captions.txt: is missing; expected images/ and captions.txt or boxes.csv"
    )


@pytest.mark.parametrize("folder", ["annotations", "masks"])
def test_masks_beside_captions(tmp_path: Path, folder: str) -> None:
    images(tmp_path, "a.jpg", "b.jpg")
    write(tmp_path / "captions.txt", "a.jpg: a dog\nb.jpg: nothing known\n")
    save(tmp_path / folder / "a.png", mask(4))
    write(tmp_path / folder / "labels.csv", "stem,id,label\na,4,dog\n")
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    first, second = (sample.load() for sample in dataset.images)
    assert np.array_equal(first.ids, mask(4))
    assert (first.labels, first.captions) == ({4: "dog"}, ("a dog",))
    assert second.ids is None
    save(tmp_path / folder / "b.png", mask(1, size=(5, 5)))
    save(tmp_path / folder / "c.png", mask(1))
    dataset = open_dataset(tmp_path)
    assert told(dataset) == [
        f"{folder}/b.png: is 5x5, its image b.jpg 16x12",
        f"{folder}/c.png: has no image images/c.*",
    ]
    assert names(dataset.images) == ["a"]
    assert dataset.left_out == 1


def test_coco_beside_captions(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg")
    write(tmp_path / "captions.txt", "a.jpg: a dog\n")
    outline = [2, 2, 6, 2, 6, 8, 2, 8]
    made = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [outline]}],
    }
    write(tmp_path / "annotations.json", made)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    loaded = dataset.images[0].load()
    assert loaded.ids is not None
    assert loaded.ids.sum() == 24
    assert (loaded.labels, loaded.captions) == ({1: "dog"}, ("a dog",))
    write(tmp_path / "boxes.csv", "filename,class,xmin,ymin,xmax,ymax\n")
    assert told(open_dataset(tmp_path)) == [
        f"{tmp_path.name}: objects are told in annotations.json and boxes.csv; keep one of them"
    ]


def test_boxes_need_no_captions(tmp_path: Path) -> None:
    images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    head = "filename,class,xmin,ymin,xmax,ymax\n"
    write(tmp_path / "boxes.csv", head + "a.jpg,RBC,1,2,5,6\na.jpg,WBC,0,0,16.5,12\n")
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    loaded = dataset.images[0].load()
    assert loaded.boxes == {1: (1, 2, 5, 6), 2: (0, 0, 16, 12)}
    assert loaded.labels == {1: "RBC", 2: "WBC"}
    assert loaded.ids is None
    assert loaded.image.shape == (*SIZE, 3)
    bad = "a.jpg,RBC,5,2,5,6\nb.jpg,RBC,1,2,30,6\nz.jpg,RBC,1,2,5,6\nc.jpg,,1,2,5,6\n"
    write(tmp_path / "boxes.csv", head + bad + "c.jpg,RBC,1,2,x,6\n" + "c.jpg,RBC,1,2,5,6\n" * 2)
    dataset = open_dataset(tmp_path)
    assert sorted(told(dataset)) == [
        "boxes.csv line 2: box 5, 2, 5, 6 (x0, y0, x1, y1) has no area",
        "boxes.csv line 3: box 1, 2, 30, 6 (x0, y0, x1, y1) reaches outside the image of 16x12",
        "boxes.csv line 4: 'z.jpg' is no image in images/",
        "boxes.csv line 5: the class is empty",
        "boxes.csv line 6: the box is 1, 2, x, 6; expected four numbers",
        "boxes.csv line 8: is the same as line 7",
    ]
    assert names(dataset.images) == ["c"]
    assert dataset.left_out == 2


word = st.text(st.sampled_from("ab :：红狗#.-"), min_size=1, max_size=8).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(st.lists(word, min_size=1, max_size=3, unique=True), st.data())
def test_a_line_is_split_at_the_longest_name(stems: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = {stem: Path(folder) / f"{stem}.png" for stem in stems if not stem.startswith(".")}
        assume(paths)
        for path in paths.values():
            path.touch()
        name = data.draw(st.sampled_from(sorted(paths)))
        caption = data.draw(word)
        # A longer name may be spelled out by a caption, then that is meant.
        assume(not any(f"{stem}.png" in caption for stem in paths))
        found, said_name, said = split_line(f"{name}.png: {caption}", ImageFinder(Path(folder)))
    assert found == [paths[name]]
    assert said_name == f"{name}.png"
    assert said == " ".join(caption.split())


@pytest.mark.shared_data
def test_real_boxes() -> None:
    root = SHARED / "bccd_blood"
    if not root.is_dir():
        pytest.skip("the real data sets are not beside the checkout")
    dataset = open_dataset(root)
    assert dataset.format == "captions"
    assert len(dataset.images) + dataset.left_out == 364
    assert [fault.what.endswith("has no area") for fault in dataset.faults] == [True, True]
    assert dataset.counts.classes["WBC"] == 372


def test_the_longest_name_wins_and_folders_must_be_right(tmp_path: Path) -> None:
    images(tmp_path, "d.png", "d.png: e.png", "x/f.jpg")
    finder = ImageFinder(tmp_path / "images")
    assert split_line("d.png: e.png: two", finder)[1:] == ("d.png: e.png", "two")
    assert split_line("d.png: g.png: two", finder)[1:] == ("d.png", "g.png: two")
    assert split_line("y/f.jpg: wrong", finder) == ([], "y/f.jpg", "wrong")
    # Annotations made on another machine name folders of that machine.
    assert finder.find("y/f.jpg") == [tmp_path / "images/x/f.jpg"]
