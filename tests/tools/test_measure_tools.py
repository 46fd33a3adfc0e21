"""The measuring tools: what they ask of a tracker, what they make of its answers, their errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engines.objects import ObjectMask
from stream.synth import CellFilm, CellFilmSpec
from tests.support.tools import load

DRAWN = ["--skip-quality", "--settings", "exact"]


measuring = load("measuring")
knobs = load("measure_knobs")
late = load("measure_late")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The tools set the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def film(frames: int = 6) -> Any:
    """Object 3 moves right, object 8 stays, object 9 comes in frame 2; ids 3, 8, 9."""
    ids = np.zeros((frames, 40, 60), np.uint16)
    for index in range(frames):
        ids[index, 2:12, 4 + index : 14 + index] = 3
        ids[index, 20:30, 10:20] = 8
        if index >= 2:
            ids[index, 20:30, 40:50] = 9
    images = [np.full((40, 60, 3), index, np.uint8) for index in range(frames)]
    return measuring.Film("data", "film", images, list(ids))


class Oracle:
    """A tracker that knows the truth of a film, and notes what it is asked.

    Args:
        seen: The film.
        names: Which true object each id shows; the own one where it is not said.
    """

    device = torch.device("cpu")

    def __init__(self, seen: Any, names: dict[int, int] | None = None) -> None:
        self.film, self.names = seen, names or {}
        self.asked: list[Any] = []
        self.first = 0
        self.reset()

    def reset(self) -> None:
        self.object_ids: list[int] = []

    def encode(self, image: np.ndarray) -> int:
        return int(image[0, 0, 0])

    def add_objects(self, index: int, features: Any, prompts: Any, catch_up: str = "") -> None:
        self.asked.append((index, features, catch_up))
        for object_id, prompt in prompts.items():
            source = features if features is not None else self.first
            self.prompted_with = source, prompt.mask
            self.object_ids.append(object_id)

    def step(self, index: int, features: int) -> dict[int, ObjectMask]:
        self.asked.append(features)
        truth = self.film.ids[features]
        return {
            i: ObjectMask(np.where(truth == self.names.get(i, i), 9.0, -9.0).astype("f4"), 1.0, 9.0)
            for i in self.object_ids
        }


def test_right_masks_are_worth_one_and_late_objects_are_not_asked_for() -> None:
    tracker = Oracle(film())
    scores, identity = knobs.measure_quality(tracker, film(), None, lambda: None)
    assert tracker.object_ids == [3, 8]
    assert [score.jf for score in scores] == [1.0, 1.0]
    assert (identity.idf1, identity.true, identity.found) == (1.0, 10, 10)


def test_the_first_frame_is_given_and_does_not_count() -> None:
    scores, _ = knobs.measure_quality(Oracle(film()), film(), None, lambda: None)
    assert [score.frames for score in scores] == [5, 5]


def test_the_mask_of_another_object_is_worth_nothing() -> None:
    scores, identity = knobs.measure_quality(Oracle(film(), {3: 8, 8: 8}), film(), 2, lambda: None)
    assert [score.j for score in scores] == [0.0, 1.0]
    assert identity.idf1 == pytest.approx(0.5)


def test_objects_are_limited_from_the_lowest_id() -> None:
    tracker = Oracle(film())
    scores, _ = knobs.measure_quality(tracker, film(), 1, lambda: None)
    assert tracker.object_ids == [3]
    assert len(scores) == 1


def test_settings_step_in_turns_and_ratios_are_to_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of its own: the half setting takes half the time, whatever the frame takes."""
    clock, order = [0.0], []

    class Timed(Oracle):
        def __init__(self, name: str, share: float) -> None:
            super().__init__(drawn)
            self.name, self.share = name, share

        def encode(self, image: np.ndarray) -> int:
            clock[0] += 100.0
            return 0

        def step(self, index: int, features: int) -> dict[int, ObjectMask]:
            order.append((index, self.name))
            clock[0] += self.share * (1 + index % 5)
            return {}

    drawn = knobs.drawn_film(3, 1 + knobs.WARM_UP_FRAMES + 5 * knobs.ROUNDS)
    monkeypatch.setattr(knobs, "drawn_film", lambda *_: drawn)
    monkeypatch.setattr(knobs.time, "perf_counter", lambda: clock[0])
    trackers = {"exact": Timed("exact", 1.0), "half": Timed("half", 0.5)}
    rows = knobs.speed(SimpleNamespace(speed_objects=[2, 3], speed_frames=5), trackers)
    assert [row["ratio"][2] for row in rows] == [1.0, 0.5]
    assert rows[0]["ms"][3] == pytest.approx(3000.0)
    assert order[:4] == [(0, "exact"), (0, "half"), (1, "half"), (1, "exact")]
    assert trackers["half"].object_ids == [1, 2, 3]


def test_the_drawn_film_names_its_largest_cells_first() -> None:
    drawn = knobs.drawn_film(6, 2)
    areas = np.bincount(drawn.ids[0].ravel())[1:]
    assert len(areas) == 6
    assert list(areas) == sorted(areas, reverse=True)


@pytest.mark.parametrize(
    ("frames", "lates", "starts", "possible"),
    [
        (80, [4, 32], [0, 19, 39], [4, 32]),  # the last: 39 + 32 + 8 = 79
        (6, [4, 8], [0], [4]),
        (10, [4, 8], [0], [4, 8]),
        (5, [4], [], []),
    ],
)
def test_starts_leave_room_for_what_comes_after(
    frames: int, lates: list[int], starts: list[int], possible: list[int]
) -> None:
    assert late.starts_of(frames, lates, 3) == (starts, possible)


def case_of(tracker_film: Any, start: int = 1, frames_late: int = 2) -> Any:
    return late.Case(tracker_film, list(range(len(tracker_film.ids))), start, frames_late, [3, 8])


@pytest.mark.parametrize(
    ("way", "asked"),
    [
        ("never late", [(0, 1, ""), 1, 2, 3]),
        ("replay", [1, 2, 3, (0, None, "replay")]),
        ("jump", [1, 2, 3, (0, None, "jump")]),
        ("as if now", [1, 2, 3, (2, 3, "")]),
    ],
)
def test_each_way_prompts_at_its_time_about_its_frame(way: str, asked: list[Any]) -> None:
    tracker = Oracle(film())
    tracker.first = 1
    seen, _ = late.follow(tracker, case_of(tracker.film), way)
    assert tracker.asked == [*asked, 4, 5]
    assert list(seen) == [4, 5]
    assert np.array_equal(tracker.prompted_with[1], tracker.film.ids[1] == 8)
    assert late.ious(case_of(tracker.film), seen) == ([1.0, 1.0], [1.0, 1.0])


def test_an_object_that_left_is_not_looked_for() -> None:
    short = film()
    for frame in (4, 5):
        short.ids[frame][short.ids[frame] == 3] = 0
    short.ids[4][short.ids[4] == 8] = 0
    seen, _ = late.follow(Oracle(short), case_of(short), "jump")
    assert late.ious(case_of(short), seen) == ([], [1.0])


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn films of nine frames in a folder."""
    root = tmp_path_factory.mktemp("cells")
    for seed in (1, 2):
        drawn = CellFilm(CellFilmSpec(objects=3, width=96, height=96, fps=10.0, seed=seed))
        for part in ("images", "masks"):
            (root / f"film{seed}" / part).mkdir(parents=True)
        for index in range(9):
            frame = drawn.frame()
            Image.fromarray(frame.image).save(root / f"film{seed}" / "images" / f"{index}.png")
            Image.fromarray(frame.ids).save(root / f"film{seed}" / "masks" / f"{index}.png")
    return root


def test_measure_knobs_writes_its_figures(cells: Path, tmp_path: Path) -> None:
    out, tables = tmp_path / "k.json", tmp_path / "k.md"
    words = ["--data", str(cells), "--frames", "4", "--objects", "2", "--settings", "recent-2"]
    words += ["--speed-objects", "2", "--speed-frames", "1", "--threads", "1"]
    assert knobs.main([*words, "--json", str(out), "--markdown", str(tables)]) == 0
    figures = json.loads(out.read_text())
    exact, fewer = figures["quality"]
    assert (exact["setting"], fewer["setting"]) == ("exact", "recent-2")
    assert exact["by_data"][cells.name]["objects"] == 4
    assert exact["JF"] > 0.6  # the model knows these cells
    assert figures["speed"][0]["ratio"] == {"2": 1.0}
    assert figures["speed"][1]["ms"]["2"] > 0
    assert figures["speed"][1]["frame_ms"]["2"] > figures["speed"][1]["ms"]["2"]
    assert figures["speed"][1]["growth"] == {"2": 1.0}
    text = tables.read_text()
    assert f"| exact | {exact['JF']:.3f} |  |" in text
    assert f"| recent-2 | {fewer['JF']:.3f} | {fewer['JF'] - exact['JF']:+.3f} |" in text


def test_measure_late_finds_a_replay_as_good_as_no_delay(cells: Path, tmp_path: Path) -> None:
    out, tables = tmp_path / "l.json", tmp_path / "l.md"
    words = ["--data", str(cells), "--late", "2", "4", "--starts", "1", "--threads", "1"]
    words += ["--objects", "2", "--frames", "8"]
    assert late.main([*words, "--json", str(out), "--markdown", str(tables)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["late"] for row in rows] == [2, 4]
    for row in rows:
        assert row["first_iou"]["replay"] == pytest.approx(row["first_iou"]["never late"])
        assert row["mean_iou"]["replay"] == pytest.approx(row["mean_iou"]["never late"])
        assert row["mean_iou"]["never late"] > 0.5
        assert row["replay_ms_per_frame"] > 0
    assert "| frames late | data | objects |" in tables.read_text()


@pytest.mark.parametrize(
    ("tool", "words", "said"),
    [
        ("knobs", [], "give --data DIR"),
        ("knobs", ["--data", "nowhere"], "nowhere: is no folder"),
        ("knobs", ["--settings", "fast", "--skip-quality"], "setting fast is unknown; accepted"),
        ("knobs", ["--skip-speed", "--skip-quality"], "leave nothing to measure"),
        ("knobs", ["--frames", "0"], "'0' is not a whole number from 1 on"),
        ("knobs", ["--skip-quality", "--model", "huge"], "model 'huge' is unknown"),
        ("knobs", ["--skip-quality", "--json", "no/such/f.json"], "its folder is not there"),
        ("knobs", ["--skip-quality", "--json", "."], "is a folder; name a file"),
        ("knobs", [*DRAWN, "--speed-objects", "4000"], "accepted are 1 to 400"),
        ("late", [], "give --data DIR"),
        ("late", ["--late", "x"], "'x' is not a whole number"),
        ("late", ["--data", "CELLS", "--late", "20"], "22 frames"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    tool: str, words: list[str], said: str, cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = {"knobs": knobs.main, "late": late.main}[tool]
    try:
        status = main([word.replace("CELLS", str(cells)) for word in words])
    except SystemExit as ended:  # argparse ends by itself
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2
    assert said in error
    assert len(error.splitlines()) == 1
