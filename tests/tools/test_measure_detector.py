"""The detector's measures: pairs, curves, folds; and both tools that use them, on drawn cells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engines.calibration import read_calibration
from engines.checkpoint import sha256
from engines.registry import load_clip
from stream.synth import CellFilm, CellFilmSpec
from tests.support.tools import load

measuring = load("measuring")
scores = load("detector_scores")
images = load("detector_images")
plots = load("detector_plots")
models = load("detector_models")
tables = load("detector_tables")
measure = load("measure_detector")
platt = load("fit_platt")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The tools set the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def seen(
    found: list[tuple[float, float]], truths: int = 4, name: str = "a", kind: str = "k"
) -> Any:
    """An image with (score, IoU of the pair) of each detection."""
    order = sorted(found, reverse=True)
    iou = np.array([pair for _, pair in order])
    of = np.where(iou > 0, np.cumsum(iou > 0) - 1, -1)
    sizes = np.arange(1, truths + 1) * 5.0
    raw = np.array([score for score, _ in order])
    return scores.Seen(name, kind, raw, iou, of, sizes, prompts=7, seconds=0.1)


def box(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((20, 40), np.bool_)
    mask[5:15, x0:x1] = True
    return mask


def truth() -> np.ndarray:
    ids = np.zeros((20, 40), np.uint16)
    ids[5:15, 2:12] = 3
    ids[5:15, 20:30] = 9
    return ids


# -- pairs -------------------------------------------------------------------------------------


def test_each_true_object_is_paired_once_with_the_best_that_covers_it() -> None:
    masks = [box(3, 12), box(2, 12), box(20, 30), box(32, 38)]
    raw, iou, of = scores.pair([0.5, 0.9, 0.6, 0.7], masks, truth())
    assert raw.tolist() == [0.9, 0.7, 0.6, 0.5]
    assert iou.tolist() == [1.0, 0.0, 1.0, 0.0]  # the last one is a second mask of object 3
    assert of.tolist() == [0, -1, 1, -1]


def test_less_than_half_an_overlap_is_no_pair() -> None:
    # 10 columns each, 4 shared: IoU 4/16; with 7 shared 7/13
    _, iou, _ = scores.pair([0.9, 0.8], [box(8, 18), box(23, 33)], truth())
    assert iou.tolist() == [0.0, pytest.approx(7 / 13)]


def test_masks_are_brought_to_the_size_of_the_image() -> None:
    small = truth()[::2, ::2] == 9
    _, iou, _ = scores.pair([0.9], [small], truth())
    assert iou[0] > 0.7


def test_nothing_found_and_nothing_there() -> None:
    raw, iou, of = scores.pair([], [], truth())
    assert (len(raw), len(iou), len(of)) == (0, 0, 0)
    _, iou, _ = scores.pair([0.9], [box(2, 12)], np.zeros((20, 40), np.uint16))
    assert iou.tolist() == [0.0]
    empty = [seen([], truths=0)]
    assert scores.average_precision(empty) == 0.0
    assert scores.counted(empty, [0.0]).f1 == 0.0
    assert scores.best_threshold(empty) == 0.0


def test_sizes_are_in_pixels_of_the_square_input() -> None:
    sizes = scores.true_sizes_px(truth(), 80)
    # 100 of 800 pixels are 800 of 6,400
    assert sizes.tolist() == [pytest.approx(800**0.5)] * 2


# -- figures -----------------------------------------------------------------------------------


def test_counts_by_hand() -> None:
    image = seen([(0.9, 0.8), (0.8, 0.0), (0.7, 0.6), (0.2, 0.9)])
    at = scores.counted([image], [0.5])
    assert (at.precision, at.recall) == (pytest.approx(2 / 3), 0.5)
    assert at.f1 == pytest.approx(4 / 7)
    assert at.mean_iou == pytest.approx(0.7)
    assert at.count_error == -1.0
    two = scores.counted([image, seen([(0.9, 0.0)] * 7)], [0.5, 0.5])
    assert (two.count_error, two.count_error_abs) == (1.0, 2.0)


def test_average_precision_by_hand() -> None:
    # right, wrong, right of four: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2
    image = seen([(0.9, 0.8), (0.8, 0.0), (0.7, 0.6)])
    assert scores.average_precision([image]) == pytest.approx(0.25 + 0.25 * 2 / 3)
    best = seen([(0.9, 0.8), (0.8, 0.9), (0.7, 0.6), (0.6, 0.7)])
    assert scores.average_precision([best]) == 1.0


def test_equal_scores_count_together_whatever_their_order() -> None:
    a = scores.average_precision([seen([(0.5, 0.9), (0.5, 0.0)])])
    b = scores.average_precision([seen([(0.5, 0.0)]), seen([(0.5, 0.9)], truths=0)])
    assert a == b == pytest.approx(0.25 * 0.5)


def test_the_best_threshold_has_the_best_f1() -> None:
    image = seen([(0.9, 0.8), (0.8, 0.8), (0.7, 0.8), (0.3, 0.0), (0.2, 0.0), (0.1, 0.8)])
    assert scores.best_threshold([image]) == 0.7


def test_folds_part_kinds_evenly_and_keep_an_image_whole() -> None:
    images = [seen([], name=f"{i}", kind="ab"[i % 2]) for i in range(8)]
    cut = [seen([], name=f"{i}:0:1", kind="ab"[i % 2]) for i in range(8)]
    folds = scores.folds([*images, *cut])
    assert folds[:8] == folds[8:]
    for kind in range(2):
        assert sum(folds[kind:8:2]) == 2


def test_thresholds_and_curves_come_from_the_other_fold() -> None:
    """In one fold scores are right from 0.8 on, in the other from 0.4 on."""
    high = seen([(0.8, 0.9), (0.6, 0.0), (0.5, 0.0), (0.4, 0.0)], truths=1, name="1")
    low = seen([(0.6, 0.9), (0.5, 0.9), (0.4, 0.9), (0.3, 0.0)], truths=3, name="2")
    assert scores.folds([high, low]) == [0, 1]
    assert scores.fold_thresholds([high, low]) == [0.4, 0.8]
    own = [scores.platt(i.scores, scores.fit(*map(torch.from_numpy, (i.scores, i.iou > 0))))
           for i in (high, low)]  # fmt: skip
    crossed, right = scores.fold_platt([high, low])
    assert right.tolist() == [True, False, False, False, True, True, True, False]
    assert not np.allclose(crossed, np.concatenate(own), atol=0.1)


@pytest.mark.parametrize("score", [0.1, 0.4, 0.9])
def test_a_raw_threshold_is_the_calibrated_one_undone(score: float) -> None:
    fitted = (1.7, -0.8)
    raw = scores.raw_threshold(score, fitted)
    assert scores.platt(np.array([raw]), fitted)[0] == pytest.approx(score, abs=1e-6)


def test_recall_by_size_counts_true_objects() -> None:
    # sizes 5, 10, 15, 20: the first two are found, the second with too low a score
    rows = tables.size_rows([seen([(0.9, 0.8), (0.3, 0.8)])], 0.5)
    assert [(row["objects"], row["recall"]) for row in rows[:3]] == [(1, 1.0), (1, 0.0), (1, 0.0)]


def test_an_absent_text_finds_only_what_is_wrong() -> None:
    group = {"cell": [seen([(0.9, 0.8)])], "dog": [seen([(0.9, 0.0), (0.1, 0.0)])]}
    there, absent = tables.text_rows(group, ["dog"], (1.0, 0.0))
    assert (there["found"], there["recall"]) == (1.0, 0.25)
    assert (absent["found"], absent["ap"]) == (1.0, None)


# -- the tools on drawn cells --------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight drawn images with masks."""
    root = tmp_path_factory.mktemp("cells")
    for part in ("images", "masks"):
        (root / part).mkdir()
    for seed in range(8):
        drawn = CellFilm(CellFilmSpec(objects=10, width=192, height=160, seed=seed)).frame()
        Image.fromarray(drawn.image).save(root / "images" / f"{seed}.png")
        Image.fromarray(drawn.ids).save(root / "masks" / f"{seed}.png")
    return root


def test_measure_detector_writes_its_figures_and_pictures(cells: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "d.json", tmp_path / "d.md"
    words = ["--data", str(cells), "--all-images", "--images", "4", "--text", "cell"]
    words += ["--settings", "no-sweep", "sweep-8", "--also", "--absent", "dog"]
    words += ["--json", str(out), "--markdown", str(page), "--pictures", str(tmp_path)]
    assert measure.main(words) == 0
    figures = json.loads(out.read_text())
    live, none, eight = figures["settings"]
    assert live["live"]["f1"] > 0.5  # the model knows these cells
    assert none["prompts"] < eight["prompts"]
    assert live["prompts"] < eight["prompts"], "the finder knows where to look"
    assert none["seconds"] > 0
    assert figures["kinds"][-1]["images"] == len(figures["images"]) == 4
    assert figures["trust"]["live"]["raw"]["detections"] == sum(
        part["count"] for part in figures["trust"]["live"]["raw"]["bins"] if part
    )
    assert figures["texts"][0]["found"] < 1.0
    assert "| no-sweep |" in page.read_text()
    for name in ("detector-precision-recall.png", "detector-reliability.png"):
        with Image.open(tmp_path / name) as picture:
            assert len(set(picture.convert("L").tobytes())) > 5


def test_the_sample_is_the_same_for_a_seed(cells: Path) -> None:
    every = images.read_stills(cells, all_images=True)

    def names(seed: int) -> list[str]:
        return [still.name for still in images.sample(every, 4, seed)]

    assert names(1) == names(1)
    assert len({tuple(names(seed)) for seed in range(5)}) > 1
    assert images.sample(every, None, 0) == images.sample(every, 99, 0) == every


def test_images_that_were_trained_on_are_left_out(
    cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "is_held_out", lambda name: name.endswith(("/2", "/5")))
    held = [still.name for still in images.read_stills(cells)]
    assert [name.split("/")[1] for name in held] == ["2", "5"]
    monkeypatch.setattr(images, "is_held_out", lambda name: False)
    with pytest.raises(images.UsageError, match="no image of it is held out"):
        images.read_stills(cells)


def test_parts_are_the_image_again() -> None:
    (still,) = images.drawn_stills(1)
    assert list(images.parts(still, 1)) == [still]
    cut = list(images.parts(still, 3))
    assert len({part.name for part in cut}) == 9
    rows = [np.concatenate([part.ids for part in cut[i : i + 3]], axis=1) for i in (0, 3, 6)]
    assert np.array_equal(np.concatenate(rows), still.ids)
    assert all(part.image.shape[:2] == part.ids.shape for part in cut)


def test_a_fit_is_written_beside_the_weights_and_taken(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platt, "LEAST", 3)
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(Path(load_clip("micro").origin).read_bytes())
    assert sha256(mine) == sha256(Path(load_clip("micro").origin))
    words = ["--data", str(cells), "--text", "cell", "--clip-weights", str(mine)]
    words += ["--absent", "dog"]
    out = tmp_path / "f.json"
    assert platt.main([*words, "--threads", "1", "--json", str(out)]) == 0
    path = tmp_path / "maskcast_calibration.json"
    fitted = read_calibration(path)
    assert (fitted.sam2, fitted.clip) == ("micro", "micro")
    assert fitted.right >= 3
    assert json.loads(out.read_text())["file"] == str(path)
    assert platt.calibration_path("micro", load_clip("micro", str(mine)).origin) == path


def made(count: int, slope: float, offset: float) -> list[Any]:
    """Images whose scores are right by a known curve."""
    rng = np.random.default_rng(3)
    images = []
    for number in range(count):
        raw = rng.uniform(0.02, 0.98, 100)
        chance = 1 / (1 + np.exp(-(slope * np.log(raw / (1 - raw)) + offset)))
        right = rng.uniform(size=100) < chance
        images.append(seen(list(zip(raw, right * 0.8, strict=True)), 100, name=f"{number:03}"))
    return images


def test_a_known_curve_is_found_again() -> None:
    found = platt.fit_seen(made(40, 2.0, -1.0), "micro", "micro")
    assert found.slope == pytest.approx(2.0, abs=0.2)
    assert found.offset == pytest.approx(-1.0, abs=0.15)
    assert found.ece_after < 0.03 < 0.1 < found.ece_before


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([seen([(0.9, 0.8)] * 60 + [(0.5, 0.0)] * 49)], "60 detections are right and 49 wrong"),
        ([seen([(0.5, 0.8)] * 60 + [(0.4, 0.0)] * 60)], "half of the images cannot be fitted"),
        (made(20, -2.0, 0.0), "scores do not rise with being right"),
    ],
)
def test_what_cannot_be_fitted_is_refused(images: list[Any], said: str) -> None:
    with pytest.raises(platt.UsageError, match=said):
        platt.fit_seen(images, "micro", "micro")


@pytest.mark.parametrize(
    ("tool", "words", "said"),
    [
        ("measure", [], "give either --data DIR or --drawn N"),
        ("measure", ["--data", "nowhere"], "nowhere: is no folder"),
        ("measure", ["--data", "CELLS", "--drawn", "2"], "give either --data"),
        ("measure", ["--data", "CELLS", "--settings", "fast"], "setting fast is unknown"),
        ("measure", ["--data", "CELLS", "--images", "0"], "'0' is not a whole number from 1 on"),
        ("measure", ["--data", "CELLS", "--json", "no/such/f.json"], "its folder is not there"),
        ("measure", ["--data", "CELLS", "--pictures", "no/such"], "no/such: is no folder"),
        ("measure", ["--data", "CELLS/images"], "no images; expected images/ and masks/"),
        ("measure", ["--data", "CELLS", "--all-images", "--model", "huge"], "'huge' is unknown"),
        ("platt", ["--data", "CELLS"], "required: --text"),
        ("platt", ["--data", "nowhere", "--text", "cell"], "nowhere: is no folder"),
        ("platt", ["--data", "CELLS", "--text", "cell"], "name another file with --out"),
        ("platt", ["--data", "CELLS", "--text", "cell", "--out", "no/f.json"], "give --out FILE"),
        ("platt", ["--data", "CELLS", "--text", "cell", "--clip-weights", "random:1"], "mean noth"),
        ("platt", ["--data", "CELLS", "--text", "dog", "--out", "CELLS/f.json"], "a fit needs 50"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    tool: str, words: list[str], said: str, cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = {"measure": measure.main, "platt": platt.main}[tool]
    try:
        status = main([word.replace("CELLS", str(cells)) for word in words])
    except SystemExit as ended:  # argparse ends by itself
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (cells / "f.json").exists()
