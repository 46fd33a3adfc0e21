"""Cityscapes, DAVIS and YouTube-VOS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.train.readers.makers import mask, names, picture, save, told, write
from train.readers import DatasetError, open_dataset, require_sound


def city(root: Path, split: str = "train", name: str = "aachen/a", *values: int) -> None:
    save(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png", picture())
    save(root / f"gtFine/{split}/{name}_gtFine_instanceIds.png", mask(*values))


def test_cityscapes_things_are_objects_void_and_groups_are_ignored(tmp_path: Path) -> None:
    city(tmp_path, "train", "aachen/a", 26001, 24000, 7, 26, 3)
    city(tmp_path, "test", "berlin/b", 0)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "cityscapes"
    assert names(dataset.images) == ["train/aachen/a"]
    loaded = dataset.images[0].load()
    assert loaded.labels == {24000: "person", 26001: "car"}
    bars = mask(1, 2, 3, 4, 5)
    assert loaded.ids is not None
    seen = [set(loaded.ids[bars == bar].tolist()) for bar in range(6)]
    # What no class was given to is void, too.
    assert seen == [{65535}, {26001}, {24000}, {0}, {65535}, {65535}]


def test_cityscapes_faults(tmp_path: Path) -> None:
    city(tmp_path, "train", "a/good", 26001)
    city(tmp_path, "train", "a/road", 7001)
    city(tmp_path, "val", "b/class", 34)
    city(tmp_path, "val", "b/bare", 26001)
    (tmp_path / "gtFine/val/b/bare_gtFine_instanceIds.png").unlink()
    save(tmp_path / "gtFine/val/b/orphan_gtFine_instanceIds.png", mask(26001))
    accepted = "accepted are classes -1 to 33, and class * 1000 + number for classes 24 to 33"
    dataset = open_dataset(tmp_path)
    assert told(dataset) == [
        "leftImg8bit/val/b/bare_leftImg8bit.png: has no mask "
        "gtFine/val/b/bare_gtFine_instanceIds.png",
        "gtFine/val/b/orphan_gtFine_instanceIds.png: has no image "
        "leftImg8bit/val/b/orphan_leftImg8bit.png",
        f"gtFine/train/a/road_gtFine_instanceIds.png: has the value 7001; {accepted}",
        f"gtFine/val/b/class_gtFine_instanceIds.png: has the value 34; {accepted}",
    ]
    assert names(dataset.images) == ["train/a/good"]
    assert dataset.left_out == 3
    with pytest.raises(DatasetError, match="split: is 'dev'; there are train, val"):
        open_dataset(tmp_path, split="dev")
    assert len(told(open_dataset(tmp_path, split="train"))) == 1
    blind = tmp_path / "blind"
    (blind / "leftImg8bit").mkdir(parents=True)
    assert told(open_dataset(blind))[0].startswith("gtFine: is missing; expected leftImg8bit/")


def davis(root: Path, film: str, frames: int = 3, *values: int) -> None:
    for frame in range(frames):
        save(root / f"JPEGImages/480p/{film}/{frame:05}.jpg", picture())
        save(root / f"Annotations/480p/{film}/{frame:05}.png", mask(*values), palette=True)


def test_davis_2017_void_is_ignored(tmp_path: Path) -> None:
    davis(tmp_path, "bear", 3, 1, 2, 255)
    davis(tmp_path, "cat", 2, 1)
    write(tmp_path / "ImageSets/2017/train.txt", "bear\n")
    line = "/JPEGImages/480p/cat/00000.jpg /Annotations/480p/cat/00000.png\n"
    write(tmp_path / "ImageSets/2016/val.txt", line * 2)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "davis"
    assert [(film.name, film.frames) for film in dataset.videos] == [("bear", 3), ("cat", 2)]
    (frame,) = dataset.videos[0].load([1])
    assert np.array_equal(frame.ids, mask(1, 2, 65535))
    assert dataset.counts.objects == 3
    assert names(open_dataset(tmp_path, split="train").videos) == ["bear"]
    assert names(open_dataset(tmp_path, split="val").videos) == ["cat"]
    assert names(open_dataset(tmp_path, split="2016/val").videos) == ["cat"]
    with pytest.raises(DatasetError, match="is 'test'; ImageSets/ has 2016/val, 2017/train"):
        open_dataset(tmp_path, split="test")


def test_davis_2016_has_one_object_of_value_255(tmp_path: Path) -> None:
    for frame, values in enumerate(((255,), (), (255,))):
        save(tmp_path / f"JPEGImages/480p/bear/{frame:05}.jpg", picture())
        save(tmp_path / f"Annotations/480p/bear/{frame:05}.png", mask(*values, dtype=np.uint8))
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    first, second = dataset.videos[0].load([0, 1])
    assert np.array_equal(first.ids, mask(1))
    assert not np.any(second.ids)


def test_davis_faults(tmp_path: Path) -> None:
    for film in ("bear", "cat", "dog", "empty"):
        davis(tmp_path, film, 3, *(() if film == "empty" else (1,)))
    (tmp_path / "Annotations/480p/bear/00001.png").unlink()
    (tmp_path / "JPEGImages/480p/cat/00002.jpg").unlink()
    write(tmp_path / "ImageSets/2017/train.txt", "bear\ncat\ndog\nempty\nfox\n")
    dataset = open_dataset(tmp_path, split="train")
    assert told(dataset) == [
        "JPEGImages/480p/bear/00001.jpg: has no mask Annotations/480p/bear/00001.png",
        "Annotations/480p/cat/00002.png: has no frame JPEGImages/480p/cat/00002.jpg",
        "JPEGImages/480p/fox: has no frames; expected *.jpg",
        "empty: no frame has an object",
    ]
    assert names(dataset.videos) == ["dog"]
    assert dataset.left_out == 4


def ytvos(root: Path, film: str, *values: int) -> None:
    for frame in range(0, 11):
        save(root / f"JPEGImages/{film}/{frame:05}.jpg", picture(frame))
        if frame % 5 == 0:
            save(root / f"Annotations/{film}/{frame:05}.png", mask(*values), palette=True)


def meta(**films: dict[int, str]) -> dict[str, object]:
    return {
        "videos": {
            film: {"objects": {str(key): {"category": name} for key, name in objects.items()}}
            for film, objects in films.items()
        }
    }


def test_ytvos_leaves_out_frames_without_truth(tmp_path: Path) -> None:
    ytvos(tmp_path / "train", "f1", 1, 2)
    ytvos(tmp_path / "valid", "f2", 1)
    write(tmp_path / "train/meta.json", meta(f1={1: "penguin", 2: "person"}))
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "ytvos"
    assert [(film.name, film.frames) for film in dataset.videos] == [("f1", 3)]
    first, last = dataset.videos[0].load([0, 2])
    assert np.array_equal(last.ids, mask(1, 2))
    assert last.labels == {1: "penguin", 2: "person"}
    # JPEG is lossy: near to the tenth frame's noise, far from the first one's.
    difference = [np.abs(item.image.astype(int) - picture(10)).mean() for item in (first, last)]
    assert difference[1] < difference[0] / 1.2
    assert names(open_dataset(tmp_path, split="valid").videos) == ["f2"]
    with pytest.raises(DatasetError, match="split: is 'test'; there are train, valid"):
        open_dataset(tmp_path, split="test")


def test_ytvos_faults(tmp_path: Path) -> None:
    for film, values in (("f1", (1, 3)), ("f2", (1,)), ("f3", (1,)), ("f4", ()), ("f6", (1,))):
        ytvos(tmp_path, film, *values)
    path = write(
        tmp_path / "meta.json",
        meta(f1={1: "cat"}, f2={1: "cat", 2: "dog"}, f4={}, f5={1: "cat"}, f6={1: "cat"}),
    )
    dataset = open_dataset(tmp_path)
    assert told(dataset) == [
        "meta.json film f5: there is no folder Annotations/f5",
        "meta.json film f1: objects 3 are not listed",
        "meta.json film f2: objects 2 are in no mask",
        "meta.json film f3: is not listed",
        "f4: no frame has an object",
    ]
    assert names(dataset.videos) == ["f6"]
    write(path, {"videos": {"f6": {"objects": {"x": {"category": "cat"}, "1": {}}}}})
    assert told(open_dataset(tmp_path))[:2] == [
        "meta.json film f6: has the object 'x'; accepted are 1 to 65534",
        "meta.json film f6: object 1 has the category None",
    ]
    write(path, "{}")
    (fault,) = [line for line in told(open_dataset(tmp_path)) if line.startswith("meta.json")]
    assert fault.startswith("meta.json: cannot be used (KeyError: 'videos'); expected ")
