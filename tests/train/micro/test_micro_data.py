"""Readers, motion, prompts and films on data made here."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.micro.microscenes import discs
from train.micro.clip_data import IGNORE, patch_targets, shapes_scene, smear_scene
from train.micro.data import (
    BoxedImage,
    DataError,
    Still,
    check,
    is_held_out,
    read_bccd,
    read_dsb2018,
    read_laptrack,
)
from train.micro.losses import mask_loss
from train.micro.motion import clip_from_still
from train.micro.sampling import masks_of, sample_prompts
from train.micro.words import ERYTHROCYTE, NUCLEUS, queries_for, shape_concept


def write_pair(folder: Path, stem: str, still: Still) -> None:
    for part, array in (("images", still.image), ("masks", still.ids)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / part / f"{stem}.png")


def test_dsb_reader_and_its_complaints(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.csv: missing"):
        read_dsb2018(tmp_path)
    (tmp_path / "index.csv").write_text("id,kind\na,gray_dark\n")
    with pytest.raises(DataError, match="no images"):
        read_dsb2018(tmp_path)
    write_pair(tmp_path, "a", discs())
    stills = read_dsb2018(tmp_path)
    assert stills[0].kind == "gray_dark"
    assert stills[0].ids.dtype == np.uint16
    assert np.array_equal(stills[0].ids, discs().ids)
    write_pair(tmp_path, "b", discs())
    with pytest.raises(DataError, match="no row for image dsb2018/b"):
        read_dsb2018(tmp_path)
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(DataError, match="has no mask named b"):
        read_dsb2018(tmp_path)
    Image.fromarray(discs().image).save(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match="one channel of instance ids"):
        read_dsb2018(tmp_path)


def test_laptrack_reader_stretches_16_bit(tmp_path: Path) -> None:
    still = discs()
    part = tmp_path / "epi"
    write_pair(part, "0000", still)
    deep = still.image[..., 0].astype(np.uint16) * 20 + 100
    Image.fromarray(deep).save(part / "images" / "0000.png")
    read = read_laptrack(tmp_path)[0]
    assert read.image.dtype == np.uint8
    assert read.image.max() == 255
    assert read.image.shape == (96, 96, 3)
    with pytest.raises(DataError, match="no sub-folder"):
        read_laptrack(part)


def test_bccd_reader_drops_degenerate_boxes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "images" / "x.jpg")
    rows = [["x.jpg", "RBC", 5, 5, 30, 30], ["x.jpg", "WBC", 9, 9, 9, 9]]
    with (tmp_path / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["filename", "class", "xmin", "ymin", "xmax", "ymax"], *rows])
    (smear,) = read_bccd(tmp_path)
    assert smear.classes == ("RBC",)
    assert smear.boxes.shape == (1, 4)
    (tmp_path / "images" / "x.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a readable image"):
        read_bccd(tmp_path)


def test_faults_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "dsb2018_nuclei").mkdir()
    (tmp_path / "dsb2018_nuclei" / "index.csv").write_text("name,kind\na,gray_dark\n")
    smears = tmp_path / "bccd_blood"
    smears.mkdir()
    (smears / "boxes.csv").write_text("filename,class,xmin,ymin,xmax\n")
    with pytest.raises(DataError) as raised:
        check(tmp_path)
    assert "index.csv: has no column id; needed are id, kind; " in str(raised.value)
    assert "boxes.csv: has no column ymax; needed are filename, class" in str(raised.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,RBC,1,2,x,4", "line 2: could not convert string to float: 'x'; a box is four"),
        ("a.png,RBC,1,2", "line 2: is cut short"),
    ],
)
def test_a_bad_line_of_boxes_is_named(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "boxes.csv").write_text(f"filename,class,xmin,ymin,xmax,ymax\n{row}\n")
    with pytest.raises(DataError, match=re.escape(said)):
        read_bccd(tmp_path)


def test_split_depends_on_the_name_only() -> None:
    names = [f"image{i}" for i in range(400)]
    held = [n for n in names if is_held_out(n)]
    assert 60 <= len(held) <= 100
    assert held == [n for n in reversed(names) if is_held_out(n)][::-1]


def test_clip_keeps_ids_on_their_objects() -> None:
    rng = np.random.default_rng(3)
    clip = clip_from_still(discs(), 3, 128, rng, discs(seed=1), (20.0, 40.0))
    assert clip.images.shape == (3, 3, 128, 128)
    assert clip.ids.shape == (3, 128, 128)
    assert clip.images.min() >= 0.0
    assert clip.images.max() <= 1.0
    assert (clip.ids > 0).any()
    again = clip_from_still(discs(), 3, 128, np.random.default_rng(3), discs(seed=1), (20.0, 40.0))
    assert torch.equal(clip.images, again.images)


def test_prompts_lie_on_what_they_name() -> None:
    ids = np.stack([discs().ids, np.zeros_like(discs().ids)]).astype(np.int32)
    for kind, points in (("click", 1), ("box", 2), ("click+box", 3)):
        prompts = sample_prompts(ids, 12, kind, np.random.default_rng(0), background=0.3)
        assert prompts is not None
        assert prompts.points.shape[1] == points
        masks, visible = masks_of(torch.from_numpy(ids), prompts.frame, prompts.object_id)
        assert torch.equal(visible, prompts.object_id > 0)
        assert (prompts.object_id[prompts.frame == 1] == 0).all()
        if prompts.click is not None:
            for mask, (x, y), there in zip(masks, prompts.click, visible, strict=True):
                assert bool(mask[int(y), int(x)] > 0) == bool(there)


def test_mask_loss_falls_towards_the_truth() -> None:
    target = torch.zeros(1, 32, 32)
    target[0, 10:20, 10:20] = 1
    good = (target * 2 - 1)[:, None] * 6
    both = mask_loss(torch.cat([good, -good], dim=1), target, 10.0)
    assert both.iou[0, 0] == 1
    assert both.iou[0, 1] == 0
    assert both.bce[0, 0] < 0.01 < both.bce[0, 1]
    assert both.dice[0, 0] < 0.1 < both.dice[0, 1]


def test_scene_targets() -> None:
    scene = shapes_scene(np.random.default_rng(1))
    targets = patch_targets(scene.regions)
    assert targets.shape == (32, 32)
    assert set(targets.unique().tolist()) <= {IGNORE, *range(len(scene.concepts))}
    assert (targets == 0).any()
    assert (targets > 0).any()
    smear = BoxedImage(
        "s",
        np.zeros((480, 640, 3), np.uint8),
        np.array([[200, 100, 360, 260]], np.float32),
        ("RBC",),
    )
    found = smear_scene(smear, np.random.default_rng(0), plain=True)
    inner = patch_targets(found.regions)
    assert inner[12, 14] == 1
    assert found.concepts[1] is ERYTHROCYTE
    assert inner[25, 25] == 0
    assert inner[0, 0] == IGNORE


def test_concepts_answer_words() -> None:
    red = shape_concept("red", "circle", "small")
    assert red.answer("紅色圓形") == 1
    assert red.answer("a red circle") == 1
    assert red.answer("a blue circle") == 0
    assert red.answer("dog") == 0
    assert shape_concept("red", "circle", None).answer("a small red circle") == -1
    assert NUCLEUS.answer("細胞") == 1
    assert NUCLEUS.answer("platelet") == 0
    assert ERYTHROCYTE.answer("cell") == 1
    assert ERYTHROCYTE.answer("white blood cell") == 0
    texts = queries_for([red, NUCLEUS], np.random.default_rng(0))
    assert len(texts) > 30
    assert "cat" not in texts
