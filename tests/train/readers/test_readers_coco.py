"""COCO files: outlines, crowds, overlaps, captions, and what can be wrong in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from tests.train.readers.makers import SIZE, cut, mask, names, picture, save, told, write
from train.readers import DatasetError, open_dataset, require_sound
from train.readers.coco_shapes import Shape, draw_outline, draw_shapes, read_outline

HEIGHT, WIDTH = SIZE


def square(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def annotation(number: int, **fields: object) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0}
    return plain | {"segmentation": [square(2, 2, 6, 8)], "bbox": [2, 2, 4, 6]} | fields


def content(*annotations: dict[str, Any], **parts: object) -> dict[str, Any]:
    image = {"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}
    kinds = [{"id": 1, "name": "cell"}, {"id": 5, "name": "dog"}]
    return {"images": [image], "annotations": [*annotations], "categories": kinds} | parts


def coco_set(root: Path, *annotations: dict[str, Any], **parts: object) -> Path:
    save(root / "images" / "a.jpg", picture())
    write(root / "annotations" / "instances_train.json", content(*annotations, **parts))
    return root


def test_polygons_runs_and_crowds_become_ids(tmp_path: Path) -> None:
    right = np.zeros(SIZE, np.uint8)
    right[1:5, 10:14] = 1
    packed: Any = coco.encode(np.asfortranarray(right))
    runs = [10 * HEIGHT + 1, 4, 8, 4, 8, 4, 8, 4, HEIGHT * WIDTH - 13 * HEIGHT - 5]
    crowd = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH - HEIGHT, HEIGHT]}
    root = coco_set(
        tmp_path,
        annotation(7),
        annotation(
            9,
            category_id=5,
            segmentation={"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()},
            bbox=None,
        ),
        annotation(11, segmentation=crowd, iscrowd=1),
    )
    dataset = open_dataset(root)
    require_sound(dataset)
    assert names(dataset.images) == ["a"]
    loaded = dataset.images[0].load()
    expected = np.zeros(SIZE, np.uint16)
    expected[2:8, 2:6] = 1
    expected[right > 0] = 2
    expected[:, -1] = 65535
    assert np.array_equal(loaded.ids, expected)
    assert loaded.labels == {1: "cell", 2: "dog"}
    assert loaded.boxes == {}
    assert dataset.counts.classes == {"cell": 1, "dog": 1}
    assert dataset.counts.ignored == 1
    unpacked = read_outline({"size": [HEIGHT, WIDTH], "counts": runs}, SIZE)
    drawn, _ = draw_outline(Shape(1, unpacked, None, False), SIZE)
    assert np.array_equal(drawn, right > 0)


def test_the_smaller_object_is_on_top_in_any_order(tmp_path: Path) -> None:
    big, small = [square(1, 1, 12, 10)], [square(3, 3, 6, 6)]
    for order in ((big, small), (small, big)):
        shapes = [
            Shape(number, read_outline(outline, SIZE), None, False)
            for number, outline in enumerate(order, start=1)
        ]
        ids = draw_shapes(shapes, SIZE)
        assert ids[4, 4] == order.index(small) + 1
        assert (ids == order.index(small) + 1).sum() == 9
    crowd = Shape(2, read_outline(small, SIZE), None, True)
    ids = draw_shapes([Shape(1, read_outline(big, SIZE), None, False), crowd], SIZE)
    assert set(ids.ravel().tolist()) == {0, 1}  # what is known is not made unknown


def test_a_covered_object_has_no_label(tmp_path: Path) -> None:
    root = coco_set(tmp_path, annotation(1), annotation(2))
    loaded = open_dataset(root).images[0].load()
    assert loaded.labels == {2: "cell"}


def test_objects_with_a_box_only(tmp_path: Path) -> None:
    boxed = annotation(1, bbox=[1, 2, 3.5, 4])
    del boxed["segmentation"]
    loaded = open_dataset(coco_set(tmp_path, boxed)).images[0].load()
    assert loaded.ids is None
    assert loaded.boxes == {1: (1, 2, 4.5, 6)}
    assert loaded.labels == {1: "cell"}
    # Beside masks, the pixels of a box are unknown and not background.
    mixed = open_dataset(coco_set(tmp_path, boxed, annotation(2))).images[0].load()
    assert mixed.ids is not None
    assert mixed.ids[3, 1] == 65535
    assert mixed.ids[7, 5] == 2
    assert mixed.boxes == {1: (1, 2, 4.5, 6)}


def test_captions_join_the_images_of_the_instances(tmp_path: Path) -> None:
    root = coco_set(tmp_path, annotation(1))
    texts = [" two  cells ", "两个细胞"]
    says = [{"id": at, "image_id": 1, "caption": text} for at, text in enumerate(texts)]
    write(root / "annotations/captions_train.json", content(*says, categories=[]))
    for opened in (root, root / "annotations/instances_train.json"):
        dataset = open_dataset(opened, "coco")
        require_sound(dataset)
        assert dataset.images[0].load().captions == ("two cells", "两个细胞")
        assert dataset.images[0].load().labels == {1: "cell"}
        assert dataset.counts.captions == 2
    says.append({"id": 3, "image_id": 1, "caption": " "})
    write(root / "annotations/captions_train.json", content(*says, categories=[]))
    assert told(open_dataset(root)) == [
        "annotations/captions_train.json annotation 3: the caption of a.jpg is empty"
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image_id": 4}, "is of image 4, which is not in the file"),
        ({"category_id": 3}, "has the category 3; known are 1, 5"),
        ({"segmentation": []}, "segmentation is empty; expected polygons or run lengths"),
        ({"segmentation": [[1, 1, 5, 5]]}, "polygon 1 has 2 corners; accepted are 3 or more"),
        ({"segmentation": [[1, 1, 5, 5, 9, 9]]}, "the polygon has no area"),
        ({"segmentation": [[1, 1, 5, 5, 9]]}, "polygon 1 has 5 numbers; expected x and y in turn"),
        ({"segmentation": [["a", 1, 5, 5, 9, 1]]}, "polygon 1 is not a list of numbers"),
        (
            {"segmentation": [[None, 1, 5, 5, 9, 1]]},
            "polygon 1 has coordinates that are no numbers",
        ),
        (
            {"segmentation": [square(17, 2, 20, 8)]},
            "polygon 1 lies outside the image of 16x12",
        ),
        (
            {"segmentation": [square(2, 2, 1e9, 8)]},
            "polygon 1 reaches far outside the image of 16x12",
        ),
        (
            {"bbox": [10, 2, 9, 3]},
            "box 10, 2, 19, 5 (x0, y0, x1, y1) reaches outside the image of 16x12",
        ),
        ({"bbox": [1, 2, 0, 3]}, "box 1, 2, 1, 5 (x0, y0, x1, y1) has no area"),
        ({"bbox": [1, 2]}, "bbox is [1, 2]; expected four numbers x, y, width, height"),
        (
            {"segmentation": {"size": [12, 16], "counts": [100]}},
            "the run lengths add up to 100; the image has 192 pixels",
        ),
        (
            {"segmentation": {"size": [16, 12], "counts": [192]}},
            "run lengths are of size [16, 12] (H, W), the image has [12, 16]",
        ),
        ({"segmentation": {"size": [12, 16], "counts": [192]}}, "the run lengths have no pixel"),
        (
            {"segmentation": {"size": [12, 16], "counts": "~~"}},
            "the counts of the mask are not COCO compressed run lengths",
        ),
        (
            {"segmentation": {"size": [12, 16], "counts": None}},
            "counts are neither a string nor a list of whole numbers",
        ),
    ],
)
def test_faults_of_an_annotation(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    save(tmp_path / "images" / "b.jpg", picture())
    images = [{"id": number, "file_name": f"{name}.jpg"} for number, name in ((1, "a"), (2, "b"))]
    root = coco_set(tmp_path, annotation(8, image_id=2), annotation(3, **fields), images=images)
    dataset = open_dataset(root)
    assert told(dataset) == [f"annotations/instances_train.json annotation 3: {said}"]
    assert names(dataset.images) == (["a", "b"] if "image_id" in fields else ["b"])


def test_faults_of_images_and_of_the_file(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "height": 16, "width": 12},
        {"id": 2, "file_name": "gone.jpg"},
        {"id": 2, "file_name": "c.jpg"},
        {"id": 3, "file_name": "a.jpg"},
        {"id": 4},
        {"id": 5, "file_name": "twice.jpg"},
    ]
    kinds = [{"id": 1, "name": "cell"}, {"id": 1, "name": "dog"}, {"id": 2, "name": ""}]
    save(tmp_path / "images/x/twice.jpg", picture())
    save(tmp_path / "images/y/twice.jpg", picture())
    root = coco_set(tmp_path, annotation(1), annotation(1), images=images, categories=kinds)
    dataset = open_dataset(root)
    file = "annotations/instances_train.json"
    assert told(dataset) == [
        f"{file} image 2: is the id of gone.jpg and c.jpg",
        f"{file} image 3: is a.jpg, as image 1",
        f"{file} image 4: has the file_name None",
        f"{file} category 1: is the id of 'cell' and 'dog'",
        f"{file} category 2: has the name ''",
        f"{file} annotation 1: is the id of two annotations",
        f"images/a.jpg: is 16x12, {file} says 12x16",
        f"{file} image 2: gone.jpg is no image in {tmp_path.name}/",
        f"{file} image 5: twice.jpg is there 2 times: images/x/twice.jpg and images/y/twice.jpg",
    ]
    assert dataset.images == ()
    assert dataset.left_out == 3


def test_files_that_are_no_coco(tmp_path: Path) -> None:
    file = tmp_path / "annotations/a.json"
    cut(write(file, content(annotation(1))))
    (fault,) = told(open_dataset(tmp_path))
    assert fault.startswith("annotations/a.json: is not JSON: ")
    write(file, [1, 2])
    assert told(open_dataset(tmp_path)) == [
        "annotations/a.json: is no COCO file; expected an object with images and annotations"
    ]
    write(file, {"images": []})
    assert told(open_dataset(tmp_path)) == [
        "annotations/a.json: is no COCO file; expected a list of objects as 'annotations'"
    ]


def test_too_many_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.readers.coco.MAX_OBJECTS", 2)
    root = coco_set(tmp_path, *(annotation(number) for number in range(1, 4)))
    assert told(open_dataset(root)) == [
        "annotations/instances_train.json image 1: has 3 objects; accepted are up to 2"
    ]


def test_splits_and_images_in_folders_as_livecell_has_them(tmp_path: Path) -> None:
    for split, name in (("train", "A172_1"), ("val", "BV2_1")):
        save(
            tmp_path / "images/livecell_train_val_images" / f"{name}.tif", mask(1).astype(np.uint8)
        )
        image = [{"id": 1, "file_name": f"{name}.tif", "height": HEIGHT, "width": WIDTH}]
        numbered = {"1": annotation(1)}
        del numbered["1"]["id"]
        made = content(images=image, annotations=numbered)
        write(tmp_path / "annotations" / f"livecell_coco_{split}.json", made)
    assert names(open_dataset(tmp_path).images) == ["A172_1", "BV2_1"]
    assert names(open_dataset(tmp_path, split="val").images) == ["BV2_1"]
    with pytest.raises(DatasetError, match=r"split: 'test' is in no name of annotations/livecell"):
        open_dataset(tmp_path, split="test")
    write(tmp_path / "annotations/extra.json", content(images=image, annotations=numbered))
    assert told(open_dataset(tmp_path)) == [
        "annotations/livecell_coco_val.json image BV2_1.tif: is also in annotations/extra.json"
    ]


corner = st.tuples(st.floats(-15.75, 31.75, width=32), st.floats(-11.75, 23.75, width=32))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(corner, min_size=3, max_size=7), min_size=1, max_size=3))
def test_outlines_are_drawn_as_in_the_whole_frame(
    polygons: list[list[tuple[float, float]]],
) -> None:
    raw = [[value for point in polygon for value in point] for polygon in polygons]
    try:
        outline = read_outline(raw, SIZE)
    except ValueError:
        return
    drawn, (y0, x0) = draw_outline(Shape(1, outline, None, False), SIZE)
    whole = np.zeros(SIZE, bool)
    whole[y0 : y0 + drawn.shape[0], x0 : x0 + drawn.shape[1]] = drawn
    truth = coco.decode(coco.merge(coco.frPyObjects(raw, HEIGHT, WIDTH))).astype(bool)
    assert np.array_equal(whole, truth)


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH), st.booleans())
def test_run_lengths_round_trip(noise: bytes, packed: bool) -> None:
    pixels = (np.frombuffer(noise, np.uint8).reshape(SIZE) > 128).astype(np.uint8)
    if not pixels.any():
        return
    flat = pixels.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat, [1 - flat[-1]]))))
    runs = np.diff(np.concatenate(([0], edges))).tolist()
    encoded: Any = coco.encode(np.asfortranarray(pixels))
    counts = encoded["counts"].decode() if packed else runs
    outline = read_outline({"size": list(SIZE), "counts": counts}, SIZE)
    drawn, _ = draw_outline(Shape(1, outline, None, False), SIZE)
    assert np.array_equal(drawn, pixels > 0)
