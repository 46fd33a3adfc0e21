"""Images with masks: layouts, tables, and one fault after the other."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.readers.makers import SIZE, cut, mask, names, picture, save, told, write
from train.readers import DatasetError, SampleError, open_dataset, require_sound, require_usable

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def pair(root: Path, stem: str, *ids: int) -> None:
    save(root / "images" / f"{stem}.png", picture())
    save(root / "masks" / f"{stem}.png", mask(*ids))


def test_pairs_load_as_they_were_written_and_in_natural_order(tmp_path: Path) -> None:
    pair(tmp_path, "t10", 3)
    pair(tmp_path, "t2", 1, 7, 65535)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.format == "instances"
    assert names(dataset.images) == ["t2", "t10"]
    loaded = dataset.images[0].load()
    assert np.array_equal(loaded.image, picture())
    assert loaded.ids is not None
    assert loaded.ids.dtype == np.uint16
    assert np.array_equal(loaded.ids, mask(1, 7, 65535))
    assert dataset.counts.objects == 3  # 65535 is ignored, not an object
    assert dataset.counts.sizes == {(16, 12): 2}


@pytest.mark.parametrize("kind", ["u8", "u16", "palette", "tiff", "bool", "i32"])
def test_masks_of_every_kind_give_the_same_ids(tmp_path: Path, kind: str) -> None:
    save(tmp_path / "images" / "a.png", picture())
    suffix = "tif" if kind in ("tiff", "i32") else "png"
    path = tmp_path / "masks" / f"a.{suffix}"
    ids = mask(1)
    if kind == "bool":
        save(path, ids.astype(bool))
    else:
        kinds = {"u8": np.uint8, "i32": np.int32}
        save(path, ids.astype(kinds.get(kind, np.uint16)), palette=kind == "palette")
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert np.array_equal(dataset.images[0].load().ids, ids)


def test_folders_below_and_sets_of_folders(tmp_path: Path) -> None:
    for name in ("one/images/x/1", "one/masks/x/1", "two/images/1", "two/masks/1"):
        save(tmp_path / f"{name}.png", mask(1) if "masks" in name else picture())
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert names(dataset.images) == ["one/x/1", "two/1"]


def test_films_keep_ids_labels_and_only_the_wanted_frames(tmp_path: Path) -> None:
    for film in ("a", "b"):
        for frame in range(3):
            pair(tmp_path, f"{film}/{frame}", 1, 2 + frame)
    write(tmp_path / "labels.csv", "stem,id,label\na,1,dog\nb/2.png,4,cat\n")
    dataset = open_dataset(tmp_path, videos=True)
    require_sound(dataset)
    assert dataset.images == ()
    assert [(film.name, film.frames) for film in dataset.videos] == [("a", 3), ("b", 3)]
    frames = dataset.videos[0].load([2, 0])
    assert [sorted(np.unique(frame.ids)) for frame in frames] == [[0, 1, 4], [0, 1, 2]]
    assert [frame.labels for frame in frames] == [{1: "dog"}, {1: "dog"}]
    assert dataset.videos[1].load([2])[0].labels == {4: "cat"}
    assert dataset.counts.objects == 8
    assert open_dataset(tmp_path, videos=True, frames=2).videos[0].frames == 2


def test_a_film_with_a_hole_is_left_out_whole(tmp_path: Path) -> None:
    for film in ("a", "b"):
        pair(tmp_path, f"{film}/0", 1)
        pair(tmp_path, f"{film}/1", 1)
    (tmp_path / "masks/a/1.png").unlink()
    dataset = open_dataset(tmp_path, videos=True)
    assert told(dataset) == ["images/a/1.png: has no mask masks/a/1.png or .tif"]
    assert names(dataset.videos) == ["b"]
    assert dataset.left_out == 1
    save(tmp_path / "masks/a/1.png", mask(1, size=(6, 8)))
    save(tmp_path / "images/a/1.png", picture(size=(6, 8)))
    assert told(open_dataset(tmp_path, videos=True)) == [
        "images/a/1.png: is 8x6, the film's first frame 16x12; frames of a film have one size"
    ]


def test_16_bit_is_stretched_and_a_film_alike_in_all_frames(tmp_path: Path) -> None:
    ramp = np.linspace(100, 700, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
    for frame, gain in enumerate((0.5, 1.0, 1.0, 1.0)):
        save(tmp_path / f"images/{frame}.tif", (ramp * gain).astype(np.uint16))
        save(tmp_path / f"masks/{frame}.tif", mask(1))
    still = open_dataset(tmp_path).images[0].load().image
    assert still.min() == 0
    assert still.max() == 255
    dark, bright = open_dataset(tmp_path, videos=True).videos[0].load([0, 3])
    assert dark.image.max() < 160 < bright.image.max()
    assert np.array_equal(bright.image[..., 0], bright.image[..., 2])


def test_pictures_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    lying = Image.fromarray(picture())
    exif = lying.getexif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    lying.save(tmp_path / "images/a.jpg", exif=exif)
    save(tmp_path / "masks/a.png", mask(1, size=(16, 12)))
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.images[0].load().image.shape == (16, 12, 3)


def test_every_fault_is_found_in_one_pass(tmp_path: Path) -> None:
    for stem in ("good", "cut", "cutmask", "rgb", "size", "neg", "many", "jpg", "float", "text"):
        pair(tmp_path, stem, 1)
    images, masks = tmp_path / "images", tmp_path / "masks"
    cut(images / "cut.png")
    cut(masks / "cutmask.png")
    save(masks / "rgb.png", picture())
    save(masks / "size.png", mask(1, size=(12, 15)))
    (masks / "neg.png").unlink()
    save(masks / "neg.tif", mask(-1, dtype=np.int32))
    (masks / "many.png").unlink()
    save(masks / "many.tif", mask(70000, dtype=np.int32))
    (masks / "jpg.png").unlink()
    save(masks / "jpg.jpg", mask(1, dtype=np.uint8))
    (images / "float.png").unlink()
    save(images / "float.tif", picture()[..., 0].astype(np.float32))
    write(masks / "text.png", "no picture")
    save(images / "lonely.png", picture())
    save(masks / "orphan.png", mask(1))
    save(images / "good.jpg", picture())
    dataset = open_dataset(tmp_path)
    found = dict(line.split(": ", 1) for line in told(dataset))
    assert found.pop("images/cut.png").startswith("cannot be read: ")
    assert found.pop("masks/cutmask.png").startswith("cannot be read: ")
    assert found == {
        "images/good.png": "has the same name as good.jpg; keep one of them",
        "images/lonely.png": "has no mask masks/lonely.png or .tif",
        "masks/orphan.png": "has no image images/orphan.*",
        "masks/rgb.png": "pixels are RGB, not ids; accepted are gray of 8 or 16 bit and palette",
        "masks/size.png": "is 15x12, its image size.png 16x12",
        "masks/neg.tif": "ids span -1 to 0; accepted are 0 (background) to 65535",
        "masks/many.tif": "ids span 0 to 70000; accepted are 0 (background) to 65535",
        "masks/jpg.jpg": "is a JPEG, which smears ids; accepted are PNG and TIFF",
        "images/float.tif": "pixels are fractions (mode F); accepted are gray of 8 or 16 bit, "
        "RGB and palette",
        "masks/text.png": "is not a picture",
    }
    assert names(dataset.images) == ["good"]
    assert dataset.left_out == 10
    with pytest.raises(DatasetError) as caught:
        require_sound(dataset)
    assert caught.value.faults == dataset.faults
    assert "\n" not in str(caught.value)


def test_a_jpeg_that_was_cut_short_is_found(tmp_path: Path) -> None:
    save(tmp_path / "images/a.jpg", picture(size=(200, 300)))
    save(tmp_path / "masks/a.png", mask(1, size=(200, 300)))
    assert told(open_dataset(tmp_path)) == []
    cut(tmp_path / "images/a.jpg")
    (fault,) = told(open_dataset(tmp_path))
    assert fault.startswith("images/a.jpg: cannot be read: image file is truncated")


def test_an_image_may_be_empty_a_set_may_not(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    assert told(open_dataset(tmp_path)) == [
        f"{tmp_path.name}: no object in any mask; nothing can be learned from it"
    ]
    for skip_faulty in (False, True):
        with pytest.raises(DatasetError, match=r"no object in any mask; [a-z ]+ from it$"):
            require_usable(open_dataset(tmp_path), skip_faulty)
    pair(tmp_path, "b", 1)
    assert told(open_dataset(tmp_path)) == []
    assert len(open_dataset(tmp_path).images) == 2


def test_a_stack_of_pages_is_a_fault(tmp_path: Path) -> None:
    pair(tmp_path, "a", 1)
    (tmp_path / "masks/a.png").unlink()
    pages = [Image.fromarray(mask(1)) for _ in range(3)]
    pages[0].save(tmp_path / "masks/a.tif", save_all=True, append_images=pages[1:])
    assert told(open_dataset(tmp_path)) == [
        "masks/a.tif: holds 3 pages; save each as a file of its own"
    ]


def test_label_tables(tmp_path: Path) -> None:
    pair(tmp_path, "a", 1, 2)
    pair(tmp_path, "b", 5)
    table = write(tmp_path / "labels.csv", "\ufeffstem,id,label\na,1,红细胞\na,2,platelet\n")
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.images[0].load().labels == {1: "红细胞", 2: "platelet"}
    assert dataset.images[1].load().labels == {}
    assert dataset.counts.classes == {"红细胞": 1, "platelet": 1}
    write(table, "stem,id,label\na,1,x\na,1,y\na,9,x\na,0,x\na,two,x\na,2,\nc,1,x\na,1\n")
    assert sorted(told(open_dataset(tmp_path))) == [
        "labels.csv line 3: names object 1 of 'a' again, first in line 2",
        "labels.csv line 4: id 9 is not in the mask of a",
        "labels.csv line 5: id is '0'; accepted are 1 to 65534",
        "labels.csv line 6: id is 'two'; accepted are 1 to 65534",
        "labels.csv line 7: the label is empty",
        "labels.csv line 8: there is no image 'c' with a mask",
        "labels.csv line 9: has 2 values for 3 columns",
    ]
    write(table, "stem,label\na,x\n")
    assert told(open_dataset(tmp_path)) == [
        "labels.csv line 1: has no column id; it has stem, label; expected stem, id, label"
    ]
    write(table, b"stem,id,label\na,1,caf\xe9\n")
    assert told(open_dataset(tmp_path)) == [
        "labels.csv line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"
    ]


def test_a_film_calls_an_object_by_one_name(tmp_path: Path) -> None:
    pair(tmp_path, "f/0", 1)
    pair(tmp_path, "f/1", 1)
    write(tmp_path / "labels.csv", "stem,id,label\nf/0,1,dog\nf/1,1,cat\n")
    assert told(open_dataset(tmp_path, videos=True)) == [
        "labels.csv line 3: calls object 1 of one film 'cat' and 'dog'"
    ]
    write(tmp_path / "labels.csv", "stem,id,label\nf,1,dog\nf,2,cat\n")
    assert told(open_dataset(tmp_path, videos=True)) == [
        "labels.csv line 3: id 2 is in no mask of f"
    ]
    assert told(open_dataset(tmp_path, videos=True, frames=1)) == []


def test_index_tables(tmp_path: Path) -> None:
    pair(tmp_path, "a", 1, 2)
    pair(tmp_path, "b", 5)
    pair(tmp_path, "c", 5)
    rows = "id,h,w,n_objects,label\na,12,16,2,cell\nb,12,16,1,\nc,12,16,1,\n"
    write(tmp_path / "index.csv", rows)
    dataset = open_dataset(tmp_path)
    require_sound(dataset)
    assert dataset.images[0].load().labels == {1: "cell", 2: "cell"}
    write(tmp_path / "index.csv", "id,h,w,n_objects\na,12,17,2\nb,12,16,3\nb,1,1,1\nd,1,1,1\n")
    assert sorted(told(open_dataset(tmp_path))) == [
        "index.csv line 2: a is 16x12, the table says 17x12",
        "index.csv line 3: the mask of b has 1 objects, the table says 3",
        "index.csv line 4: lists 'b' again, first in line 3",
        "index.csv line 5: there is no image 'd' with a mask",
        "index.csv: has no row for image c",
    ]


def test_a_file_that_goes_bad_later_is_one_clear_error(tmp_path: Path) -> None:
    pair(tmp_path, "a", 1)
    sample = open_dataset(tmp_path).images[0]
    save(tmp_path / "masks/a.png", mask(1, size=(3, 4)))
    with pytest.raises(SampleError, match=r"a\.png: is 4x3, its image 16x12"):
        sample.load()
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(SampleError, match=r"a\.png: is missing") as caught:
        sample.load()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_samples_go_to_worker_processes(tmp_path: Path) -> None:
    pair(tmp_path, "a", 1)
    for dataset in (open_dataset(tmp_path), open_dataset(tmp_path, videos=True)):
        again = pickle.loads(pickle.dumps(dataset))
        assert names(again.images + again.videos) == names(dataset.images + dataset.videos)


def test_progress_counts_every_file_once(tmp_path: Path) -> None:
    for stem in "abc":
        pair(tmp_path, stem, 1)
    calls: list[tuple[int, int]] = []
    open_dataset(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("folder", "frames", "expected"),
    [
        ("dsb2018_nuclei", None, (557, 0, 23843)),
        ("davis_dev", 4, (0, 5, 5)),
        ("ctc_fluo_n2dh_sim_01", 20, (0, 1, 48)),
        ("laptrack_crops", None, (16, 0, 376)),
    ],
)
def test_real_folders(folder: str, frames: int | None, expected: tuple[int, int, int]) -> None:
    root = SHARED / folder
    if not root.is_dir():
        pytest.skip("the real data sets are not beside the checkout")
    dataset = open_dataset(root, videos=frames is not None, frames=frames)
    assert told(dataset) == []
    found = (len(dataset.images), len(dataset.videos), dataset.counts.objects)
    assert found == expected
